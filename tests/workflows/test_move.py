"""Tests of the Move workflow: failed items are moved again (TRF-1)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio.client import WorkflowHandle
from temporalio.worker import Worker

from activities.move import (
    ContentServices,
    DataMoved,
    ItemMoved,
    MoveActivities,
    MoveData,
    MoveItem,
    RetryMove,
)
from adapters.sql.content import SqlContent
from domain.manifest import Item, ItemStatus, ManifestItem, failed_items
from runtime.wiring import workflow_runner
from tests.builders.account import ACME, account, directory, user
from tests.builders.invitation import StoreScenario
from tests.eventually import eventually
from tests.world import JANE, World
from workflows.move import MoveWorkflow

THEIRS = {
    "recordings": 3,
    "contacts": 12,
    "meetings": [{"id": "801", "topic": "Standup", "starts_at": "2026-05-01T09:00:00Z"}],
}


@dataclass
class FailingServices:
    """The built-in services; recordings fail in the first `tries`."""

    services: ContentServices
    tries: int
    tried: list[Item] = field(default_factory=list)
    recording: asyncio.Event = field(default_factory=asyncio.Event)

    async def move(self, request: MoveItem) -> ItemMoved:
        self.tried.append(request.item)
        if request.item is Item.RECORDINGS:
            self.recording.set()
            if self.tried.count(Item.RECORDINGS) <= self.tries:
                raise ConnectionError("down")
        return await self.services.move(request)


class HangingServices(FailingServices):
    """The built-in services; recordings hang in the first `tries`."""

    async def move(self, request: MoveItem) -> ItemMoved:
        try:
            return await super().move(request)
        except ConnectionError:
            await asyncio.Event().wait()
            raise


@asynccontextmanager
async def move_worker(world: World, services: ContentServices) -> AsyncIterator[Worker]:
    """Run a worker for moves with `services` during the body."""
    activities = MoveActivities(store=world.store.invitations, services=services)
    async with Worker(
        world.temporal.client,
        task_queue=f"{world.settings.task_queue}-move",
        workflows=[MoveWorkflow],
        activities=[activities.move_data, activities.fail_items],
        workflow_runner=workflow_runner(),
        max_heartbeat_throttle_interval=timedelta(milliseconds=100),
    ) as worker:
        yield worker


async def a_move(world: World) -> MoveData:
    """Return the move of Jane's data to Acme; the recordings have failed."""
    scenario = StoreScenario(world.store.engine, world.store)
    target = {**ACME, "vanity_url": "acme"}
    await scenario.store.directory.import_(
        directory(target, account("solo", user(JANE, "owner", **THEIRS)))
    )
    invite = scenario.new_invite(JANE)
    await scenario.send_and_accept(invite)
    failed = ManifestItem(item=Item.RECORDINGS, count=3, status=ItemStatus.FAILED)
    kept = await scenario.store.invitations.record_item(invite.invitation_id, failed)
    return MoveData(
        invitation_id=invite.invitation_id,
        account=invite.account,
        email=JANE,
        items=tuple(item for item in kept.manifest if item.status is not ItemStatus.MOVED),
        at=kept.journal[-1].at,
    )


async def started(world: World, request: MoveData) -> WorkflowHandle[MoveWorkflow, DataMoved]:
    return await world.temporal.client.start_workflow(
        MoveWorkflow.run,
        RetryMove(move=request),
        id=f"move/{request.account}/{request.invitation_id}",
        task_queue=f"{world.settings.task_queue}-move",
    )


def statuses(moved: DataMoved) -> dict[Item, ItemStatus]:
    return {entry.item: entry.status for entry in moved.manifest}


ALL_MOVED = dict.fromkeys(Item, ItemStatus.MOVED)


async def test_failed_items_are_moved_again_in_one_pass(world_without_worker: World) -> None:
    """TRF-1: an item that fails again stays failed and stops no other."""
    world = world_without_worker
    request = await a_move(world)
    services = FailingServices(SqlContent(world.store.engine, "meet.example"), tries=1)
    async with move_worker(world, services):
        first = await (await started(world, request)).result()
        assert statuses(first) == {**ALL_MOVED, Item.RECORDINGS: ItemStatus.FAILED}
        again = request.model_copy(update={"items": failed_items(first.manifest)})
        handle = await started(world, again)
        assert statuses(await handle.result()) == ALL_MOVED
    assert services.tried.count(Item.RECORDINGS) == 2
    assert services.tried.count(Item.MEETINGS) == 1
    [joined] = (await world.export(request.account)).accounts
    jane = joined.user(JANE)
    assert jane
    assert [meeting.join_url for meeting in jane.meetings] == ["https://acme.meet.example/j/801"]


async def test_heartbeats_show_the_progress_in_temporal(world_without_worker: World) -> None:
    """TRF-1: also while it runs; a stopped worker passes on the moved items."""
    world = world_without_worker
    request = await a_move(world)
    services = HangingServices(SqlContent(world.store.engine, "meet.example"), tries=1)
    async with move_worker(world, services):
        handle = await started(world, request)
        await asyncio.wait_for(services.recording.wait(), 20)
        items = await eventually(
            lambda: heartbeat(handle), lambda items: items.get("meetings") == "moved"
        )
        assert (items["recordings"], items["contacts"]) == ("running", "pending")
    async with move_worker(world, services):
        assert statuses(await handle.result()) == ALL_MOVED
    assert services.tried.count(Item.RECORDINGS) == 2


async def test_a_cancelled_move_leaves_its_items_failed(world_without_worker: World) -> None:
    """OPS-10, TRF-1: the other items stay moved, and a retry moves the failed ones."""
    world = world_without_worker
    request = await a_move(world)
    services = HangingServices(SqlContent(world.store.engine, "meet.example"), tries=1)
    async with move_worker(world, services):
        handle = await started(world, request)
        await asyncio.wait_for(services.recording.wait(), 20)
        running = await world.store.invitations.end_move(request.invitation_id)
        assert failed_items(running), "a termination would leave it so"
        await handle.cancel()
        cancelled = await handle.result()
        kept = await world.store.invitations.end_move(request.invitation_id)
        assert cancelled.manifest == kept
        assert statuses(cancelled)[Item.RECORDINGS] is ItemStatus.FAILED
        assert not any(item.unfinished for item in kept)
        again = request.model_copy(update={"items": failed_items(kept)})
        assert statuses(await (await started(world, again)).result()) == ALL_MOVED


async def heartbeat(handle: WorkflowHandle[MoveWorkflow, DataMoved]) -> dict[str, str]:
    """Return the last heartbeat details of the pending activity."""
    description = await handle.describe()
    for pending in description.raw_description.pending_activities:
        found = await description.data_converter.decode(pending.heartbeat_details.payloads)
        if found:
            return dict(found[0])
    return {}
