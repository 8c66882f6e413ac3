"""The operators' list: the cases that only Temporal knows (OPS-5)."""

import asyncio
import os
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from domain.attention import AttentionCase, Problem
from domain.batch import BatchRow
from domain.error import Unavailable
from domain.invitation import InvitationState, Person
from runtime.attention import RECOVERED_WITHIN, Attention
from runtime.clients import Clients
from runtime.codec import data_converter
from tests.eventually import eventually
from tests.world import ADMIN, JANE, World
from workflows.search_attribute import ACCOUNT_ID


@workflow.defn(name="Broken")
class BrokenWorkflow:
    """A workflow with a defect."""

    @workflow.run
    async def run(self) -> None:
        raise RuntimeError("jane@example.com is unexpected")


@workflow.defn(name="Broken")
class CorrectedWorkflow:
    """The same workflow without the defect."""

    @workflow.run
    async def run(self) -> None:
        return


@asynccontextmanager
async def a_worker(world: World, corrected: type) -> AsyncIterator[None]:
    async with Worker(
        encrypted(world.temporal.client),
        task_queue=world.settings.task_queue,
        workflows=[corrected],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield


def encrypted(client: Client) -> Client:
    """Return the client with an encryption key."""
    config = client.config()
    config["data_converter"] = data_converter({"one": bytes(32)}, "default")
    return Client(**config)


async def listed(
    world: World, recovered_within: timedelta = RECOVERED_WITHIN
) -> list[AttentionCase]:
    return await Attention(world.clients, recovered_within).cases()


async def test_a_workflow_whose_task_fails_is_listed_until_it_continues(
    world_without_worker: World,
) -> None:
    """OPS-5: the case has the time of the first failure, and a command that shows it."""
    world, began = world_without_worker, datetime.now(UTC)
    client = encrypted(world.temporal.client)
    async with a_worker(world, BrokenWorkflow):
        stuck = await client.start_workflow(
            "Broken",
            id=f"broken/{world.account}",
            task_queue=world.settings.task_queue,
            search_attributes=TypedSearchAttributes(
                [SearchAttributePair(ACCOUNT_ID, world.account)]
            ),
        )
        [without_key] = await eventually(lambda: listed(world))
    assert "encrypted with the key 'one'" in without_key.message
    clients = Clients.connected(world.settings, world.store, client)
    [case] = await Attention(clients).cases()
    assert (case.kind, case.id, case.account) == ("workflow_task_failing", stuck.id, world.account)
    assert began <= case.since <= began + timedelta(seconds=10)
    assert case.message.startswith("Its workflow task fails: RuntimeError: j…@example.com is")
    assert "WorkflowTaskFailed" in await output_of(world, case.remedy)
    async with a_worker(world, CorrectedWorkflow):
        await stuck.result()
        assert await eventually(lambda: listed(world), until=lambda cases: not cases) == []


async def test_an_ended_workflow_is_listed_until_its_record_ends(
    world: World,
) -> None:
    """OPS-5: not before recovery had the time to restart it."""
    pending = await world.pending(JANE)
    client = world.temporal.client
    await client.get_workflow_handle(pending.workflow_id).terminate("by hand")
    now = timedelta()
    [case] = await eventually(lambda: listed(world, recovered_within=now))
    assert (case.kind, case.id) == ("workflow_ended", pending.workflow_id)
    assert (case.account, case.remedy) == (world.account, "python worker.py")
    assert "terminated" in case.message
    assert await listed(world) == []
    await world.recover(pending.workflow_id)
    assert (await world.stored(JANE)).state is InvitationState.REVOKED
    assert await listed(world, recovered_within=now) == []


async def test_an_ended_batch_is_listed_with_the_command_that_continues_it(
    world_without_worker: World,
) -> None:
    """OPS-5, REM-3: a row without a result waits for a person."""
    world = world_without_worker
    name = f"spring-{world.account}"
    rows = [BatchRow(position=0, person=Person(email=JANE))]
    batch = await world.bulk.submit(world.account, rows, ADMIN, batch_id=name)
    handle = world.temporal.client.get_workflow_handle(batch.workflow_id)
    await handle.terminate("by hand")
    [case] = await eventually(lambda: listed(world, recovered_within=timedelta()))
    assert (case.kind, case.id) == ("workflow_ended", f"bulk-invite/{name}")
    assert case.remedy == f"seatflow invite {world.account} --file FILE --batch {name} --by ADMIN"
    async with world.working():
        await world.bulk.submit(world.account, rows, ADMIN, batch_id=name)
        await world.patient().bulk.wait_until_finished(batch, lambda done, total: None)
    assert await listed(world, recovered_within=timedelta()) == []


async def test_a_restart_that_was_given_up_is_listed_once(world_without_worker: World) -> None:
    """OPS-1, OPS-5: the row is listed, with the command that repeats it."""
    world = world_without_worker.patient()
    async with world.working():
        pending = await world.pending(JANE)
    outbox = world.store.outbox
    await world.temporal.client.get_workflow_handle(pending.workflow_id).terminate("by hand")
    await outbox.add_starts([pending.workflow_id], after=timedelta())
    [row] = [row for row in await outbox.listed() if row.workflow_id == pending.workflow_id]
    [case] = await eventually(lambda: listed(world, recovered_within=timedelta()))
    assert (case.kind, case.remedy) == ("workflow_ended", f"seatflow outbox retry {row.number}")
    [row] = [each for each in await outbox.lease(9, timedelta()) if each.number == row.number]
    await outbox.give_up(row, "It failed soon after its start.")
    [case] = await listed(world, recovered_within=timedelta())
    assert (case.kind, case.id) == ("follow_up_failing", str(row.number))
    assert case.remedy == f"seatflow outbox retry {row.number}"


async def test_an_activity_that_fails_for_an_hour_is_listed_until_it_succeeds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPS-5: the remedy retries it at once."""
    monkeypatch.setattr("activities.letter.retry_delay", lambda *attempt: timedelta(minutes=61))
    world.smtp.answers["RCPT"] = "452 try <jane@example.com> later"
    began = datetime.now(UTC)
    await world.invite(JANE)
    invitation = await world.until(JANE, "sent")
    assert await listed(world) == []
    await world.clock.pass_time(invitation.workflow_id, timedelta(minutes=62))
    [case] = await eventually(lambda: listed(world))
    assert (case.kind, case.id) == ("activity_failing", invitation.workflow_id)
    assert case.account == world.account
    assert began - timedelta(seconds=1) <= case.since <= began + timedelta(minutes=1)
    assert "an hour: deliver_invitation: " in case.message
    assert "452" in case.message
    assert JANE not in case.message
    world.smtp.answers.clear()
    await output_of(world, case.remedy)
    await world.until(JANE, "pending")
    assert await eventually(lambda: listed(world), until=lambda cases: not cases) == []
    assert await world.store.problems.open() == []


async def test_an_activity_that_succeeds_is_no_longer_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPS-5: the attempt that succeeds deletes its row."""
    monkeypatch.setattr("activities.letter.retry_delay", lambda *attempt: timedelta(minutes=61))
    world.smtp.answers["RCPT"] = "452 try later"
    await world.invite(JANE)
    invitation = await world.until(JANE, "sent")
    await world.clock.pass_time(invitation.workflow_id, timedelta(minutes=62))
    await eventually(world.store.problems.open)
    world.smtp.answers.clear()
    await world.clock.pass_time(invitation.workflow_id, timedelta(minutes=62))
    await world.until(JANE, "pending")
    assert await eventually(world.store.problems.open, until=lambda open: not open) == []


async def test_a_failing_activity_of_an_ended_workflow_is_not_listed(world: World) -> None:
    """OPS-5: Temporal is asked if the activity is still tried."""
    world.smtp.answers["RCPT"] = "452 try later"
    await world.invite(JANE)
    invitation = await world.until(JANE, "sent")
    handle = world.temporal.client.get_workflow_handle(invitation.workflow_id)
    run_id = (await handle.describe()).run_id
    failing = Problem(
        key=f"{invitation.workflow_id}/{run_id}/1", since=datetime.now(UTC), message="452"
    )
    await world.store.problems.report(failing)
    assert [case.kind for case in await listed(world)] == ["activity_failing"]
    await handle.terminate("by hand")
    assert await eventually(lambda: listed(world), until=lambda cases: not cases) == []
    assert await world.store.problems.open() == []


async def test_without_temporal_one_case_says_so(world_without_worker: World) -> None:
    """OPS-5: the cases of the store are listed nevertheless."""
    world = world_without_worker
    await world.imported("gone", plan="pro", state="closed", credit="9.00")

    async def connect() -> Client:
        raise Unavailable("Temporal is not reachable at 127.0.0.1:1.")

    cases = await Attention(Clients(world.settings, world.store, connect)).cases()
    assert [case.kind for case in cases] == ["credit_left_behind", "temporal_unreachable"]
    assert "127.0.0.1:1" in cases[-1].message


async def test_many_cases_of_a_kind_are_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPS-5: thousands of workflows that were ended do not delay the list."""
    monkeypatch.setattr("runtime.attention.MAX_LISTED", 1)
    invitations = [await world.pending(email) for email in (JANE, "bob@example.com")]
    for invitation in invitations:
        handle = world.temporal.client.get_workflow_handle(invitation.workflow_id)
        await handle.terminate("by hand")
    cases = await eventually(
        lambda: listed(world, recovered_within=timedelta()), until=lambda cases: len(cases) == 2
    )
    assert cases[-1].message == "Not listed: 1 more of this kind."
    assert "Terminated" in await output_of(world, cases[-1].remedy)


async def output_of(world: World, remedy: str) -> str:
    """Run a remedy of Temporal's CLI as an operator types it; return its output."""
    program, *arguments = shlex.split(remedy)
    assert program == "temporal"
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name(program)),
        *arguments,
        env=os.environ
        | {"TEMPORAL_ADDRESS": world.temporal.client.service_client.config.target_host},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()
