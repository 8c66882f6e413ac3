"""The authors of ledger entries and of changes, on both databases (OPS-8)."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import select

from adapters.sql.database.schema import TransferRow
from adapters.sql.database.transaction import reading
from domain.invitation import Choice
from domain.journal import ENGINE
from domain.refund import PartState
from domain.remedy import Removal
from tests.adapters.sql.audit.test_report import violations_after
from tests.adapters.sql.money.test_order import RENEWAL
from tests.builders.account import NOON, account, directory
from tests.builders.invitation import StoreScenario
from tests.builders.order import OrderScenario
from tests.builders.refund import (
    accept_as_owner,
    book,
    request_refund,
    with_part_states,
)

ANN = "operator Ann"


async def authors(scenario: StoreScenario) -> Sequence[tuple[str, str]]:
    """Return the kind and the author of each ledger entry, in the order of posting."""
    query = select(TransferRow.kind, TransferRow.by).order_by(TransferRow.number)
    async with reading(scenario.engine) as session:
        return [(kind, by) for kind, by in await session.execute(query)]


async def test_an_import_and_applied_credit_name_their_operator(scenario: StoreScenario) -> None:
    """OPS-8, CRD-3: of credit that is applied automatically the author is the engine."""
    for name, collection in (("auto", "autopay"), ("manual", "net_terms")):
        entry = account(
            name,
            collection=collection,
            credit="20.00",
            invoices=[{"id": "i1", "amount_due": "5.00", "due_on": "2026-04-01"}],
        )
        await scenario.store.directory.import_(directory(entry), by=ANN)
    credit = await scenario.store.credits.apply("manual", "i1", NOON, by="operator Bob")
    assert await authors(scenario) == [
        ("opening", ANN),
        ("applied", ENGINE),
        ("opening", ANN),
        ("applied", "operator Bob"),
    ]
    assert [entry.by for entry in credit.entries] == [ANN, "operator Bob"]


async def test_a_settlement_names_who_accepted(scenario: StoreScenario) -> None:
    """OPS-8, CRD-1: the author of the acceptance is that of its entries."""
    _, kept = await accept_as_owner(scenario, Choice.TRANSFER)
    accepted = next(each for each in kept.invitation.journal if each.event == "accept")
    posted = [by for kind, by in await authors(scenario) if kind in {"transfer", "earned"}]
    assert posted == [accepted.by] * 2


async def test_a_refund_names_who_decided(scenario: StoreScenario) -> None:
    """OPS-8, REF-4: of an amount that the provider reports as arrived it is the engine."""
    _, refund = await request_refund(scenario)
    settled = with_part_states(refund, PartState.SUCCEEDED, PartState.SUCCEEDED)
    await book(scenario, settled, NOON)
    assert ("refunded", ENGINE) in await authors(scenario)


async def test_an_order_names_its_buyer_and_then_the_engine(scenario: StoreScenario) -> None:
    """OPS-8, ADD-7: the first payment is the buyer's, a renewal the engine's own."""
    purchases = OrderScenario(scenario)
    await purchases.import_account(credit="30.00")
    order = await purchases.buy()
    buyer = order.journal[0].by
    assert (await authors(scenario))[1:] == [("applied", buyer), ("payment", buyer)]
    await purchases.pay(order, RENEWAL)
    assert (await authors(scenario))[3:] == [("earned", ENGINE), ("payment", ENGINE)]


async def test_a_retry_of_the_first_payment_is_the_engines_own(scenario: StoreScenario) -> None:
    """OPS-8, ADD-4: the buyer has requested the first attempt only."""
    purchases = OrderScenario(scenario)
    await purchases.import_account(payment_methods=[{"id": "visa", "kind": "card", "declines": 1}])
    failed = await purchases.decline(await purchases.place())
    await purchases.pay(failed, NOON + timedelta(days=1))
    assert (await authors(scenario))[-1] == ("payment", ENGINE)


async def test_returned_credit_names_who_cancelled(scenario: StoreScenario) -> None:
    """OPS-8, ADD-6: the entry that reverses a reservation."""
    purchases = OrderScenario(scenario)
    await purchases.import_account(
        credit="30.00", payment_methods=[{"id": "visa", "kind": "card", "declines": 1}]
    )
    failed = await purchases.decline(await purchases.place())
    await scenario.store.orders.void(failed, NOON, by=ANN)
    assert ("reversed", ANN) in await authors(scenario)


async def test_a_change_without_a_journal_is_recorded_once(scenario: StoreScenario) -> None:
    """OPS-8: a repetition changes nothing, and is not recorded; no record names an address."""
    before = len(await scenario.store.changes.listed())
    remedies = scenario.store.remedies
    for _ in range(2):
        await remedies.remove_user("crowd", "lee@crowd.example", Removal.UNLINK, NOON, by=ANN)
        await remedies.reactivate("crowd", NOON, by=ANN)
    changes = (await scenario.store.changes.listed())[before:]
    assert [(each.by, each.action, each.account) for each in changes] == [
        (ANN, "remove-user --unlink", "crowd")
    ]
    assert changes[0].subject.startswith("membership/")


@pytest.mark.parametrize(
    ("statements", "subject"),
    [
        (["UPDATE transfers SET by = ' ' WHERE kind = 'earned'"], "earned/{}"),
        (["UPDATE changes SET by = '' WHERE subject = 'solo'"], "import solo"),
    ],
)
async def test_an_entry_without_an_author_is_named(
    scenario: StoreScenario, statements: list[str], subject: str
) -> None:
    """AUD, OPS-8: in the ledger, and among the recorded changes."""
    invite, _ = await accept_as_owner(scenario, Choice.TRANSFER)
    quoted = [each.replace(" by ", ' "by" ') for each in statements]
    found = await violations_after(scenario, *quoted)
    assert found == {("OPS-8", subject.format(invite.invitation_id))}


@pytest.mark.parametrize("author", ['""', '" "', "null"])
async def test_a_journal_entry_without_an_author_is_named(
    scenario: StoreScenario, author: str
) -> None:
    """AUD, OPS-8: whatever the rest of the record is."""
    invite = scenario.new_invite("new@person.example")
    await scenario.send(invite)
    text = "CAST(record AS TEXT)"
    cast = "AS JSON" if scenario.engine.dialect.name == "postgresql" else "AS TEXT"
    replaced = f'replace(replace({text}, \'"by": "seatflow"\', \'"by": {author}\'),'
    replaced += f' \'"by":"seatflow"\', \'"by": {author}\')'
    found = await violations_after(
        scenario, f"UPDATE invitations SET record = CAST({replaced} {cast})"
    )
    assert ("OPS-8", invite.invitation_id) in found
