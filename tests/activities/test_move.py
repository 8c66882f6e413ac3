"""Tests of the move activity: retries until every item has moved or failed."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.move import (
    ITEM_TIMEOUT,
    DataMoved,
    FailItems,
    ItemMoved,
    MoveActivities,
    MoveData,
    MoveItem,
    UnmovableItem,
)
from domain.account import User
from domain.invitation import Invitation, InvitationState, License
from domain.manifest import (
    Item,
    ItemStatus,
    Manifest,
    ManifestItem,
    failed,
    initial_manifest,
    unfinished_items,
    with_item,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SERVER_NOON = datetime(2026, 7, 1, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
HEARTBEAT_INTERVAL = timedelta(milliseconds=10)
MANIFEST = initial_manifest(
    User.model_validate(
        {
            "email": "ann@example.com",
            "role": "owner",
            "recordings": 3,
            "contacts": 12,
            "settings": {"theme": "dark"},
        }
    )
)
"""Recordings, contacts and settings are pending; the other items are empty."""


@dataclass
class FakeManifestStore:
    """A `ManifestStore` of one invitation."""

    kept: Manifest = MANIFEST
    written: list[tuple[Item, ItemStatus]] = field(default_factory=list)

    async def record_item(self, invitation_id: str, item: ManifestItem) -> Invitation:
        self.written.append((item.item, item.status))
        self.kept = with_item(self.kept, item)
        return Invitation(
            workflow_id="invitation/acme/key",
            run_id="run",
            account="acme",
            email="ann@example.com",
            state=InvitationState.COMPLETED,
            license=License.BASIC,
            invited_by="adam@acme.example",
            manifest=self.kept,
            with_errors=failed(self.kept),
        )

    async def end_move(self, invitation_id: str) -> Manifest:
        return self.kept


@dataclass
class FakeServices:
    """`ContentServices` that fail for a while, with a clock."""

    down_until: Mapping[Item, datetime] = field(default_factory=dict)
    never: frozenset[Item] = frozenset()
    now: datetime = NOON
    moved: dict[Item, ItemMoved] = field(default_factory=dict)
    tried: list[Item] = field(default_factory=list)

    async def move(self, request: MoveItem) -> ItemMoved:
        self.tried.append(request.item)
        if request.item in self.never:
            raise UnmovableItem("ann@example.com is unknown here")
        if self.now < self.down_until.get(request.item, NOON):
            raise ConnectionError("ann@example.com: try again later")
        changed = int(request.item is Item.SETTINGS)
        return self.moved.setdefault(request.item, ItemMoved(count=5, changed=changed))


@dataclass
class MoveRun:
    """A move with the retries that Temporal would make."""

    services: FakeServices = field(default_factory=FakeServices)
    store: FakeManifestStore = field(default_factory=FakeManifestStore)
    delays: list[timedelta] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    heartbeats: list[dict[str, str]] = field(default_factory=list)
    waited: timedelta = timedelta()
    item_timeout: timedelta = ITEM_TIMEOUT

    async def attempt(self, request: MoveData) -> DataMoved:
        environment = ActivityEnvironment()
        environment.on_heartbeat = lambda *details: self.heartbeats.append(details[0])
        environment.info = replace(
            environment.info,
            attempt=len(self.delays) + 1,
            scheduled_time=SERVER_NOON,
            started_time=SERVER_NOON + self.waited,
            heartbeat_details=self.heartbeats[-1:],
        )
        self.services.now = request.at + self.waited
        activities = MoveActivities(
            store=self.store,
            services=self.services,
            item_timeout=self.item_timeout,
            heartbeat_interval=HEARTBEAT_INTERVAL,
        )
        return await environment.run(activities.move_data, request)

    async def run(self, give_up_at: datetime | None = NOON + DAY) -> dict[Item, ItemStatus]:
        """Return the final status of each item."""
        request = a_request(give_up_at)
        while True:
            try:
                moved = await self.attempt(request)
            except ApplicationError as failure:
                assert failure.next_retry_delay
                self.errors.append(failure.message)
                self.delays.append(failure.next_retry_delay)
                self.waited += failure.next_retry_delay
                continue
            assert moved.manifest == self.store.kept
            return {entry.item: entry.status for entry in moved.manifest}


def a_request(give_up_at: datetime | None = NOON + DAY, **more: Any) -> MoveData:
    return MoveData(
        invitation_id="i-1",
        account="acme",
        email="ann@example.com",
        items=unfinished_items(MANIFEST),
        at=NOON,
        give_up_at=give_up_at,
        **more,
    )


ALL_MOVED = dict.fromkeys(Item, ItemStatus.MOVED)


async def test_all_items_move_in_one_pass() -> None:
    """TRF-1: each item is running, then moved, with its result."""
    move = MoveRun()
    assert await move.run() == ALL_MOVED
    assert move.store.written == [
        (item, status)
        for item in (Item.RECORDINGS, Item.CONTACTS, Item.SETTINGS)
        for status in (ItemStatus.RUNNING, ItemStatus.MOVED)
    ]
    settings = move.store.kept[-1]
    assert (settings.count, settings.changed) == (5, 1)


async def test_a_service_that_is_down_for_an_hour_stops_none_of_the_others() -> None:
    """TRF-1: retried at growing intervals until it works."""
    move = MoveRun(FakeServices(down_until={Item.RECORDINGS: NOON + HOUR}))
    assert await move.run() == ALL_MOVED
    assert move.services.tried[:3] == [Item.RECORDINGS, Item.CONTACTS, Item.SETTINGS]
    assert set(move.services.tried[3:]) == {Item.RECORDINGS}
    assert move.delays[:4] == [timedelta(seconds=2**n) for n in (1, 2, 3, 4)]
    assert timedelta(minutes=10) < max(move.delays) <= timedelta(minutes=15)
    assert HOUR <= move.waited < HOUR + timedelta(minutes=15)
    assert set(move.errors) == {"Not moved yet: recordings"}


async def test_an_unmovable_item_fails_at_once() -> None:
    """TRF-1: it is not requested again while the others are retried."""
    services = FakeServices(
        down_until={Item.CONTACTS: NOON + HOUR}, never=frozenset({Item.RECORDINGS})
    )
    move = MoveRun(services)
    assert await move.run() == {**ALL_MOVED, Item.RECORDINGS: ItemStatus.FAILED}
    assert services.tried.count(Item.RECORDINGS) == 1
    assert services.tried.count(Item.CONTACTS) > 10


async def test_an_item_that_keeps_failing_fails_at_the_limit() -> None:
    """TRF-1: tried once more at the limit, in workflow time."""
    move = MoveRun(FakeServices(down_until={Item.RECORDINGS: NOON + 2 * DAY}))
    assert await move.run(NOON + DAY) == {**ALL_MOVED, Item.RECORDINGS: ItemStatus.FAILED}
    assert move.waited == DAY


async def test_without_a_limit_each_item_is_tried_once_and_stays_pending() -> None:
    """TRF-1: the item may be moved later."""
    services = FakeServices(
        down_until={Item.CONTACTS: NOON + HOUR}, never=frozenset({Item.RECORDINGS})
    )
    move = MoveRun(services)
    assert await move.run(give_up_at=None) == {
        **ALL_MOVED,
        Item.CONTACTS: ItemStatus.PENDING,
        Item.RECORDINGS: ItemStatus.FAILED,
    }
    assert move.delays == []


async def test_a_retry_after_a_crash_continues_from_the_stored_items() -> None:
    """TRF-1: a moved item is not requested again, although the input still has it."""
    contacts = ManifestItem(item=Item.CONTACTS, count=11, status=ItemStatus.MOVED)
    move = MoveRun(store=FakeManifestStore(with_item(MANIFEST, contacts)))
    assert await move.run() == ALL_MOVED
    assert Item.CONTACTS not in move.services.tried
    assert contacts in move.store.kept


async def test_heartbeats_have_the_status_of_each_item() -> None:
    """TRF-1: for Temporal's UI."""
    move = MoveRun(FakeServices(never=frozenset({Item.RECORDINGS})))
    await move.run()
    assert move.heartbeats[0] == {
        "recordings": "running",
        "contacts": "pending",
        "settings": "pending",
    }
    assert move.heartbeats[-1] == {
        "recordings": "failed",
        "contacts": "moved",
        "settings": "moved",
    }


async def test_an_item_that_interrupted_an_attempt_is_tried_last() -> None:
    """TRF-1: an item that ends the worker each time delays none of the others."""
    move = MoveRun(heartbeats=[{"recordings": "running", "contacts": "pending"}])
    assert await move.run() == ALL_MOVED
    assert move.services.tried == [Item.CONTACTS, Item.SETTINGS, Item.RECORDINGS]


async def test_items_without_a_result_are_failed_unless_they_have_moved() -> None:
    """TRF-1: an attempt may have moved some before its activity ended."""
    contacts = ManifestItem(item=Item.CONTACTS, count=11, status=ItemStatus.MOVED)
    move = MoveRun(store=FakeManifestStore(with_item(MANIFEST, contacts)))
    activities = MoveActivities(store=move.store, services=move.services)
    failed_items = await ActivityEnvironment().run(
        activities.fail_items,
        FailItems(invitation_id="i-1", items=unfinished_items(MANIFEST)),
    )
    assert failed_items.manifest == move.store.kept
    assert {entry.item: entry.status for entry in move.store.kept} == {
        **ALL_MOVED,
        Item.RECORDINGS: ItemStatus.FAILED,
        Item.SETTINGS: ItemStatus.FAILED,
    }


async def test_a_service_that_hangs_is_cancelled_while_heartbeats_continue() -> None:
    """TRF-1: a worker without heartbeats counts as dead, and no item waits for another forever."""

    class HangingServices(FakeServices):
        async def move(self, request: MoveItem) -> ItemMoved:
            if request.item is Item.RECORDINGS:
                await asyncio.Event().wait()
            return await super().move(request)

    move = MoveRun(HangingServices(), item_timeout=timedelta(milliseconds=100))
    statuses = await move.run(give_up_at=NOON)
    assert statuses == {**ALL_MOVED, Item.RECORDINGS: ItemStatus.FAILED}
    running = [each for each in move.heartbeats if each["recordings"] == "running"]
    assert len(running) > 3


async def test_no_address_appears_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """PRI: services may name people in their errors."""
    services = FakeServices(
        down_until={Item.CONTACTS: NOON + HOUR}, never=frozenset({Item.RECORDINGS})
    )
    await MoveRun(services).run(give_up_at=None)
    messages = [each.getMessage() for each in caplog.records if "i-1" in each.getMessage()]
    assert len(messages) == 2
    assert not any("ann@example.com" in message for message in messages)
