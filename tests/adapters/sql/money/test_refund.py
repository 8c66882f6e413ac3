"""Refunds in the store: each part is posted once, together with the record (REF)."""

from datetime import UTC, datetime, timedelta

import pytest

from adapters.sql.database.schema import RefundRow
from adapters.sql.database.transaction import writing
from domain.error import ErrorCode, Refused
from domain.journal import ENGINE, JournalEntry
from domain.refund import LookupFailure, PartState, Refund, RefundChange, RefundState
from domain.search import PageRequest
from states.lifecycle import after
from states.refund import RefundMachine
from tests.builders.account import ACME, account, directory, eur
from tests.builders.invitation import StoreScenario
from tests.builders.refund import (
    ACCEPTED_AT,
    PAULA,
    book,
    ledger_balances,
    request_refund,
    with_part_states,
)

LATER = ACCEPTED_AT + timedelta(days=3)
OPEN = {"id": "i1", "amount_due": "1000.00", "due_on": "2026-04-01"}


def newer(refund: Refund) -> Refund:
    return after(RefundMachine, refund, "cancel_requested", at=LATER, by=ENGINE)


async def test_a_succeeded_part_is_posted_once(scenario: StoreScenario) -> None:
    """REF-2, REF-5: part by part, however often it is reported."""
    order, refund = await request_refund(scenario)
    one = with_part_states(refund, PartState.SUCCEEDED, PartState.PENDING)
    both = with_part_states(refund, PartState.SUCCEEDED, PartState.SUCCEEDED)
    due = f"refund_due/{order.refund_id}"
    for _ in range(2):
        await book(scenario, one, LATER)
        assert await ledger_balances(scenario.engine, due) == {due: "EUR 1000"}
    for _ in range(2):
        await book(scenario, both, LATER)
    assert await ledger_balances(scenario.engine, due, "methods/paid") == {
        "methods/paid": "EUR -4000"
    }
    assert await scenario.store.refunds.latest(order.refund_id) == both
    assert (await scenario.store.audit()).violations == ()


async def test_a_later_record_is_kept_and_returned(scenario: StoreScenario) -> None:
    """REF-2: a workflow that was reset neither reverts the state nor posts anything."""
    order, refund = await request_refund(scenario)
    first = RefundChange.between(refund, newer(refund))
    for _ in range(2):
        assert await scenario.store.refunds.book(order.refund_id, first, LATER) is None
    kept = await scenario.store.refunds.latest(order.refund_id)
    settled = with_part_states(newer(refund), PartState.SUCCEEDED, PartState.SUCCEEDED)
    late = RefundChange.between(refund, settled.model_copy(update={"failure": "x"}))
    late = late.model_copy(update={"entry": None})
    assert await scenario.store.refunds.book(order.refund_id, late, LATER) == kept
    assert await scenario.store.refunds.latest(order.refund_id) == kept == newer(refund)
    assert (await scenario.store.audit()).violations == ()


async def test_a_record_that_lacks_entries_is_not_continued(scenario: StoreScenario) -> None:
    """OPS-4: `invariant_broken`, for example after the restore of an old backup."""
    order, refund = await request_refund(scenario)
    change = RefundChange.between(newer(refund), newer(newer(refund)))
    with pytest.raises(Refused) as refused:
        await scenario.store.refunds.book(order.refund_id, change, LATER)
    assert refused.value.code is ErrorCode.INVARIANT_BROKEN
    assert await scenario.store.refunds.latest(order.refund_id) == refund


async def test_a_converted_part_becomes_credit_of_the_target(scenario: StoreScenario) -> None:
    """REF-4, TXT-2: once, and called credited, not refunded."""
    order, refund = await request_refund(scenario)
    converted = with_part_states(refund, PartState.SUCCEEDED, PartState.CONVERTED)
    for _ in range(2):
        await book(scenario, converted, LATER)
    credit = await scenario.store.credits.show("acme")
    assert [(entry.kind, entry.amount, entry.source) for entry in credit.entries] == [
        ("credit_returned", eur("10.00"), "paid"),
        ("converted", eur("10.00"), order.refund_id),
    ]
    assert (await scenario.store.audit()).violations == ()


async def test_a_late_success_reverses_the_credit(scenario: StoreScenario) -> None:
    """REF-4: by another entry, once."""
    _, refund = await request_refund(scenario)
    states = PartState.SUCCEEDED, PartState.CONVERTED
    await book(scenario, with_part_states(refund, *states), LATER)
    settled = with_part_states(refund, PartState.SUCCEEDED, PartState.SUCCEEDED)
    for _ in range(2):
        await book(scenario, settled, LATER)
    credit = await scenario.store.credits.show("acme")
    assert credit.balance == eur("10.00")
    assert [entry.kind for entry in credit.entries][-2:] == ["converted", "reversed"]
    assert (await scenario.store.audit()).violations == ()


async def test_used_credit_is_not_reversed(scenario: StoreScenario) -> None:
    """REF-4: `conflict`, for the operators' list; nothing changes."""
    order, refund = await request_refund(scenario)
    converted = with_part_states(refund, PartState.CONVERTED, PartState.CONVERTED)
    await book(scenario, converted, LATER)
    await scenario.store.directory.import_(directory(account("acme", plan="pro", invoices=[OPEN])))
    with pytest.raises(Refused) as refused:
        await book(
            scenario, with_part_states(refund, PartState.SUCCEEDED, PartState.CONVERTED), LATER
        )
    assert refused.value.code is ErrorCode.CONFLICT
    assert await scenario.store.refunds.latest(order.refund_id) == converted
    assert (await scenario.store.audit()).violations == ()


async def test_a_closed_part_may_still_succeed(scenario: StoreScenario) -> None:
    """REF-4: `close` writes it off; a late success reverses that."""
    _, refund = await request_refund(scenario)
    await book(scenario, with_part_states(refund, PartState.CLOSED, PartState.CLOSED), LATER)
    written_off = await ledger_balances(scenario.engine, "written_off/paid")
    assert written_off == {"written_off/paid": "EUR 4000"}
    assert (await scenario.store.audit()).violations == ()
    await book(scenario, with_part_states(refund, PartState.SUCCEEDED, PartState.CLOSED), LATER)
    assert await ledger_balances(scenario.engine, "written_off/paid") == {
        "written_off/paid": "EUR 1000"
    }
    assert (await scenario.store.audit()).violations == ()


async def test_a_refund_is_not_converted_into_another_currency(scenario: StoreScenario) -> None:
    """REF-4: `currency_mismatch`, and the record stays."""
    await scenario.store.directory.import_(directory({**ACME, "currency": "USD"}))
    order, refund = await request_refund(scenario)
    with pytest.raises(Refused) as refused:
        await book(scenario, with_part_states(refund, PartState.CONVERTED, PartState.FAILED), LATER)
    assert refused.value.code is ErrorCode.CURRENCY_MISMATCH
    assert await scenario.store.refunds.latest(order.refund_id) == refund


def after_event(refund: Refund, event: str, state: RefundState) -> Refund:
    """Return the refund after a transition."""
    entry = JournalEntry.of(event, at=LATER, from_state=refund.state, to_state=state, by="seatflow")
    return refund.with_entry(entry)


async def test_each_change_queues_its_letters_once(scenario: StoreScenario) -> None:
    """OPS-1, REF-4: payee and operators; a repeated booking queues nothing."""
    _, refund = await request_refund(scenario)
    await scenario.take_letters()
    failed = after_event(
        with_part_states(refund, PartState.PENDING, PartState.FAILED), "fail", RefundState.FAILED
    )
    for _ in range(2):
        await book(scenario, failed, LATER)
    assert await scenario.take_letters() == [
        ("", "attention"),
        (PAULA, "refund_failed"),
        (PAULA, "refund_requested"),
    ]
    converted = after_event(
        with_part_states(failed, PartState.PENDING, PartState.CONVERTED),
        "resume",
        RefundState.PROCESSING,
    )
    await book(scenario, converted, LATER)
    assert ("paula@paid.example", "refund_converted") in await scenario.take_letters()


async def test_a_change_without_news_queues_nothing(scenario: StoreScenario) -> None:
    """OPS-2: a look-up that fails is a case for the operators only."""
    _, refund = await request_refund(scenario)
    await scenario.take_letters()
    failure = LookupFailure(since=LATER, reason="unreachable")
    await book(scenario, refund.model_copy(update={"lookup_failure": failure}), LATER)
    assert await scenario.take_letters() == []


async def test_the_payee_gets_letters_in_their_own_language(scenario: StoreScenario) -> None:
    """TXT-1: also in the time zone of the former account."""
    _, refund = await request_refund(scenario)
    await scenario.take_letters()
    await book(
        scenario,
        after_event(
            with_part_states(refund, *2 * [PartState.PENDING]), "submit", RefundState.PROCESSING
        ),
        LATER,
    )
    [letter] = await scenario.queued_letters()
    assert letter.account_name == "Acme"
    assert (letter.reader.email, letter.reader.locale) == (PAULA, "en")
    assert letter.reader.time_zone == "Europe/Berlin"


async def test_the_next_lookups_follow_the_last_ones(scenario: StoreScenario) -> None:
    """REF-2: each business day at the time of day of the request; summer time starts."""
    order, _ = await request_refund(scenario)
    after = order.lookups[-1]
    found = await scenario.store.refunds.next_lookups(order.refund_id, after)
    assert after == datetime(2026, 3, 18, 13, tzinfo=UTC)
    assert found[:2] == tuple(datetime(2026, 3, day, 13, tzinfo=UTC) for day in (19, 20))
    assert found[7] == datetime(2026, 3, 30, 12, tzinfo=UTC)
    assert len(found) == 10


async def test_an_unknown_refund_is_not_found(scenario: StoreScenario) -> None:
    """Contract, error codes: `not_found`."""
    for call in (scenario.store.refunds.latest, scenario.store.refunds.plan_of):
        with pytest.raises(Refused) as refused:
            await call("rf-nothing")
        assert refused.value.code is ErrorCode.NOT_FOUND


async def test_refunds_are_listed_by_their_state(scenario: StoreScenario) -> None:
    """Contract, `refunds`: all, or those in a state."""
    _, refund = await request_refund(scenario)
    assert await scenario.store.refunds.listed(None) == [refund]
    assert await scenario.store.refunds.listed(RefundState.REQUESTED) == [refund]
    assert await scenario.store.refunds.listed(RefundState.SETTLED) == []


async def test_a_refund_is_unfinished_until_it_ends(scenario: StoreScenario) -> None:
    """REF-6: a failed refund is unfinished, a closed one is not."""
    _, refund = await request_refund(scenario)
    for state, unfinished in (
        (RefundState.FAILED, True),
        (RefundState.CLOSED, False),
        (RefundState.SETTLED, False),
    ):
        changed = refund.model_copy(update={"state": state})
        await book(scenario, changed, LATER)
        found = [each async for page in scenario.store.unfinished_workflows() for each in page]
        assert (refund.workflow_id in found) == unfinished


async def test_refunds_are_listed_in_pages_the_newest_first(scenario: StoreScenario) -> None:
    """A page continues after its cursor, also where several were requested at the same time."""
    plan, refund = await request_refund(scenario)
    for number in range(5):
        invite = scenario.new_invite(f"person{number}@else.example")
        await scenario.send(invite)
        async with writing(scenario.engine) as session:
            own = {
                "refund_id": f"rf-{number}",
                "invitation_id": invite.invitation_id,
                "requested_at": plan.requested_at + timedelta(days=number // 2),
            }
            failed = {"refund_id": f"rf-{number}", "state": RefundState.FAILED}
            ordered, record = plan.model_copy(update=own), refund.model_copy(update=failed)
            session.add(RefundRow(**own, state=RefundState.FAILED, ordered=ordered, record=record))
    listed, cursor = list[str](), None
    while True:
        page = await scenario.store.refunds.page(
            RefundState.FAILED, PageRequest(limit=2, after=cursor)
        )
        listed += [each.refund.refund_id for each in page.refunds]
        assert page.counts == {RefundState.FAILED: 5, RefundState.REQUESTED: 1}
        if (cursor := page.next_cursor) is None:
            break
    assert listed == ["rf-4", "rf-3", "rf-2", "rf-1", "rf-0"]
    everything = await scenario.store.refunds.page(None, PageRequest())
    assert {each.plan.payee for each in everything.refunds} == {plan.payee}
    assert len(everything.refunds) == 6
