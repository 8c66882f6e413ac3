"""What parts of a refund say is posted once each, and the record is kept with it."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.error import ErrorCode, Refused
from domain.journal import JournalEntry
from domain.refund import PartState, Refund, RefundState
from tests.builders.invitation import ACME, Town, account, directory
from tests.builders.refund import ACCEPTED_AT, PAULA, balances, eur, refunding, told

LATER = ACCEPTED_AT + timedelta(days=3)
OPEN = {"id": "i1", "amount_due": "1000.00", "due_on": "2026-04-01"}


def newer(refund: Refund) -> Refund:
    entry = JournalEntry(at=LATER, event="x", from_state=None, to_state=refund.state, by="seatflow")
    return refund.model_copy(update={"journal": (*refund.journal, entry)})


async def test_what_succeeded_has_left_for_its_method(town: Town) -> None:
    """REF-2: part by part, whatever is repeated."""
    order, refund = await refunding(town)
    one = told(refund, PartState.SUCCEEDED, PartState.PENDING)
    both = told(refund, PartState.SUCCEEDED, PartState.SUCCEEDED)
    due = f"refund_due/{order.refund_id}"
    for _ in range(2):
        await town.store.refunds.book(order, one, LATER)
        assert await balances(town.engine, due) == {due: "EUR 1000"}
    for _ in range(2):
        await town.store.refunds.book(order, both, LATER)
    assert await balances(town.engine, due, "methods/paid") == {"methods/paid": "EUR -4000"}
    assert await town.store.refunds.latest(order.refund_id) == both
    assert (await town.store.audit()).violations == ()


async def test_an_older_record_is_ignored(town: Town) -> None:
    order, refund = await refunding(town)
    await town.store.refunds.book(order, newer(refund), LATER)
    await town.store.refunds.book(
        order, told(refund, PartState.SUCCEEDED, PartState.SUCCEEDED), LATER
    )
    assert await town.store.refunds.latest(order.refund_id) == newer(refund)
    assert (await town.store.audit()).violations == ()


async def test_what_failed_becomes_credit_of_the_target(town: Town) -> None:
    """REF-4: once, and credited is not refunded."""
    order, refund = await refunding(town)
    converted = told(refund, PartState.SUCCEEDED, PartState.CONVERTED)
    for _ in range(2):
        await town.store.refunds.book(order, converted, LATER)
    credit = await town.store.credits.show("acme")
    assert [(entry.kind, entry.amount, entry.source) for entry in credit.entries] == [
        ("credit_returned", eur("10.00"), "paid"),
        ("converted", eur("10.00"), order.refund_id),
    ]
    assert (await town.store.audit()).violations == ()


async def test_a_success_after_all_takes_the_credit_back(town: Town) -> None:
    """REF-4: by another entry, once."""
    order, refund = await refunding(town)
    states = PartState.SUCCEEDED, PartState.CONVERTED
    await town.store.refunds.book(order, told(refund, *states), LATER)
    settled = told(refund, PartState.SUCCEEDED, PartState.SUCCEEDED)
    for _ in range(2):
        await town.store.refunds.book(order, settled, LATER)
    credit = await town.store.credits.show("acme")
    assert credit.balance == eur("10.00")
    assert [entry.kind for entry in credit.entries][-2:] == ["converted", "reversed"]
    assert (await town.store.audit()).violations == ()


async def test_credit_that_was_used_is_not_taken_back(town: Town) -> None:
    """REF-4: `conflict`, for the operators; nothing changes."""
    order, refund = await refunding(town)
    converted = told(refund, PartState.CONVERTED, PartState.CONVERTED)
    await town.store.refunds.book(order, converted, LATER)
    await town.store.directory.import_(directory(account("acme", plan="pro", invoices=[OPEN])))
    with pytest.raises(Refused) as refused:
        await town.store.refunds.book(
            order, told(refund, PartState.SUCCEEDED, PartState.CONVERTED), LATER
        )
    assert refused.value.code is ErrorCode.CONFLICT
    assert await town.store.refunds.latest(order.refund_id) == converted
    assert (await town.store.audit()).violations == ()


async def test_what_was_given_up_may_arrive_after_all(town: Town) -> None:
    """REF-4: `close` writes it off; a late success undoes that."""
    order, refund = await refunding(town)
    await town.store.refunds.book(order, told(refund, PartState.CLOSED, PartState.CLOSED), LATER)
    written_off = await balances(town.engine, "written_off/paid")
    assert written_off == {"written_off/paid": "EUR 4000"}
    assert (await town.store.audit()).violations == ()
    await town.store.refunds.book(order, told(refund, PartState.SUCCEEDED, PartState.CLOSED), LATER)
    assert await balances(town.engine, "written_off/paid") == {"written_off/paid": "EUR 1000"}
    assert (await town.store.audit()).violations == ()


async def test_a_refund_is_not_converted_into_another_currency(town: Town) -> None:
    """REF-4."""
    await town.store.directory.import_(directory({**ACME, "currency": "USD"}))
    order, refund = await refunding(town)
    with pytest.raises(Refused) as refused:
        await town.store.refunds.book(
            order, told(refund, PartState.CONVERTED, PartState.FAILED), LATER
        )
    assert refused.value.code is ErrorCode.CURRENCY_MISMATCH
    assert await town.store.refunds.latest(order.refund_id) == refund


async def test_the_payee_is_told_in_their_own_language(town: Town) -> None:
    """TXT-1."""
    order, _ = await refunding(town)
    parties = await town.store.refunds.refund_parties(order)
    assert parties.account_name == "Acme"
    assert (parties.payee.email, parties.payee.locale) == (PAULA, "en")
    assert parties.payee.time_zone == "Europe/Berlin"


async def test_the_next_lookups_follow_the_last_ones(town: Town) -> None:
    """REF-2: each business day at the time of day of the request; summer time begins."""
    order, _ = await refunding(town)
    after = order.lookups[-1]
    found = await town.store.refunds.next_lookups(order, after)
    assert after == datetime(2026, 3, 18, 13, tzinfo=UTC)
    assert found[:2] == tuple(datetime(2026, 3, day, 13, tzinfo=UTC) for day in (19, 20))
    assert found[7] == datetime(2026, 3, 30, 12, tzinfo=UTC)
    assert len(found) == 10


async def test_an_unknown_refund_is_not_found(town: Town) -> None:
    for look in (town.store.refunds.latest, town.store.refunds.order_of):
        with pytest.raises(Refused) as refused:
            await look("rf-nothing")
        assert refused.value.code is ErrorCode.NOT_FOUND


async def test_refunds_are_listed_by_their_state(town: Town) -> None:
    _, refund = await refunding(town)
    assert await town.store.refunds.listed(None) == [refund]
    assert await town.store.refunds.listed(RefundState.REQUESTED) == [refund]
    assert await town.store.refunds.listed(RefundState.SETTLED) == []


async def test_a_refund_is_unfinished_until_it_rests(town: Town) -> None:
    """REF-6: failed is no rest, an operator's word is."""
    order, refund = await refunding(town)
    for state, unfinished in (
        (RefundState.FAILED, True),
        (RefundState.CLOSED, False),
        (RefundState.SETTLED, False),
    ):
        standing = refund.model_copy(update={"state": state})
        await town.store.refunds.book(order, standing, LATER)
        assert await town.store.refunds.unfinished() == ([standing] if unfinished else [])
