"""The operators' list: cases appear oldest first and disappear when they are settled (OPS-5)."""

from datetime import timedelta

from sqlalchemy import select

from adapters.sql.database.schema import OutboxRow
from adapters.sql.database.transaction import writing
from adapters.sql.outbox import queue_letters
from domain.attention import AttentionKind
from domain.invitation import Invite
from domain.journal import JournalEntry
from domain.letter.base import Reader
from domain.letter.invitation import AcceptedLetter
from domain.manifest import Item, ItemStatus, ManifestItem
from domain.outbox import REPORTED_AFTER, QueuedLetter
from domain.refund import LateSuccess, LookupFailure, PartState, Refund, RefundState
from domain.remedy import Removal
from tests.builders.account import ACME, NOON, account, directory, eur, user
from tests.builders.invitation import StoreScenario
from tests.builders.refund import (
    ACCEPTED_AT,
    accept_as_owner,
    book,
    request_refund,
    with_part_states,
)

DAY = timedelta(days=1)


def refund_since(refund: Refund, state: RefundState, days: int, **changes: object) -> Refund:
    """Return the refund in `state` since that many days after the acceptance."""
    entry = JournalEntry(
        at=ACCEPTED_AT + days * DAY, event="x", from_state=None, to_state=state, by="seatflow"
    )
    return refund.with_entry(entry, **changes)


async def test_a_refund_is_listed_while_it_is_overdue_or_failed(scenario: StoreScenario) -> None:
    """REF-3, REF-4: with the open amount and the reason."""
    order, refund = await request_refund(scenario)
    assert await scenario.store.attention.cases(ACCEPTED_AT) == []
    overdue = refund_since(refund, RefundState.OVERDUE, 7)
    await book(scenario, overdue, ACCEPTED_AT + 7 * DAY)
    [case] = await scenario.store.attention.cases()
    assert case.kind is AttentionKind.REFUND_OVERDUE
    assert (case.id, case.account) == (order.refund_id, "acme")
    assert case.since == ACCEPTED_AT + 7 * DAY
    assert case.message == (
        "40.00 EUR to p…@paid.example should have arrived by 2026-03-09. Contact the"
        " payment provider; closing gives it up."
    )
    assert case.remedy == f"seatflow refund close {order.refund_id} --reason TEXT"
    failed = refund_since(
        with_part_states(overdue, PartState.SUCCEEDED, PartState.FAILED),
        RefundState.FAILED,
        8,
        failure="declined",
    )
    await book(scenario, failed, ACCEPTED_AT + 8 * DAY)
    [case] = await scenario.store.attention.cases()
    assert case.kind is AttentionKind.REFUND_FAILED
    assert case.message.startswith("10.00 EUR to p…@paid.example could not be returned: declined. ")
    assert case.remedy == f"seatflow refund convert {order.refund_id} --to-credit"
    settled = refund_since(
        with_part_states(failed, PartState.SUCCEEDED, PartState.SUCCEEDED), RefundState.SETTLED, 9
    )
    await book(scenario, settled, ACCEPTED_AT + 9 * DAY)
    assert await scenario.store.attention.cases() == []


async def test_a_late_success_is_listed_until_it_is_reversed(scenario: StoreScenario) -> None:
    """REF-4: in any state of the refund."""
    _, refund = await request_refund(scenario)
    converted = refund_since(
        with_part_states(refund, PartState.CONVERTED, PartState.CONVERTED),
        RefundState.CONVERTED,
        5,
        not_reversed=LateSuccess(at=ACCEPTED_AT + 6 * DAY, amount=eur("30.00")),
    )
    await book(scenario, converted, ACCEPTED_AT + 6 * DAY)
    [case] = await scenario.store.attention.cases()
    assert case.kind is AttentionKind.REFUND_NOT_REVERSED
    assert case.since == ACCEPTED_AT + 6 * DAY
    assert case.message.startswith("30.00 EUR to p…@paid.example has arrived after")
    resolved = converted.model_copy(update={"not_reversed": None})
    await book(scenario, resolved, ACCEPTED_AT + 7 * DAY)
    assert await scenario.store.attention.cases() == []


async def test_a_refund_whose_request_has_no_answer_is_listed_after_a_day(
    scenario: StoreScenario,
) -> None:
    """OPS-3: even if its workflow cannot start, for whatever cause."""
    order, _ = await request_refund(scenario)
    cases = scenario.store.attention.cases
    assert await cases(ACCEPTED_AT + DAY - timedelta(seconds=1)) == []
    [case] = await cases(ACCEPTED_AT + DAY)
    assert (case.kind, case.id) == (AttentionKind.REFUND_NOT_REQUESTED, order.refund_id)
    assert case.since == ACCEPTED_AT
    assert case.message.startswith("The request of 40.00 EUR to p…@paid.example has no answer. ")


async def test_a_refund_is_listed_while_its_look_ups_fail(scenario: StoreScenario) -> None:
    """OPS-3: a revoked key, or a refund that the provider does not know."""
    _, refund = await request_refund(scenario)
    failure = LookupFailure(since=ACCEPTED_AT + DAY, reason="api_key_refused (2 of 2 payments)")
    failing = refund_since(refund, RefundState.PROCESSING, 0, lookup_failure=failure)
    await book(scenario, failing, ACCEPTED_AT + DAY)
    [case] = await scenario.store.attention.cases()
    assert (case.kind, case.since) == (AttentionKind.REFUND_LOOKUP_FAILING, failure.since)
    assert case.message.startswith(
        "The status of 40.00 EUR to p…@paid.example is not known:"
        " api_key_refused (2 of 2 payments). "
    )
    await book(scenario, failing.model_copy(update={"lookup_failure": None}), ACCEPTED_AT + 2 * DAY)
    assert await scenario.store.attention.cases() == []


async def test_credit_that_stays_behind_is_listed(scenario: StoreScenario) -> None:
    """QUO-3, QUO-6: in another currency it stays on the closed account."""
    await scenario.store.directory.import_(directory({**ACME, "currency": "USD"}))
    await accept_as_owner(scenario, credit="7.00")
    [case] = await scenario.store.attention.cases(ACCEPTED_AT)
    assert case.kind is AttentionKind.CREDIT_LEFT_BEHIND
    assert (case.account, case.id, case.since) == ("paid", "paid", ACCEPTED_AT)
    # The balance, and the part of the plan that was paid from credit.
    assert case.message.startswith("17.00 EUR of credit stayed behind when the account was closed.")
    assert case.remedy == "seatflow credit show paid"


async def test_credit_of_an_account_imported_as_closed_is_listed(scenario: StoreScenario) -> None:
    """OPS-5: the case starts with the import."""
    await scenario.store.directory.import_(
        directory(account("gone", plan="pro", state="closed", currency="JPY", credit="900"))
    )
    await scenario.store.directory.import_(directory(account("open", plan="pro", credit="5.00")))
    [case] = await scenario.store.attention.cases()
    assert case.id == "gone"
    assert case.message.startswith("900 JPY")


async def failed_move_of_mona(scenario: StoreScenario) -> Invite:
    """Accept as Mona; her recordings could not be moved."""
    mona = user("mona@field.example", "owner", recordings=3, contacts=12)
    await scenario.store.directory.import_(directory(account("field", mona)))
    invite = scenario.new_invite("mona@field.example")
    await scenario.send_and_accept(invite)
    await keep_recordings(scenario, invite, ItemStatus.FAILED)
    return invite


async def keep_recordings(scenario: StoreScenario, invite: Invite, status: ItemStatus) -> None:
    item = ManifestItem(item=Item.RECORDINGS, count=3, status=status)
    await scenario.store.invitations.record_item(invite.invitation_id, item)


async def test_failed_items_are_listed_until_they_have_moved(scenario: StoreScenario) -> None:
    """TRF-1: also while they are moved again, which may be ended from outside."""
    invite = await failed_move_of_mona(scenario)
    [case] = await scenario.store.attention.cases()
    assert case.kind is AttentionKind.MOVE_FAILED
    assert (case.account, case.id) == ("acme", invite.workflow_id)
    assert case.since == NOON + timedelta(hours=1)
    assert case.message.startswith("Not moved for m…@field.example: recordings (3). ")
    assert case.remedy == "seatflow retry-move acme key-of-mona@field.example"
    await keep_recordings(scenario, invite, ItemStatus.RUNNING)
    assert await scenario.store.attention.cases() == [case]
    await keep_recordings(scenario, invite, ItemStatus.MOVED)
    assert await scenario.store.attention.cases() == []


async def test_failed_items_of_a_person_who_has_left_are_not_listed(
    scenario: StoreScenario,
) -> None:
    """TRF-1: the account no longer has the person."""
    invite = await failed_move_of_mona(scenario)
    later = NOON + DAY
    await scenario.store.remedies.remove_user("acme", invite.email, Removal.UNLINK, later)
    assert await scenario.store.attention.cases() == []


async def test_the_oldest_case_is_listed_first(scenario: StoreScenario) -> None:
    """OPS-5: across the kinds of cases."""
    order, refund = await request_refund(scenario)
    overdue = refund_since(refund, RefundState.OVERDUE, 7)
    await book(scenario, overdue, ACCEPTED_AT + 7 * DAY)
    await scenario.store.directory.import_(
        directory(account("gone", plan="pro", state="closed", credit="9.00"))
    )
    cases = await scenario.store.attention.cases()
    assert [case.since for case in cases] == sorted(case.since for case in cases)
    assert {case.id for case in cases} == {"gone", order.refund_id}


async def test_a_letter_that_was_refused_is_listed_until_it_is_sent_or_discarded(
    scenario: StoreScenario,
) -> None:
    """OPS-1, OPS-5: at once, with a masked recipient; the remedy makes it due again."""
    await queue(scenario, "welcome.1")
    await queue(scenario, "welcome.2")
    outbox = scenario.store.outbox
    refused, waiting = await outbox.lease(9, timedelta())
    assert await scenario.store.attention.cases() == []
    await outbox.give_up(refused, "550 <zoe@zeta.example>: no such user.")
    [case] = await scenario.store.attention.cases()
    assert (case.kind, case.account) == (AttentionKind.LETTER_UNDELIVERABLE, "acme")
    assert (case.id, case.since) == (str(refused.number), refused.since)
    assert case.message.startswith(
        "The e-mail accepted to z…@zeta.example has failed for good:"
        " 550 <z…@zeta.example>: no such user. "
    )
    assert case.remedy == f"seatflow outbox retry {refused.number}"
    assert await outbox.retry(refused.number)
    assert await scenario.store.attention.cases() == []
    assert [row.number for row in await outbox.listed()] == [refused.number, waiting.number]


async def test_a_row_that_waits_for_a_day_is_listed(scenario: StoreScenario) -> None:
    """OPS-1, OPS-5: also while it is retried; a repeated search is never done and not listed."""
    outbox = scenario.store.outbox
    await outbox.add_sweeps(["closed"])
    await outbox.add_starts(["refund/rf-1"], after=timedelta())
    await outbox.add_claims([("invitation/acme/k", "i-1")])
    await scenario.send(scenario.new_invite("kim@crowd.example"))
    await scenario.store.directory.import_(directory(account("crowd")))
    assert await scenario.store.attention.cases() == []
    await age(scenario, REPORTED_AFTER)
    cases = await scenario.store.attention.cases()
    assert {case.kind for case in cases} == {AttentionKind.FOLLOW_UP_FAILING}
    assert {case.message.partition(" has ")[0] for case in cases} == {
        "The start of refund/rf-1",
        "The end of the claim of invitation/acme/k",
        "The signal directory_changed to invitation/acme/key-of-kim@crowd.example",
    }


async def queue(scenario: StoreScenario, letter_id: str) -> None:
    """Queue an e-mail to Zoe."""
    letter = AcceptedLetter(
        id=letter_id,
        reader=Reader(email="zoe@zeta.example"),
        account_name="Acme",
        invitee="jane@example.com",
    )
    async with writing(scenario.engine) as session:
        await queue_letters(
            session,
            [QueuedLetter(letter=letter)],
            workflow_id="invitation/acme/k",
            account="acme",
            at=NOON,
        )


async def age(scenario: StoreScenario, by: timedelta) -> None:
    """Make every row older."""
    async with writing(scenario.engine) as session:
        for row in await session.scalars(select(OutboxRow)):
            row.created_at -= by
