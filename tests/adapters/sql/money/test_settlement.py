"""Settlements: the money of an owner's acceptance, in the same transaction (QUO, REF, CRD)."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from adapters.sql.store import SqlStore
from adapters.stripe_amount import returnable
from domain.error import ErrorCode, Refused
from domain.invitation import Choice
from domain.letter.credit import CreditReceivedLetter, PaidInvoice, TransferredLetter
from domain.preview import RefundOffer, TransferOffer, TransferRefused
from domain.quote import RecordedQuote
from domain.refund import RefundState
from tests.builders.account import ACME, NOON, OWNER, account, directory, eur
from tests.builders.invitation import StoreScenario
from tests.builders.refund import (
    ACCEPTED_AT,
    LINE,
    PAULA,
    accept_as_owner,
    import_paid_account,
    ledger_balances,
)

HOUR = timedelta(hours=1)
AMERICAN = {**ACME, "currency": "USD"}


async def refusal(
    scenario: StoreScenario,
    choice: Choice | None,
    *,
    quote: RecordedQuote | None = None,
    at: datetime = NOON,
) -> ErrorCode:
    """Return the code of the refusal of Paula's acceptance; no money must move."""
    invite = scenario.new_invite(PAULA)
    record = await scenario.send(invite)
    before = await ledger_balances(scenario.engine)
    with pytest.raises(Refused) as refused:
        await scenario.join_account(invite, record, choice, quote=quote, at=at)
    assert await ledger_balances(scenario.engine) == before
    assert (await scenario.account("paid")).state == "open"
    return refused.value.code


async def test_a_refund_is_due_to_each_payment_method(scenario: StoreScenario) -> None:
    """QUO-3, REF-1: the part paid from credit becomes credit; the used part is revenue."""
    invite, joined = await accept_as_owner(scenario, Choice.REFUND)
    settlement, order = joined.invitation.settlement, joined.refund
    assert settlement and order
    assert joined.invitation.choice is Choice.REFUND
    assert (settlement.kind, settlement.amount) == (Choice.REFUND, eur("50.00"))
    assert settlement.refund_id == order.refund_id == f"rf-{invite.invitation_id}"
    assert [(part.payment, part.amount) for part in order.parts] == [
        ("card-1", eur("30.00")),
        ("bank-1", eur("10.00")),
    ]
    assert await ledger_balances(scenario.engine) == {
        "credit/acme": "EUR 1000",
        "methods/paid": "EUR -8000",
        "opening/paid": "EUR -2000",
        f"refund_due/{order.refund_id}": "EUR 4000",
        "revenue/paid": "EUR 5000",
    }
    assert (await scenario.store.audit()).violations == ()


async def test_a_refund_names_its_dates_and_lookups_once(scenario: StoreScenario) -> None:
    """REF-1, REF-2: Monday 2 March in Berlin; the dates are recorded with the request."""
    _, joined = await accept_as_owner(scenario, Choice.REFUND)
    order, settlement = joined.refund, joined.invitation.settlement
    assert order and settlement
    window = date(2026, 3, 5), date(2026, 3, 9)
    assert settlement.arrives_between == order.arrives_between == window
    assert order.requested_at == ACCEPTED_AT
    assert order.lookups[:3] == tuple(datetime(2026, 3, day, 13, tzinfo=UTC) for day in (5, 6, 9))
    assert len(order.lookups) == 10
    assert order.overdue_from == datetime(2026, 3, 9, 23, tzinfo=UTC)
    [refund] = await scenario.store.refunds.listed(RefundState.REQUESTED)
    assert refund == await scenario.store.refunds.latest(order.refund_id)
    assert refund.amount == refund.amount_open == eur("40.00")
    assert await scenario.store.refunds.plan_of(order.refund_id) == order


async def test_holidays_are_those_of_the_source_account(scenario: StoreScenario) -> None:
    """REF-1, case 15: 26 November is Thanksgiving in the United States."""
    friday = datetime(2026, 11, 20, 15, tzinfo=UTC)
    line = {**LINE, "period_start": "2026-11-01", "period_end": "2026-12-01"}
    await import_paid_account(
        scenario, country="US", time_zone="America/New_York", subscriptions=[line]
    )
    invite = scenario.new_invite(PAULA)
    joined = await scenario.join_account(
        invite, await scenario.send(invite), Choice.REFUND, at=friday
    )
    assert joined.refund
    assert joined.refund.arrives_between == (date(2026, 11, 25), date(2026, 11, 30))


async def test_a_transfer_credits_the_target_in_one_entry(scenario: StoreScenario) -> None:
    """CRD-1: nothing is left on the source account."""
    _, joined = await accept_as_owner(scenario, Choice.TRANSFER)
    settlement = joined.invitation.settlement
    assert settlement
    assert (settlement.kind, settlement.amount) == (Choice.TRANSFER, eur("50.00"))
    assert (settlement.refund_id, settlement.arrives_between, joined.refund) == (None, None, None)
    credit = await scenario.store.credits.show("acme")
    assert [(entry.kind, entry.amount, entry.source) for entry in credit.entries] == [
        ("transfer", eur("40.00"), "paid"),
        ("credit_returned", eur("10.00"), "paid"),
    ]
    assert credit.balance == eur("50.00")
    assert (await scenario.store.audit()).violations == ()


@pytest.mark.parametrize("choice", Choice)
async def test_the_credit_balance_moves_with_either_choice(
    scenario: StoreScenario, choice: Choice
) -> None:
    """QUO-6, case 11: the target gets all 250.00 of the source account."""
    invite, _ = await accept_as_owner(scenario, choice, credit="250.00")
    left = await scenario.store.credits.show("paid")
    assert [(entry.kind, entry.amount, entry.to) for entry in left.entries] == [
        ("opening", eur("250.00"), None),
        ("credit_moved", eur("-250.00"), "acme"),
    ]
    assert left.balance == eur("0.00")
    whole = "260.00" if choice is Choice.REFUND else "300.00"
    assert (await scenario.store.credits.show("acme")).balance == eur(whole)
    assert (await scenario.store.invitations.parties(invite)).credited == eur(whole)
    assert (await scenario.store.audit()).violations == ()


async def test_credit_in_another_currency_stays_behind(scenario: StoreScenario) -> None:
    """QUO-3, QUO-6: on the source account; a transfer is refused."""
    await scenario.store.directory.import_(directory(AMERICAN))
    await import_paid_account(scenario, credit="5.00")
    assert await refusal(scenario, Choice.TRANSFER, at=ACCEPTED_AT) is ErrorCode.CURRENCY_MISMATCH
    stored = await scenario.store.invitations.latest("acme", PAULA)
    assert stored
    invite = scenario.new_invite(PAULA).model_copy(update={"invitation_id": stored.invitation_id})
    joined = await scenario.join_account(invite, stored.invitation, Choice.REFUND)
    assert joined.refund
    assert await ledger_balances(scenario.engine, "credit/paid", "credit/acme") == {
        "credit/paid": "EUR 1500"
    }
    assert (await scenario.store.invitations.parties(invite)).credited is None
    assert (await scenario.store.audit()).violations == ()


DINARS = {
    **LINE,
    "payments": [
        {"id": "pi_1", "method": "card", "amount": "10.248"},
        {"id": "pi_2", "method": "bank", "amount": "0.006"},
    ],
}


@pytest.mark.parametrize("currency", ["KWD", "EUR"])
async def test_the_part_that_stripe_cannot_refund_becomes_credit(
    scenario: StoreScenario, currency: str
) -> None:
    """QUO-3: of KWD 5.127, 5.120 are refunded; in another currency the rest stays behind."""
    scenario = StoreScenario(scenario.engine, SqlStore(scenario.engine, returnable))
    await scenario.store.directory.import_(directory({**ACME, "currency": currency}))
    await import_paid_account(scenario, currency="KWD", subscriptions=[DINARS])
    invite = scenario.new_invite(PAULA)
    shown = (await scenario.preview(invite)).preview
    assert shown.refund and shown.amount
    assert [f"{each.amount:f}" for each in (shown.amount, shown.refund.amount)] == [
        "5.127",
        "5.120",
    ]
    [credit] = [each for each in (*shown.moves, *shown.stays_behind) if each.item == "credit"]
    assert credit.message.startswith("Credit of 0.007 KWD")
    quoted = await scenario.store.quotes.quote("paid", NOON, invite.policy)
    assert quoted.refund and quoted.refund.amount == shown.refund.amount
    joined = await scenario.join_account(invite, await scenario.send(invite), Choice.REFUND)
    assert joined.refund and joined.invitation.settlement
    assert joined.invitation.settlement.amount == shown.amount
    [part] = joined.refund.parts
    assert (part.payment, f"{part.amount.amount:f}") == ("pi_1", "5.120")
    keeper = "acme" if currency == "KWD" else "paid"
    assert f"{(await scenario.store.credits.show(keeper)).balance.amount:f}" == "0.007"
    assert (await scenario.store.audit()).violations == ()


async def test_the_credit_of_a_free_account_moves_as_well(scenario: StoreScenario) -> None:
    """QUO-6: its owner need not choose, and the account is closed."""
    file = directory(account("solo", credit="7.00"))
    await scenario.store.directory.import_(file)
    invite = scenario.new_invite("sue@solo.example")
    joined = await scenario.join_account(invite, await scenario.send(invite), Choice.TRANSFER)
    assert (joined.invitation.choice, joined.invitation.settlement) == (None, None)
    assert (await scenario.store.credits.show("acme")).balance == eur("7.00")
    assert (await scenario.store.audit()).violations == ()


async def test_a_plan_paid_from_credit_has_no_refund(scenario: StoreScenario) -> None:
    """QUO-3: the choice `refund` credits it, and no payment method is refunded."""
    payment = {"id": "old-1", "method": "credit", "amount": "100.00"}
    _, joined = await accept_as_owner(
        scenario, Choice.REFUND, subscriptions=[{**LINE, "payments": [payment]}]
    )
    settlement = joined.invitation.settlement
    assert settlement
    assert (settlement.refund_id, settlement.arrives_between) == (None, None)
    assert joined.refund is None
    assert (await scenario.store.credits.show("acme")).balance == eur("50.00")
    assert (await scenario.store.audit()).violations == ()


async def test_without_a_choice_nothing_moves(scenario: StoreScenario) -> None:
    """QUO-4: `choice_required`."""
    await import_paid_account(scenario)
    assert await refusal(scenario, None) is ErrorCode.CHOICE_REQUIRED


async def test_a_shown_quote_binds_to_the_minor_unit(scenario: StoreScenario) -> None:
    """QUO-5: 23 hours later the amount is the same, though less is unused."""
    await import_paid_account(scenario)
    invite = scenario.new_invite(PAULA)
    previewed = await scenario.preview(invite, NOON)
    again = await scenario.preview(invite, NOON + 23 * HOUR, previewed.quote)
    assert again.quote == previewed.quote
    assert again.preview.amount == eur("50.00")
    joined = await scenario.join_account(
        invite,
        await scenario.send(invite),
        Choice.TRANSFER,
        quote=previewed.quote,
        at=NOON + 23 * HOUR,
    )
    assert joined.invitation.settlement
    assert joined.invitation.settlement.amount == eur("50.00")


async def test_a_quote_expires_at_exactly_its_deadline(scenario: StoreScenario) -> None:
    """QUO-5: a new preview records a new quote."""
    await import_paid_account(scenario)
    shown = (await scenario.preview(scenario.new_invite(PAULA))).quote
    late = NOON + 24 * HOUR
    assert await refusal(scenario, Choice.REFUND, quote=shown, at=late) is ErrorCode.QUOTE_EXPIRED
    again = await scenario.preview(scenario.new_invite(PAULA), late, shown)
    assert again.preview.amount == eur("47.50")
    assert again.preview.valid_until == late + 24 * HOUR


async def test_a_change_of_the_lines_voids_a_shown_quote(scenario: StoreScenario) -> None:
    """QUO-5: `quote_expired` after an import with another line."""
    await import_paid_account(scenario)
    shown = (await scenario.preview(scenario.new_invite(PAULA))).quote
    extra = {"id": "sub-2", "payments": [{"id": "x", "method": "card", "amount": "1.00"}]}
    await import_paid_account(scenario, subscriptions=[LINE, {**LINE, **extra}])
    assert await refusal(scenario, Choice.REFUND, quote=shown) is ErrorCode.QUOTE_EXPIRED


async def test_accepting_again_returns_the_same_refund(scenario: StoreScenario) -> None:
    """INV-10, REF-5: also with another choice."""
    await import_paid_account(scenario)
    invite = scenario.new_invite(PAULA)
    record = await scenario.send(invite)
    first = await scenario.join_account(invite, record, Choice.REFUND)
    assert await scenario.join_account(invite, record, Choice.TRANSFER) == first
    assert len(await scenario.store.refunds.listed(None)) == 1


# Previews and quotes.


async def test_a_preview_shows_the_result_of_either_choice(scenario: StoreScenario) -> None:
    """QUO-8: only the quote is recorded."""
    await import_paid_account(scenario)
    before = await ledger_balances(scenario.engine)
    previewed = await scenario.preview(scenario.new_invite(PAULA))
    preview, recorded = previewed.preview, previewed.quote
    assert recorded
    assert preview.amount == recorded.quote.total == eur("50.00")
    assert preview.valid_until == recorded.valid_until == NOON + 24 * HOUR
    assert [line.unused_days for line in preview.lines] == [20]
    assert preview.policy.time_zone == "Europe/Berlin"
    assert preview.refund == RefundOffer(
        amount=eur("40.00"), arrives_between=(date(2026, 3, 5), date(2026, 3, 9))
    )
    assert preview.transfer == TransferOffer(amount=eur("50.00"), to="acme")
    assert [notice.item for notice in preview.moves] == ["profile", "credit"]
    assert [notice.item for notice in preview.stays_behind] == ["report_data"]
    assert await ledger_balances(scenario.engine) == before


async def test_a_preview_lists_credit_that_stays_behind(
    scenario: StoreScenario,
) -> None:
    """QUO-6: the target account has another currency."""
    await scenario.store.directory.import_(directory(AMERICAN))
    await import_paid_account(scenario, credit="5.00")
    preview = (await scenario.preview(scenario.new_invite(PAULA))).preview
    assert preview.transfer == TransferRefused(refused="currency_mismatch")
    assert preview.stays_behind[-1].message == "Credit of 15.00 EUR, because Acme pays in USD."


@pytest.mark.parametrize(
    "email", ["new@person.example", "sue@solo.example", "max@rich.example", "zoe@zeta.example"]
)
async def test_a_preview_without_a_choice_has_no_offer(scenario: StoreScenario, email: str) -> None:
    """QUO-4: no account, a free one, a plain member, and a quote of 0."""
    previewed = await scenario.preview(scenario.new_invite(email))
    preview = previewed.preview
    assert preview.amount == eur("0.00")
    assert (preview.refund, preview.transfer, preview.valid_until) == (None, None, None)
    assert previewed.quote is None


async def test_an_account_is_quoted_without_an_invitation(scenario: StoreScenario) -> None:
    """QUO-2: the `quote` command uses another policy, time or target account."""
    await import_paid_account(scenario)
    policy = scenario.new_invite(PAULA).policy.model_copy(update={"proration_change_day": "used"})
    quoted = await scenario.store.quotes.quote("paid", NOON, policy, "acme")
    assert quoted.amount == eur("47.50")
    assert quoted.valid_until is None
    assert quoted.transfer == TransferOffer(amount=eur("47.50"), to="acme")
    alone = await scenario.store.quotes.quote("paid", NOON + timedelta(days=30), policy)
    assert (alone.amount, alone.refund, alone.transfer) == (eur("0.00"), None, None)
    with pytest.raises(Refused) as refused:
        await scenario.store.quotes.quote("paid", NOON, policy, "nobody")
    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_owner_and_admins_are_notified_of_credit(scenario: StoreScenario) -> None:
    """CRD-2: in their own languages, and with its use."""
    invite, _ = await accept_as_owner(scenario, Choice.TRANSFER)
    parties = await scenario.store.invitations.parties(invite)
    assert [admin.email for admin in parties.admins] == [OWNER, "adam@acme.example"]
    assert parties.admins[0].locale == "de"
    assert parties.credited == eur("50.00")
    assert parties.collection == "autopay"


async def test_arriving_credit_pays_open_invoices(scenario: StoreScenario) -> None:
    """CRD-3: the first due invoice, then the next; the whole amount was credited."""
    invoices = [
        {"id": "later", "amount_due": "100.00", "due_on": "2026-05-01"},
        {"id": "first", "amount_due": "30.00", "due_on": "2026-04-01"},
    ]
    await scenario.store.directory.import_(
        directory(account("acme", plan="business", invoices=invoices))
    )
    invite, _ = await accept_as_owner(scenario, Choice.TRANSFER)
    due = {i.id: (i.amount_due, i.status) for i in (await scenario.account("acme")).invoices}
    assert due == {"first": (Decimal(0), "paid"), "later": (Decimal(80), "open")}
    assert (await scenario.store.credits.show("acme")).balance == eur("0.00")
    assert (await scenario.store.invitations.parties(invite)).credited == eur("50.00")
    assert (await scenario.store.audit()).violations == ()


async def test_the_letter_about_a_credit_has_its_parts_and_the_paid_invoices(
    scenario: StoreScenario,
) -> None:
    """CRD-2, CRD-3: unused time, balance, source, and what the credit has paid at once."""
    invoice = {"id": "inv-7", "amount_due": "19.90", "due_on": "2026-03-10"}
    await scenario.store.directory.import_(directory({**ACME, "invoices": [invoice]}))
    await scenario.take_letters()
    await accept_as_owner(scenario, Choice.TRANSFER, credit="5.00")
    letters = await scenario.queued_letters()
    [letter] = [each for each in letters if isinstance(each, TransferredLetter)]
    assert (letter.amount, letter.unused, letter.balance) == (
        eur("55.00"),
        eur("50.00"),
        eur("5.00"),
    )
    assert letter.source == (await scenario.account("paid")).name
    assert letter.invoices == (PaidInvoice(id="inv-7", amount=eur("19.90")),)
    admins = [each for each in letters if isinstance(each, CreditReceivedLetter)]
    assert admins and all(each.invoices == letter.invoices for each in admins)
