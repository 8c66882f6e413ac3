"""What waits for an operator is found, the oldest first, and goes when it is settled."""

from datetime import timedelta

from domain.attention import AttentionKind
from domain.journal import JournalEntry
from domain.refund import LateSuccess, PartState, Refund, RefundState
from tests.adapters.sql.purse import ACCEPTED_AT, accepted, eur, refunding, told
from tests.adapters.sql.town import ACME, Town, account, directory

DAY = timedelta(days=1)


def standing(refund: Refund, state: RefundState, days: int, **changes: object) -> Refund:
    """The refund as it has stood since that many days after the acceptance."""
    entry = JournalEntry(
        at=ACCEPTED_AT + days * DAY, event="x", from_state=None, to_state=state, by="seatflow"
    )
    return refund.moved(entry, **changes)


async def test_a_refund_waits_while_it_is_overdue_or_failed(town: Town) -> None:
    """REF-3, REF-4."""
    order, refund = await refunding(town)
    assert await town.store.attention.cases() == []
    overdue = standing(refund, RefundState.OVERDUE, 7)
    await town.store.refunds.book(order, overdue, ACCEPTED_AT + 7 * DAY)
    [case] = await town.store.attention.cases()
    assert case.kind is AttentionKind.REFUND_OVERDUE
    assert (case.id, case.account) == (order.refund_id, "acme")
    assert case.since == ACCEPTED_AT + 7 * DAY
    assert case.message == "40.00 EUR to p…@paid.example should have arrived by 2026-03-09."
    failed = standing(
        told(overdue, PartState.SUCCEEDED, PartState.FAILED),
        RefundState.FAILED,
        8,
        failure="declined",
    )
    await town.store.refunds.book(order, failed, ACCEPTED_AT + 8 * DAY)
    [case] = await town.store.attention.cases()
    assert case.kind is AttentionKind.REFUND_FAILED
    assert case.message == "10.00 EUR to p…@paid.example could not be returned: declined."
    settled = standing(
        told(failed, PartState.SUCCEEDED, PartState.SUCCEEDED), RefundState.SETTLED, 9
    )
    await town.store.refunds.book(order, settled, ACCEPTED_AT + 9 * DAY)
    assert await town.store.attention.cases() == []


async def test_a_late_success_waits_until_it_is_reversed(town: Town) -> None:
    """REF-4: whatever state the refund is in."""
    order, refund = await refunding(town)
    converted = standing(
        told(refund, PartState.CONVERTED, PartState.CONVERTED),
        RefundState.CONVERTED,
        5,
        not_reversed=LateSuccess(at=ACCEPTED_AT + 6 * DAY, amount=eur("30.00")),
    )
    await town.store.refunds.book(order, converted, ACCEPTED_AT + 6 * DAY)
    [case] = await town.store.attention.cases()
    assert case.kind is AttentionKind.REFUND_NOT_REVERSED
    assert case.since == ACCEPTED_AT + 6 * DAY
    assert case.message.startswith("30.00 EUR to p…@paid.example has arrived after")
    resolved = converted.model_copy(update={"not_reversed": None})
    await town.store.refunds.book(order, resolved, ACCEPTED_AT + 7 * DAY)
    assert await town.store.attention.cases() == []


async def test_credit_that_cannot_follow_waits(town: Town) -> None:
    """QUO-3, QUO-6: in another currency it stays on the account that was closed."""
    await town.store.directory.import_(directory({**ACME, "currency": "USD"}))
    await accepted(town, credit="7.00")
    [case] = await town.store.attention.cases()
    assert case.kind is AttentionKind.CREDIT_LEFT_BEHIND
    assert (case.account, case.id, case.since) == ("paid", "paid", ACCEPTED_AT)
    # The balance, and what of the plan had been paid from credit.
    assert case.message == "17.00 EUR of credit stayed behind when the account was closed."


async def test_credit_of_an_account_that_came_closed_waits_too(town: Town) -> None:
    """Nobody left it here, so it waits since it was taken in."""
    await town.store.directory.import_(
        directory(account("gone", plan="pro", state="closed", currency="JPY", credit="900"))
    )
    await town.store.directory.import_(directory(account("open", plan="pro", credit="5.00")))
    [case] = await town.store.attention.cases()
    assert case.id == "gone"
    assert case.message.startswith("900 JPY")


async def test_the_oldest_comes_first(town: Town) -> None:
    order, refund = await refunding(town)
    overdue = standing(refund, RefundState.OVERDUE, 7)
    await town.store.refunds.book(order, overdue, ACCEPTED_AT + 7 * DAY)
    await town.store.directory.import_(
        directory(account("gone", plan="pro", state="closed", credit="9.00"))
    )
    cases = await town.store.attention.cases()
    assert [case.since for case in cases] == sorted(case.since for case in cases)
    assert {case.id for case in cases} == {"gone", order.refund_id}
