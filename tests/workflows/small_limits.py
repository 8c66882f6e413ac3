"""Workers with smaller limits than the product's: short runs, small slices."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from statemachine.exceptions import TransitionNotAllowed
from temporalio import workflow
from temporalio.worker import Worker

from activities.batch import CHUNK_SIZE, BatchActivities
from clients.batch import BatchInviter
from domain.assignment import Assignment, StartAssignment
from domain.batch import BatchProgress, StartBatch
from domain.error import Refused
from domain.invitation import Invitation, StartInvitation
from runtime.sandbox import HeaderInterceptor
from runtime.wiring import WORKFLOWS, background_task, relay_of, worker_for, workflow_runner
from tests.world import World
from workflows.assignment import AssignmentWorkflow
from workflows.batch import BatchWorkflow
from workflows.invitation import InvitationWorkflow


@workflow.defn(
    name="Invitation",
    failure_exception_types=[Refused, TransitionNotAllowed],
    sandboxed=False,
)
class InvitationWithShortRuns(InvitationWorkflow):
    """The workflow of an invitation with three updates in each run."""

    updates_per_run = 3

    @workflow.init
    def __init__(self, start: StartInvitation) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: StartInvitation) -> Invitation:
        return await super().run(start)


@workflow.defn(
    name="AddonAssignment",
    failure_exception_types=[Refused, TransitionNotAllowed],
    sandboxed=False,
)
class AssignmentWithShortRuns(AssignmentWorkflow):
    """The workflow of an assignment with two refreshes in each run."""

    refreshes_per_run = 2

    @workflow.init
    def __init__(self, start: StartAssignment) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: StartAssignment) -> Assignment:
        return await super().run(start)


@workflow.defn(name="BulkInvite", sandboxed=False)
class BatchWithShortRuns(BatchWorkflow):
    """The workflow of a batch with two slices in each run."""

    slices_per_run = 2

    @workflow.init
    def __init__(self, start: StartBatch) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: StartBatch) -> BatchProgress:
        return await super().run(start)


_WITH_SHORT_RUNS: dict[type, type] = {
    InvitationWorkflow: InvitationWithShortRuns,
    AssignmentWorkflow: AssignmentWithShortRuns,
    BatchWorkflow: BatchWithShortRuns,
}


@asynccontextmanager
async def worker_with_short_runs(world: World) -> AsyncIterator[None]:
    """Run a worker with its relay; its workflows continue as new after a few steps."""
    client = world.temporal.client
    workflows = [_WITH_SHORT_RUNS.get(each, each) for each in WORKFLOWS]
    worker = worker_for(client, world.settings, world.store, workflows=workflows)
    relay = replace(relay_of(client, world.settings, world.store), sweeps=())
    async with worker, background_task(relay.relay_forever()):
        yield


@asynccontextmanager
async def worker_with_small_slices(
    world: World,
    *,
    slice_size: int,
    chunk_size: int = CHUNK_SIZE,
    workflow: type = BatchWorkflow,
) -> AsyncIterator[World]:
    """Run a worker for batches; yield the world whose batches it runs.

    It has its own task queue; the invitations run on the world's worker.
    """
    queue = f"{world.settings.task_queue}-batches"
    settings = world.clients.settings.model_copy(update={"task_queue": queue})
    activities = BatchActivities(
        store=world.store.batches,
        inviter=BatchInviter(world.clients.invitation_starter, world.store.batches),
        slice_size=slice_size,
        chunk_size=chunk_size,
    )
    worker = Worker(
        world.temporal.client,
        task_queue=queue,
        workflows=[workflow],
        activities=[activities.invite_slice],
        interceptors=[HeaderInterceptor()],
        workflow_runner=workflow_runner(),
    )
    async with worker:
        yield replace(world, clients=replace(world.clients, settings=settings))
