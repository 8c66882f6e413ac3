"""What an owner's acceptance does to the money, in the same transaction."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from domain.error import ErrorCode, Refused
from domain.invitation import Choice
from domain.preview import RefundOffer, TransferOffer, TransferRefused
from domain.quote import RecordedQuote
from domain.refund import RefundState
from tests.builders.invitation import ACME, NOON, OWNER, Town, account, directory
from tests.builders.refund import ACCEPTED_AT, LINE, PAULA, accepted, balances, eur, imported

HOUR = timedelta(hours=1)
AMERICAN = {**ACME, "currency": "USD"}


async def refusal(
    town: Town, choice: Choice | None, *, quote: RecordedQuote | None = None, at: datetime = NOON
) -> ErrorCode:
    """How the store refuses Paula's acceptance, having moved nothing."""
    invite = town.invite(PAULA)
    record = await town.pending(invite)
    before = await balances(town.engine)
    with pytest.raises(Refused) as refused:
        await town.settle(invite, record, choice, quote=quote, at=at)
    assert await balances(town.engine) == before
    assert (await town.account("paid")).state == "open"
    return refused.value.code


async def test_a_refund_is_due_to_each_payment_method(town: Town) -> None:
    """QUO-3, REF-1: what was paid from credit becomes credit; the used part is earned."""
    invite, joined = await accepted(town, Choice.REFUND)
    settlement, order = joined.invitation.settlement, joined.refund
    assert settlement and order
    assert joined.invitation.choice is Choice.REFUND
    assert (settlement.kind, settlement.amount) == (Choice.REFUND, eur("50.00"))
    assert settlement.refund_id == order.refund_id == f"rf-{invite.invitation_id}"
    assert [(part.payment, part.amount) for part in order.parts] == [
        ("card-1", eur("30.00")),
        ("bank-1", eur("10.00")),
    ]
    assert await balances(town.engine) == {
        "credit/acme": "EUR 1000",
        "methods/paid": "EUR -8000",
        "opening/paid": "EUR -2000",
        f"refund_due/{order.refund_id}": "EUR 4000",
        "revenue/paid": "EUR 5000",
    }
    assert (await town.store.audit()).violations == ()


async def test_a_refund_names_its_dates_and_lookups_once(town: Town) -> None:
    """REF-1, REF-2: Monday 2 March, in Berlin; kept as it was requested."""
    _, joined = await accepted(town, Choice.REFUND)
    order, settlement = joined.refund, joined.invitation.settlement
    assert order and settlement
    window = date(2026, 3, 5), date(2026, 3, 9)
    assert settlement.arrives_between == order.arrives_between == window
    assert order.requested_at == ACCEPTED_AT
    assert order.lookups[:3] == tuple(datetime(2026, 3, day, 13, tzinfo=UTC) for day in (5, 6, 9))
    assert len(order.lookups) == 10
    assert order.overdue_from == datetime(2026, 3, 9, 23, tzinfo=UTC)
    [refund] = await town.store.refunds.listed(RefundState.REQUESTED)
    assert refund == await town.store.refunds.latest(order.refund_id)
    assert refund.amount == refund.amount_open == eur("40.00")
    assert await town.store.refunds.order_of(order.refund_id) == order


async def test_holidays_are_those_of_the_source_account(town: Town) -> None:
    """REF-1, case 15: 26 November is Thanksgiving in the United States."""
    friday = datetime(2026, 11, 20, 15, tzinfo=UTC)
    line = {**LINE, "period_start": "2026-11-01", "period_end": "2026-12-01"}
    await imported(town, country="US", time_zone="America/New_York", subscriptions=[line])
    invite = town.invite(PAULA)
    joined = await town.settle(invite, await town.pending(invite), Choice.REFUND, at=friday)
    assert joined.refund
    assert joined.refund.arrives_between == (date(2026, 11, 25), date(2026, 11, 30))


async def test_a_transfer_credits_the_target_in_one_entry(town: Town) -> None:
    """CRD-1: and nothing is left on the source account."""
    _, joined = await accepted(town, Choice.TRANSFER)
    settlement = joined.invitation.settlement
    assert settlement
    assert (settlement.kind, settlement.amount) == (Choice.TRANSFER, eur("50.00"))
    assert (settlement.refund_id, settlement.arrives_between, joined.refund) == (None, None, None)
    credit = await town.store.credits.show("acme")
    assert [(entry.kind, entry.amount, entry.source) for entry in credit.entries] == [
        ("transfer", eur("40.00"), "paid"),
        ("credit_returned", eur("10.00"), "paid"),
    ]
    assert credit.balance == eur("50.00")
    assert (await town.store.audit()).violations == ()


@pytest.mark.parametrize("choice", Choice)
async def test_the_credit_balance_goes_along_whichever_choice(town: Town, choice: Choice) -> None:
    """QUO-6, case 11: the source gives 250.00, nothing is left; the target has it."""
    invite, _ = await accepted(town, choice, credit="250.00")
    left = await town.store.credits.show("paid")
    assert [(entry.kind, entry.amount, entry.to) for entry in left.entries] == [
        ("opening", eur("250.00"), None),
        ("credit_moved", eur("-250.00"), "acme"),
    ]
    assert left.balance == eur("0.00")
    whole = "260.00" if choice is Choice.REFUND else "300.00"
    assert (await town.store.credits.show("acme")).balance == eur(whole)
    assert (await town.store.invitations.parties(invite)).credited == eur(whole)
    assert (await town.store.audit()).violations == ()


async def test_credit_does_not_follow_into_another_currency(town: Town) -> None:
    """QUO-3, QUO-6: it stays on the source account; a transfer is refused."""
    await town.store.directory.import_(directory(AMERICAN))
    await imported(town, credit="5.00")
    assert await refusal(town, Choice.TRANSFER, at=ACCEPTED_AT) is ErrorCode.CURRENCY_MISMATCH
    stored = await town.store.invitations.latest("acme", PAULA)
    assert stored
    invite = town.invite(PAULA).model_copy(update={"invitation_id": stored.invitation_id})
    joined = await town.settle(invite, stored.invitation, Choice.REFUND)
    assert joined.refund
    assert await balances(town.engine, "credit/paid", "credit/acme") == {"credit/paid": "EUR 1500"}
    assert (await town.store.invitations.parties(invite)).credited is None
    assert (await town.store.audit()).violations == ()


async def test_the_credit_of_a_free_account_is_not_stranded(town: Town) -> None:
    """QUO-6: its owner is not asked, and it is closed all the same."""
    file = directory(account("solo", credit="7.00"))
    await town.store.directory.import_(file)
    invite = town.invite("sue@solo.example")
    joined = await town.settle(invite, await town.pending(invite), Choice.TRANSFER)
    assert (joined.invitation.choice, joined.invitation.settlement) == (None, None)
    assert (await town.store.credits.show("acme")).balance == eur("7.00")
    assert (await town.store.audit()).violations == ()


async def test_what_was_paid_from_credit_alone_has_no_refund(town: Town) -> None:
    """QUO-3: chosen, credited, and nothing goes to a payment method."""
    payment = {"id": "old-1", "method": "credit", "amount": "100.00"}
    _, joined = await accepted(town, Choice.REFUND, subscriptions=[{**LINE, "payments": [payment]}])
    settlement = joined.invitation.settlement
    assert settlement
    assert (settlement.refund_id, settlement.arrives_between) == (None, None)
    assert joined.refund is None
    assert (await town.store.credits.show("acme")).balance == eur("50.00")
    assert (await town.store.audit()).violations == ()


async def test_without_a_choice_nothing_moves(town: Town) -> None:
    """QUO-4."""
    await imported(town)
    assert await refusal(town, None) is ErrorCode.CHOICE_REQUIRED


async def test_a_shown_quote_binds_to_the_minor_unit(town: Town) -> None:
    """QUO-5: a day later the same amount, though less is unused."""
    await imported(town)
    invite = town.invite(PAULA)
    previewed = await town.previewed(invite, NOON)
    again = await town.previewed(invite, NOON + 23 * HOUR, previewed.quote)
    assert again.quote == previewed.quote
    assert again.preview.amount == eur("50.00")
    joined = await town.settle(
        invite,
        await town.pending(invite),
        Choice.TRANSFER,
        quote=previewed.quote,
        at=NOON + 23 * HOUR,
    )
    assert joined.invitation.settlement
    assert joined.invitation.settlement.amount == eur("50.00")


async def test_a_shown_quote_no_longer_binds_when_it_is_old(town: Town) -> None:
    """QUO-5: at exactly its end it is over; a new preview shows a new one."""
    await imported(town)
    shown = (await town.previewed(town.invite(PAULA))).quote
    late = NOON + 24 * HOUR
    assert await refusal(town, Choice.REFUND, quote=shown, at=late) is ErrorCode.QUOTE_EXPIRED
    again = await town.previewed(town.invite(PAULA), late, shown)
    assert again.preview.amount == eur("47.50")
    assert again.preview.valid_until == late + 24 * HOUR


async def test_a_change_of_the_lines_voids_a_shown_quote(town: Town) -> None:
    """QUO-5."""
    await imported(town)
    shown = (await town.previewed(town.invite(PAULA))).quote
    extra = {"id": "sub-2", "payments": [{"id": "x", "method": "card", "amount": "1.00"}]}
    await imported(town, subscriptions=[LINE, {**LINE, **extra}])
    assert await refusal(town, Choice.REFUND, quote=shown) is ErrorCode.QUOTE_EXPIRED


async def test_accepting_again_returns_the_same_refund(town: Town) -> None:
    """INV-10, REF-5."""
    await imported(town)
    invite = town.invite(PAULA)
    record = await town.pending(invite)
    first = await town.settle(invite, record, Choice.REFUND)
    assert await town.settle(invite, record, Choice.TRANSFER) == first
    assert len(await town.store.refunds.listed(None)) == 1


# What is said before.


async def test_a_preview_says_what_either_choice_would_do(town: Town) -> None:
    """QUO-8: and it is recorded, though nothing else is."""
    await imported(town)
    before = await balances(town.engine)
    previewed = await town.previewed(town.invite(PAULA))
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
    assert await balances(town.engine) == before


async def test_a_preview_into_another_currency_says_what_stays_behind(town: Town) -> None:
    """QUO-6."""
    await town.store.directory.import_(directory(AMERICAN))
    await imported(town, credit="5.00")
    preview = (await town.previewed(town.invite(PAULA))).preview
    assert preview.transfer == TransferRefused(refused="currency_mismatch")
    assert preview.stays_behind[-1].message == "Credit of 15.00 EUR, because Acme pays in USD."


@pytest.mark.parametrize(
    "email", ["new@person.example", "sue@solo.example", "max@rich.example", "zoe@zeta.example"]
)
async def test_who_is_not_asked_is_shown_no_offer(town: Town, email: str) -> None:
    """QUO-4: no account, a free one, a plain member, and a plan that is worth nothing."""
    previewed = await town.previewed(town.invite(email))
    preview = previewed.preview
    assert preview.amount == eur("0.00")
    assert (preview.refund, preview.transfer, preview.valid_until) == (None, None, None)
    assert previewed.quote is None


async def test_an_account_is_quoted_without_an_invitation(town: Town) -> None:
    """The command: under another policy, at another moment, for another account."""
    await imported(town)
    policy = town.invite(PAULA).policy.model_copy(update={"proration_change_day": "used"})
    quoted = await town.store.quotes.quote("paid", NOON, policy, "acme")
    assert quoted.amount == eur("47.50")
    assert quoted.valid_until is None
    assert quoted.transfer == TransferOffer(amount=eur("47.50"), to="acme")
    alone = await town.store.quotes.quote("paid", NOON + timedelta(days=30), policy)
    assert (alone.amount, alone.refund, alone.transfer) == (eur("0.00"), None, None)
    with pytest.raises(Refused) as refused:
        await town.store.quotes.quote("paid", NOON, policy, "nobody")
    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_owner_and_admins_are_told_of_credit(town: Town) -> None:
    """CRD-2: in their own languages, and how it will be used."""
    invite, _ = await accepted(town, Choice.TRANSFER)
    parties = await town.store.invitations.parties(invite)
    assert [admin.email for admin in parties.admins] == [OWNER, "adam@acme.example"]
    assert parties.admins[0].locale == "de"
    assert parties.credited == eur("50.00")
    assert parties.collection == "autopay"


async def test_credit_that_arrives_pays_what_is_open(town: Town) -> None:
    """CRD-3: the one due first, the rest the next; exactly what arrived was credited."""
    invoices = [
        {"id": "later", "amount_due": "100.00", "due_on": "2026-05-01"},
        {"id": "first", "amount_due": "30.00", "due_on": "2026-04-01"},
    ]
    await town.store.directory.import_(
        directory(account("acme", plan="business", invoices=invoices))
    )
    invite, _ = await accepted(town, Choice.TRANSFER)
    due = {i.id: (i.amount_due, i.status) for i in (await town.account("acme")).invoices}
    assert due == {"first": (Decimal(0), "paid"), "later": (Decimal(80), "open")}
    assert (await town.store.credits.show("acme")).balance == eur("0.00")
    assert (await town.store.invitations.parties(invite)).credited == eur("50.00")
    assert (await town.store.audit()).violations == ()
