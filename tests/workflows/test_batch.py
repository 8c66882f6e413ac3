"""Tests of the BulkInvite workflow: each person is invited once, in spite of crashes (REM-3)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.batch import CHUNK_SIZE, CONCURRENT_CHUNKS
from domain.batch import Batch, BatchProgress, BatchRow
from domain.error import Unavailable
from domain.invitation import InviteResult, License, Person
from domain.journal import OPERATOR
from domain.remedy import Removal
from tests.database import Databases
from tests.eventually import TIMEOUT, eventually
from tests.runtime.test_recovery import a_claim
from tests.test_worker import a_worker, killed
from tests.workflows.small_limits import BatchWithShortRuns, worker_with_small_slices
from tests.world import ADMIN, JANE, MEMBER, OWNER, World, a_world, refusal_of
from workflows.batch import BatchWorkflow

ROW_COUNT = 2 * CONCURRENT_CHUNKS * CHUNK_SIZE
"""Twice the number of rows that are invited at the same time."""


@pytest.fixture
async def patient_world(
    temporal: WorkflowEnvironment, set_up_databases: Databases
) -> AsyncIterator[World]:
    """Build a world without a worker; a worker waits for an earlier claim to be abandoned."""
    async with a_world(temporal, set_up_databases, working=False, wait_seconds=60) as world:
        yield world


def ignore_progress(done: int, total: int) -> None:
    """Return without printing the progress."""


def many_rows(count: int, license: License = License.BASIC) -> list[BatchRow]:
    return rows(*(f"person{number}@example.com" for number in range(count)), license=license)


def rows(*emails: str, license: License = License.BASIC) -> list[BatchRow]:
    return [
        BatchRow(position=position, person=Person(email=email, license=license))
        for position, email in enumerate(emails)
    ]


async def finished(
    world: World, requested: Sequence[BatchRow], batch_id: str | None = None
) -> Batch:
    batch = await world.bulk.submit(world.account, requested, ADMIN, batch_id=batch_id)
    await world.bulk.wait_until_finished(batch, ignore_progress)
    return batch


async def results(world: World, requested: Sequence[BatchRow]) -> list[InviteResult]:
    return await world.bulk.results(await finished(world, requested))


async def until_sent(world: World, batch: Batch) -> None:
    await eventually(
        lambda: world.store.batches.unsent_count(batch.batch_id),
        lambda unsent: unsent == 0,
        within=2 * TIMEOUT,
    )


def invitation_mails(world: World) -> Counter[str]:
    """Count the invitation e-mails of each person."""
    return Counter(mail.to for mail in world.mails(event="invitation"))


async def test_each_row_has_its_own_result_in_the_order_requested(world: World) -> None:
    """INV-2: an invalid row does not affect the others."""
    await world.invite(JANE)
    requested = rows("a@example.com", MEMBER, "nobody", JANE, "b@example.com")
    batch = await finished(world, requested)
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
    await until_sent(world, batch)
    assert invitation_mails(world) == {"a@example.com": 1, JANE: 1, "b@example.com": 1}
    assert found[0].invitation is not None
    assert (found[0].invitation.link or "").startswith(world.settings.public_url)
    assert await world.audit() == ()


async def test_a_row_says_that_the_first_license_is_kept(world: World) -> None:
    """INV-3, INV-15: the live invitation keeps its license, and reserves no seat."""
    await world.pending(JANE)
    batch = await finished(world, rows(JANE, "new@example.com", license=License.LICENSED))
    again, new = await world.bulk.results(batch)
    assert (again.result, new.result, new.note) == ("already_invited", "invited", None)
    assert again.note and again.note.startswith("Invited as basic on ")
    assert await world.free_seats() == 1


async def test_the_first_row_gets_the_seat(world: World) -> None:
    """INV-15: rows are claimed in the order requested."""
    found = await results(world, many_rows(5, License.LICENSED))
    assert [each.result for each in found] == ["invited"] * 2 + ["refused"] * 3
    assert {each.error["code"] for each in found[2:] if each.error} == {"no_seats"}
    assert await world.free_seats() == 0


async def test_an_unauthorized_caller_starts_no_batch(world: World) -> None:
    """INV-1."""
    requested = many_rows(2)
    assert await refusal_of(world.bulk.submit(world.account, requested, MEMBER)) == "not_authorized"
    assert await refusal_of(world.bulk.submit("nowhere", requested, ADMIN)) == "not_found"


async def test_a_repeated_request_without_results_joins_the_same_batch(
    world: World,
) -> None:
    """REM-3: after its results were given, it is another batch."""
    requested = many_rows(3)
    first = await finished(world, requested)
    again = await finished(world, requested)
    assert again == first
    assert {each.result for each in await world.bulk.results(again)} == {"invited"}
    await world.bulk.report(first)
    another = await finished(world, requested)
    assert another.batch_id != first.batch_id
    assert {each.result for each in await world.bulk.results(another)} == {"already_invited"}
    await until_sent(world, another)
    assert set(invitation_mails(world).values()) == {1}


async def test_a_batch_id_always_names_the_same_batch(world: World) -> None:
    """REM-3: another request with it is refused."""
    name = f"spring-{world.account}"
    first = await finished(world, many_rows(2), name)
    await world.bulk.report(first)
    assert await finished(world, many_rows(2), name) == first
    other = world.bulk.submit(world.account, many_rows(3), ADMIN, batch_id=name)
    assert await refusal_of(other) == "conflict"
    by_another = world.bulk.submit(world.account, many_rows(2), OWNER, batch_id=name)
    assert await refusal_of(by_another) == "conflict"


async def test_rows_refused_before_the_batch_stay_refused(world: World) -> None:
    """INV-2, REM-3: one result for each row."""
    bad = BatchRow(
        position=1, person=Person(email="?"), refused={"code": "invalid_input", "message": "row 3"}
    )
    found = await results(world, [*rows(JANE), bad])
    assert [each.result for each in found] == ["invited", "refused"]
    assert found[1].error == bad.refused


async def test_history_stays_short_and_progress_can_be_queried(
    world: World,
) -> None:
    """REM-3: a run has a hundred slices, then it continues as new."""
    async with worker_with_small_slices(
        world, slice_size=4, chunk_size=2, workflow=BatchWithShortRuns
    ) as small_slices:
        batch = await finished(small_slices, many_rows(22))
        handle = world.temporal.client.get_workflow_handle_for(BatchWorkflow.run, batch.workflow_id)
        assert await handle.result() == BatchProgress(total=22, invited=22)
        assert await handle.query(BatchWorkflow.progress) == BatchProgress(total=22, invited=22)
    history = await handle.fetch_history()
    assert len(history.events) < 20
    await until_sent(world, batch)
    assert len(invitation_mails(world)) == 22


async def test_without_a_worker_the_command_gives_up_and_the_batch_continues(
    world_without_worker: World,
) -> None:
    """REM-3: the outcome is unknown; repeating the command resumes the wait."""
    world = world_without_worker
    requested = many_rows(3)
    batch = await world.bulk.submit(world.account, requested, ADMIN)
    with pytest.raises(Unavailable) as waited:
        await world.bulk.wait_until_finished(batch, ignore_progress)
    assert waited.value.outcome_unknown
    assert batch.batch_id in waited.value.message
    assert await world.bulk.results(batch) == []
    async with world.working():
        assert await finished(world.patient(), requested) == batch
        await until_sent(world, batch)
    assert set(invitation_mails(world).values()) == {1}


async def test_a_worker_killed_between_claim_and_result_duplicates_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REM-3: the next worker recognizes the claims and the runs of the killed one."""
    requested = many_rows(6)
    keep, failures = world.store.batches.keep, iter([True, True])

    async def fail_twice(batch_id: str, outcomes: object) -> None:
        if next(failures, False):
            raise Unavailable("The database does not answer: gone")
        await keep(batch_id, outcomes)  # type: ignore[arg-type]

    monkeypatch.setattr(world.store.batches, "keep", fail_twice)
    batch = await finished(world, requested)
    assert {each.result for each in await world.bulk.results(batch)} == {"invited"}
    await until_sent(world, batch)
    assert set(invitation_mails(world).values()) == {1}
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


async def test_the_requester_of_a_running_batch_is_forgotten_once_it_has_finished(
    world_without_worker: World,
) -> None:
    """OPS-9, REM-3: the worker knows the requester, whom the refusals of the rows name."""
    world, people = world_without_worker.patient(), world_without_worker.store.people
    batch = await world.bulk.submit(world.account, rows(JANE), ADMIN)
    await world.remove_user(world.account, ADMIN, Removal.DELETE)
    assert await refusal_of(people.forget(ADMIN, datetime.now(UTC), by=OPERATOR)) == "conflict"
    async with world.working():
        await world.bulk.wait_until_finished(batch, ignore_progress)
    [row] = await world.bulk.results(batch)
    assert row.error and ADMIN in str(row.error["message"])
    await people.forget(ADMIN, datetime.now(UTC), by=OPERATOR)
    assert await refusal_of(people.export(ADMIN)) == "not_found"


async def test_a_claim_in_use_is_not_recovered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INV-15: recovery releases only claims that are still unused."""
    client, invitations = world.temporal.client, world.store.invitations
    start = client.start_workflow

    async def start_all_but_the_batch(*args: object, **kwargs: object) -> object:
        if kwargs["id"] != f"bulk-invite/{name}":
            raise Unavailable("Temporal does not answer.")
        return await start(*args, **kwargs)  # type: ignore[call-overload]

    name = f"recovered-{world.account}"
    monkeypatch.setattr(client, "start_workflow", start_all_but_the_batch)
    batch = await world.bulk.submit(world.account, many_rows(2), ADMIN, batch_id=name)
    await eventually(lambda: invitations.latest(world.account, "person0@example.com"))
    starter = replace(world.clients.invitation_starter, abandoned_after=timedelta(seconds=-60))
    for claim in await invitations.abandoned_claims(datetime.now(UTC) + timedelta(minutes=1)):
        await starter.settle_claim(claim.invitation.workflow_id, claim.invitation_id)
    monkeypatch.setattr(client, "start_workflow", start)
    await world.bulk.wait_until_finished(batch, ignore_progress)
    assert {each.result for each in await world.bulk.results(batch)} == {"invited"}
    await until_sent(world, batch)
    assert set(invitation_mails(world).values()) == {1}


@pytest.mark.full
async def test_a_killed_worker_and_a_killed_command_lose_nothing(
    world_without_worker: World,
) -> None:
    """REM-3: every row is invited once, has its result, and gets one e-mail."""
    world = world_without_worker.patient()
    requested = many_rows(ROW_COUNT)
    async with a_worker(world) as worker:
        command = asyncio.create_task(finished(world, requested))
        await eventually(lambda: len(invitation_mails(world)) >= 40, within=2 * TIMEOUT)
        command.cancel()
        await killed(worker)
    async with a_worker(world):
        batch = await finished(world, requested)
        found = await world.bulk.results(batch)
        await until_sent(world, batch)
    assert [each.email for each in found] == [row.person.email for row in requested]
    assert {each.result for each in found} == {"invited"}
    assert len(invitation_mails(world)) == ROW_COUNT
    # A letter taken just as the worker was killed is sent again with the same message id.
    letters = [letter.message for letter in world.smtp.received]
    assert len({letter["Message-ID"] for letter in letters}) == ROW_COUNT
    assert len(letters) <= ROW_COUNT + world.settings.mails_at_once
    assert await world.audit() == ()
