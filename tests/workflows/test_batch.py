"""Tests of the BulkInvite workflow: each person is invited once, in spite of crashes (REM-3)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from activities import batch as bulk
from domain.batch import Batch, BatchProgress, BatchRow
from domain.error import Unavailable
from domain.invitation import InviteResult, License, Person
from tests.database import Databases
from tests.runtime.test_recovery import a_claim
from tests.test_worker import a_worker, killed
from tests.world import ADMIN, JANE, MEMBER, OWNER, PATIENCE, World, a_world, refusal_of
from workflows import batch as bulk_invite
from workflows.batch import BatchWorkflow

CROWD = 2 * bulk.CONCURRENT_CHUNKS * bulk.CHUNK_SIZE
"""Twice the number of rows that are invited at the same time."""


@pytest.fixture
async def patient_world(
    temporal: WorkflowEnvironment, set_up_databases: Databases
) -> AsyncIterator[World]:
    """Build a world without a worker; a worker waits for an earlier claim to be abandoned."""
    async with a_world(temporal, set_up_databases, working=False, wait_seconds=60) as world:
        yield world


def nobody(done: int, total: int) -> None:
    """Ignore the progress."""


def a_crowd(count: int, license: License = License.BASIC) -> list[BatchRow]:
    return rows(*(f"person{number}@example.com" for number in range(count)), license=license)


def rows(*emails: str, license: License = License.BASIC) -> list[BatchRow]:
    return [
        BatchRow(position=position, person=Person(email=email, license=license))
        for position, email in enumerate(emails)
    ]


async def done(world: World, asked: Sequence[BatchRow], batch_id: str | None = None) -> Batch:
    batch = await world.bulk.submit(world.account, asked, ADMIN, batch_id=batch_id)
    await world.bulk.wait_until_finished(batch, nobody)
    return batch


async def results(world: World, asked: Sequence[BatchRow]) -> list[InviteResult]:
    return await world.bulk.results(await done(world, asked))


async def all_out(world: World, batch: Batch) -> None:
    async with asyncio.timeout(2 * PATIENCE.total_seconds()):
        while await world.store.batches.unsent_count(batch.batch_id):
            await asyncio.sleep(0.1)


def told(world: World) -> Counter[str]:
    """Count the invitation e-mails of each person."""
    return Counter(mail.to for mail in world.mails(event="invitation"))


async def test_each_row_has_its_own_result_in_the_order_requested(world: World) -> None:
    """INV-2: an invalid row does not affect the others."""
    await world.invite(JANE)
    asked = rows("a@example.com", MEMBER, "nobody", JANE, "b@example.com")
    batch = await done(world, asked)
    found = await world.bulk.results(batch)
    assert [(each.email, each.result) for each in found] == [
        ("a@example.com", "invited"),
        (MEMBER, "refused"),
        ("nobody", "refused"),
        (JANE, "already_invited"),
        ("b@example.com", "invited"),
    ]
    codes = [each.error and each.error["code"] for each in found]
    assert codes == [None, "already_member", "invalid_email", None, None]
    await all_out(world, batch)
    assert told(world) == {"a@example.com": 1, JANE: 1, "b@example.com": 1}
    assert found[0].invitation is not None
    assert (found[0].invitation.link or "").startswith(world.settings.public_url)
    assert await world.audit() == ()


async def test_the_first_row_gets_the_seat(world: World) -> None:
    """INV-15."""
    found = await results(world, a_crowd(5, License.LICENSED))
    assert [each.result for each in found] == ["invited"] * 2 + ["refused"] * 3
    assert {each.error["code"] for each in found[2:] if each.error} == {"no_seats"}
    assert await world.free_seats() == 0


async def test_an_unauthorized_caller_gets_no_rows(world: World) -> None:
    asked = a_crowd(2)
    assert await refusal_of(world.bulk.submit(world.account, asked, MEMBER)) == "not_authorized"
    assert await refusal_of(world.bulk.submit("nowhere", asked, ADMIN)) == "not_found"


async def test_a_repeated_request_without_results_joins_the_same_batch(
    world: World,
) -> None:
    asked = a_crowd(3)
    first = await done(world, asked)
    again = await done(world, asked)
    assert again == first
    assert {each.result for each in await world.bulk.results(again)} == {"invited"}
    await world.bulk.report(first)
    another = await done(world, asked)
    assert another.batch_id != first.batch_id
    assert {each.result for each in await world.bulk.results(another)} == {"already_invited"}
    await all_out(world, another)
    assert set(told(world).values()) == {1}


async def test_a_batch_id_always_names_the_same_batch(world: World) -> None:
    name = f"spring-{world.account}"
    first = await done(world, a_crowd(2), name)
    await world.bulk.report(first)
    assert await done(world, a_crowd(2), name) == first
    other = world.bulk.submit(world.account, a_crowd(3), ADMIN, batch_id=name)
    assert await refusal_of(other) == "conflict"
    by_another = world.bulk.submit(world.account, a_crowd(2), OWNER, batch_id=name)
    assert await refusal_of(by_another) == "conflict"


async def test_rows_refused_before_the_batch_stay_refused(world: World) -> None:
    bad = BatchRow(
        position=1, person=Person(email="?"), refused={"code": "invalid_input", "message": "row 3"}
    )
    found = await results(world, [*rows(JANE), bad])
    assert [each.result for each in found] == ["invited", "refused"]
    assert found[1].error == bad.refused


async def test_history_stays_short_and_progress_can_be_queried(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REM-3: a run has a hundred slices, then it continues as new."""
    monkeypatch.setattr(bulk, "ROWS_PER_ACTIVITY", 4)
    monkeypatch.setattr(bulk, "CHUNK_SIZE", 2)
    monkeypatch.setattr(bulk_invite, "SLICES_PER_RUN", 2)
    batch = await done(world, a_crowd(22))
    handle = world.temporal.client.get_workflow_handle_for(BatchWorkflow.run, batch.workflow_id)
    assert await handle.result() == BatchProgress(total=22, invited=22)
    assert await handle.query(BatchWorkflow.progress) == BatchProgress(total=22, invited=22)
    history = await handle.fetch_history()
    assert len(history.events) < 20
    await all_out(world, batch)
    assert len(told(world)) == 22


async def test_without_a_worker_the_command_gives_up_and_the_batch_continues(
    world_without_worker: World,
) -> None:
    world = world_without_worker
    asked = a_crowd(3)
    batch = await world.bulk.submit(world.account, asked, ADMIN)
    with pytest.raises(Unavailable) as waited:
        await world.bulk.wait_until_finished(batch, nobody)
    assert waited.value.outcome_unknown
    assert batch.batch_id in waited.value.message
    assert await world.bulk.results(batch) == []
    async with world.working():
        assert await done(world.patient(), asked) == batch
        await all_out(world, batch)
    assert set(told(world).values()) == {1}


async def test_a_worker_killed_between_claim_and_result_duplicates_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REM-3: the next worker recognizes the claims and the runs of the killed one."""
    asked = a_crowd(6)
    keep, failures = world.store.batches.keep, iter([True, True])

    async def forgetful(batch_id: str, outcomes: object) -> None:
        if next(failures, False):
            raise Unavailable("The database does not answer: gone")
        await keep(batch_id, outcomes)  # type: ignore[arg-type]

    monkeypatch.setattr(world.store.batches, "keep", forgetful)
    batch = await done(world, asked)
    assert {each.result for each in await world.bulk.results(batch)} == {"invited"}
    await all_out(world, batch)
    assert set(told(world).values()) == {1}
    assert await world.audit() == ()


async def test_a_transient_database_error_is_retried_and_refuses_no_row(
    patient_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REM-3: the row waits for an earlier claim; then the record of its start fails once."""
    world = patient_world
    bind, failures = world.store.invitations.bind, iter([True])

    async def forgetful(invitation_id: str, run_id: str) -> None:
        if next(failures, False):
            raise Unavailable("The database does not answer: gone")
        await bind(invitation_id, run_id)

    await a_claim(world)
    monkeypatch.setattr(world.store.invitations, "bind", forgetful)
    async with world.working(abandoned_after=timedelta(seconds=1)):
        [result] = await results(world, rows(JANE))
    assert result.result == "invited"
    assert next(failures, None) is None
    assert await world.audit() == ()


async def test_a_claim_in_use_is_not_recovered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INV-15: recovery releases only claims that are still unused."""
    client, invitations = world.temporal.client, world.store.invitations
    start = client.start_workflow

    async def unwilling(*args: object, **kwargs: object) -> object:
        if kwargs["id"] != f"bulk-invite/{name}":
            raise Unavailable("Temporal does not answer.")
        return await start(*args, **kwargs)  # type: ignore[call-overload]

    name = f"swept-{world.account}"
    monkeypatch.setattr(client, "start_workflow", unwilling)
    batch = await world.bulk.submit(world.account, a_crowd(2), ADMIN, batch_id=name)
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while await invitations.latest(world.account, "person0@example.com") is None:
            await asyncio.sleep(0.05)
    starter = world.clients.invitation_starter
    await replace(starter, abandoned_after=timedelta(seconds=-60)).recover_claims()
    monkeypatch.setattr(client, "start_workflow", start)
    await world.bulk.wait_until_finished(batch, nobody)
    assert {each.result for each in await world.bulk.results(batch)} == {"invited"}
    await all_out(world, batch)
    assert set(told(world).values()) == {1}


async def test_a_killed_worker_and_a_killed_command_lose_nothing(
    world_without_worker: World,
) -> None:
    """REM-3: every row is invited once, has its result, and gets one e-mail."""
    world = world_without_worker.patient()
    asked = a_crowd(CROWD)
    async with a_worker(world) as worker:
        command = asyncio.create_task(done(world, asked))
        while len(told(world)) < 40:
            await asyncio.sleep(0.05)
        command.cancel()
        await killed(worker)
    async with a_worker(world):
        batch = await done(world, asked)
        found = await world.bulk.results(batch)
        await all_out(world, batch)
    assert [each.email for each in found] == [row.person.email for row in asked]
    assert {each.result for each in found} == {"invited"}
    assert len(told(world)) == CROWD
    # A letter taken just as the worker was killed is sent again with the same message id.
    letters = [letter.message for letter in world.smtp.received]
    assert len({letter["Message-ID"] for letter in letters}) == CROWD
    assert len(letters) <= CROWD + world.settings.mails_at_once
    assert await world.audit() == ()
