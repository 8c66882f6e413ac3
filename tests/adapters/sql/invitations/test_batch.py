"""Batches in the store: stored once, processed row by row, and resumable (REM-3)."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from pydantic import JsonValue

from adapters.sql.store import SqlStore
from domain.batch import Batch, BatchProgress, BatchRow, RowOutcome, request_digest
from domain.error import ErrorCode, Refused
from domain.invitation import Invite, License, Person, StoredInvitation
from states.invitation import initial_record
from tests.builders.account import ADMIN, NOON, ZOE
from tests.builders.invitation import StoreScenario

BATCH = Batch(batch_id="spring", account="acme", by=ADMIN)
REFUSED: dict[str, JsonValue] = {"code": "invalid_input", "message": "row 3, email: missing"}


def crowd(count: int) -> list[BatchRow]:
    return [
        BatchRow(position=number, person=Person(email=f"p{number}@example.com"))
        for number in range(count)
    ]


async def stored(store: SqlStore, rows: Sequence[BatchRow], batch: Batch = BATCH) -> Batch:
    digest = request_digest(batch.account, batch.by, batch.heads_up_days, rows)
    return await store.batches.file(batch, digest, rows, NOON)


async def test_a_batch_is_stored_once(scenario: StoreScenario) -> None:
    """REM-3: a request with the same id and other rows is refused."""
    store = scenario.store
    rows = [*crowd(2), BatchRow(position=2, person=Person(email=""), refused=REFUSED)]
    later = BATCH.model_copy(update={"managed_domains": ("acme.example",)})
    assert await stored(store, rows, later) == later
    # Until the first row is invited, the current terms replace the stored ones.
    assert await stored(store, rows) == BATCH
    assert await store.batches.progress("spring") == BatchProgress(total=3, refused=1)
    assert [row.position for row in await store.batches.waiting("spring", 10)] == [0, 1]
    assert len(await store.batches.waiting("spring", 1)) == 1
    with pytest.raises(Refused) as refused:
        await stored(store, crowd(3))
    assert refused.value.code is ErrorCode.CONFLICT
    with pytest.raises(Refused) as unknown:
        await store.batches.progress("autumn")
    assert unknown.value.code is ErrorCode.NOT_FOUND


async def test_a_repeated_request_continues_its_batch_until_it_is_reported(
    scenario: StoreScenario,
) -> None:
    """REM-3: afterwards the same request is a new batch."""
    store = scenario.store
    digest = request_digest(BATCH.account, BATCH.by, 0, crowd(2))
    first = await store.batches.current_id(digest)
    await stored(store, crowd(2), BATCH.model_copy(update={"batch_id": first}))
    assert await store.batches.current_id(digest) == first
    await store.batches.report(first, NOON)
    await store.batches.report(first, NOON + timedelta(days=1))
    assert await store.batches.current_id(digest) != first
    assert (
        await store.batches.current_id(request_digest(BATCH.account, BATCH.by, 1, crowd(2)))
        != first
    )


async def claimed(
    scenario: StoreScenario, *invites: Invite, at: datetime = NOON
) -> list[StoredInvitation | Refused | None]:
    claims = [(each, initial_record(each, run_id="", at=at)) for each in invites]
    return await scenario.store.invitations.claim_all(claims, at)


async def test_rows_are_claimed_together_and_a_refused_one_affects_no_other(
    scenario: StoreScenario,
) -> None:
    """INV-2, INV-15: in the order of the rows, which decides who gets the last seats."""
    live_invite = scenario.new_invite("live@example.com")
    await scenario.claim(live_invite)
    found = await claimed(
        scenario,
        scenario.new_invite(ADMIN),
        scenario.new_invite("live@example.com"),
        scenario.new_invite("max@rich.example"),
        *(scenario.new_invite(f"p{n}@example.com", license=License.LICENSED) for n in range(6)),
    )
    codes = [each.code.value if isinstance(each, Refused) else None for each in found]
    assert codes == [
        "already_member",
        None,
        "belongs_to_other_account",
        *[None] * 5,
        "no_seats",
    ]
    live = found[1]
    assert isinstance(live, StoredInvitation)
    assert live.invitation_id == live_invite.invitation_id
    assert (await scenario.store.audit()).violations == ()


async def test_without_authority_every_row_is_refused(scenario: StoreScenario) -> None:
    """INV-1: `not_authorized` for each row."""
    found = await claimed(
        scenario, *(scenario.new_invite(f"p{n}@example.com", by=ZOE) for n in range(2))
    )
    codes = [each.code.value for each in found if isinstance(each, Refused)]
    assert codes == ["not_authorized"] * 2


async def test_a_repeated_claim_returns_the_first_and_renews_its_time(
    scenario: StoreScenario,
) -> None:
    """INV-15: recovery releases only claims older than its last read."""
    invite = scenario.new_invite("ada@example.com")
    assert await claimed(scenario, invite) == [None]
    later = NOON + timedelta(minutes=1)
    [again] = await claimed(scenario, invite, at=later)
    assert isinstance(again, StoredInvitation)
    assert not again.started
    invitations = scenario.store.invitations
    await invitations.release(invite.invitation_id, later)
    assert await invitations.by_id(invite.invitation_id) is not None
    await invitations.release(invite.invitation_id, later + timedelta(seconds=1))
    assert await invitations.by_id(invite.invitation_id) is None


async def test_the_outcome_of_a_row_is_stored_with_its_run(
    scenario: StoreScenario,
) -> None:
    """REM-3: a batch with outcomes continues with the remaining rows."""
    batches, rows = scenario.store.batches, crowd(4)
    await stored(scenario.store, rows)
    invites = [scenario.new_invite(row.person.email) for row in rows]
    await claimed(scenario, *invites[:2])
    invited = [
        RowOutcome(
            position=number,
            result="invited",
            invitation_id=invites[number].invitation_id,
            run_id=f"run-{number}",
        )
        # The claim of the third was released before it could be bound.
        for number in (0, 1, 2)
    ]
    refused = RowOutcome(position=3, result="refused", error=REFUSED)
    await batches.keep("spring", [*invited, refused])
    assert await batches.progress("spring") == BatchProgress(total=4, invited=2, refused=1)
    later = BATCH.model_copy(update={"managed_domains": ("acme.example",)})
    assert await stored(scenario.store, rows, later) == BATCH
    assert [row.position for row in await batches.waiting("spring", 10)] == [2]
    assert await batches.unsent_count("spring") == 2
    first, second, last = await batches.results("spring")
    assert first.stored is not None and first.stored.invitation.run_id == "run-0"
    assert second.stored is not None and second.stored.started
    assert (last.result, last.error, last.stored) == ("refused", REFUSED, None)
