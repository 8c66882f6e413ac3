"""What waits for an operator is found, the oldest first, and goes when it is settled."""

from datetime import timedelta

from domain.attention import AttentionKind
from domain.invitation import Invite
from domain.journal import JournalEntry
from domain.manifest import Item, ItemStatus, ManifestItem
from domain.refund import LateSuccess, PartState, Refund, RefundState
from domain.remedy import Removal
from tests.builders.invitation import ACME, NOON, Town, account, directory, user
from tests.builders.refund import ACCEPTED_AT, accepted, eur, refunding, told

DAY = timedelta(days=1)


def standing(refund: Refund, state: RefundState, days: int, **changes: object) -> Refund:
    """The refund as it has stood since that many days after the acceptance."""
    entry = JournalEntry(
        at=ACCEPTED_AT + days * DAY, event="x", from_state=None, to_state=state, by="seatflow"
    )
    return refund.with_entry(entry, **changes)


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


async def mona_joined(town: Town) -> Invite:
    """With recordings of hers that nobody could move."""
    mona = user("mona@field.example", "owner", recordings=3, contacts=12)
    await town.store.directory.import_(directory(account("field", mona)))
    invite = town.invite("mona@field.example")
    await town.joined(invite)
    await keep_recordings(town, invite, ItemStatus.FAILED)
    return invite


async def keep_recordings(town: Town, invite: Invite, status: ItemStatus) -> None:
    item = ManifestItem(item=Item.RECORDINGS, count=3, status=status)
    await town.store.invitations.record_item(invite.invitation_id, item)


async def test_data_that_was_given_up_waits_until_it_has_moved(town: Town) -> None:
    """TRF-1: what is still tried waits for nobody."""
    invite = await mona_joined(town)
    [case] = await town.store.attention.cases()
    assert case.kind is AttentionKind.MOVE_FAILED
    assert (case.account, case.id) == ("acme", invite.workflow_id)
    assert case.since == NOON + timedelta(hours=1)
    assert case.message == "Not moved for m…@field.example: recordings (3)."
    await keep_recordings(town, invite, ItemStatus.RUNNING)
    assert await town.store.attention.cases() == []
    await keep_recordings(town, invite, ItemStatus.MOVED)
    assert await town.store.attention.cases() == []


async def test_nobody_waits_for_the_data_of_who_has_left(town: Town) -> None:
    invite = await mona_joined(town)
    later = NOON + DAY
    await town.store.remedies.remove_user("acme", invite.email, Removal.UNLINK, later)
    assert await town.store.attention.cases() == []


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
