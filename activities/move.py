"""The side effects of a move: a person's data follows to the joined account (TRF)."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from pydantic import AwareDatetime
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeat import heartbeats
from activities.letter import business_time, retry_delay
from domain.address import mask_all
from domain.invitation import Invitation
from domain.manifest import (
    Item,
    ItemStatus,
    Manifest,
    ManifestItem,
    unfinished,
    with_items,
)
from domain.model import Value

ITEM_TIMEOUT: Final = timedelta(minutes=5)
"""Longest time for one item: a service that hangs must not delay the other items."""

HEARTBEAT_INTERVAL: Final = timedelta(seconds=5)


class MoveData(Value):
    """A request to move items of a person's data."""

    invitation_id: str
    account: str
    """The joined account."""
    email: str
    """The normalized address of the data's owner."""
    items: Manifest
    """The items to move."""
    at: AwareDatetime
    """Workflow time of the request."""
    give_up_at: AwareDatetime | None = None
    """The time until which a failing item is retried; then it is `failed`.

    None: there is one attempt, after which a failing item stays `pending`.
    """


class RetryMove(Value):
    """A request to move the failed items of an ended invitation again."""

    move: MoveData


class FailItems(Value):
    """A request to give up items whose move has ended without a result."""

    invitation_id: str
    items: Manifest


class DataMoved(Value):
    """The stored manifest after the move."""

    manifest: Manifest


class MoveItem(Value):
    """A request to move one item."""

    invitation_id: str
    account: str
    email: str
    item: Item


class ItemMoved(Value):
    """The result of moving one item; the store has the changes (OPS-7)."""

    count: int
    changed: int = 0
    """The number of changes."""


class UnmovableItem(Exception):
    """An item that its service will never be able to move."""


class ContentServices(Protocol):
    """The services that store meetings, recordings, settings and so on."""

    async def move(self, request: MoveItem) -> ItemMoved:
        """Move the item once per invitation; a repetition returns the first result.

        Cancelled after a time limit; the next try continues.
        Raises `UnmovableItem`. Any other exception: not moved, try again.
        """


class ManifestStore(Protocol):
    """The part of the store that the move uses."""

    async def record_item(self, invitation_id: str, item: ManifestItem) -> Invitation:
        """Write the status of an item, also after the invitation was completed.

        A moved item stays moved, and a failed one failed until it has moved, even if a late
        attempt reports otherwise. Returns the stored record; its `with_errors` is true if any
        item has failed.
        """

    async def end_move(self, invitation_id: str) -> Manifest:
        """Return the stored manifest; queue its letters when no item is unfinished (TRF-5)."""


@dataclass(frozen=True)
class MoveActivities:
    """The activities that move a person's data, item by item."""

    store: ManifestStore
    services: ContentServices
    item_timeout: timedelta = ITEM_TIMEOUT
    heartbeat_interval: timedelta = HEARTBEAT_INTERVAL

    @activity.defn
    async def move_data(self, request: MoveData) -> DataMoved:
        """Move the items; a failure stops none of the others (TRF-1).

        A failing item is retried at growing intervals until `give_up_at`.
        """
        now, items = business_time(request.at), _resumed(request.items)
        last_attempt = request.give_up_at is not None and now >= request.give_up_at
        async with heartbeats(self.heartbeat_interval) as progress:
            for item in items:
                if item.unfinished:
                    running = item.with_status(ItemStatus.RUNNING)
                    progress.show(_statuses(with_items(items, [running])))
                    moved = await self._try_to_move(request, item, last_attempt=last_attempt)
                    items = with_items(items, [moved])
                    progress.show(_statuses(items))
        if unfinished(items) and request.give_up_at is not None:
            raise _not_moved(items, request.give_up_at - now)
        return await self._end(request.invitation_id)

    async def _try_to_move(
        self, request: MoveData, item: ManifestItem, *, last_attempt: bool
    ) -> ManifestItem:
        """Try once to move the item; return it with its new status."""
        stored = await self._record(request, item.with_status(ItemStatus.RUNNING))
        if stored.status is ItemStatus.MOVED:
            # An earlier attempt moved it, then crashed.
            return stored
        try:
            async with asyncio.timeout(self.item_timeout.total_seconds()):
                moved = await self.services.move(
                    MoveItem(
                        invitation_id=request.invitation_id,
                        account=request.account,
                        email=request.email,
                        item=item.item,
                    )
                )
        except Exception as failure:
            final = last_attempt or isinstance(failure, UnmovableItem)
            _log_failure(request, item, failure, final=final)
            reported = item.with_status(ItemStatus.FAILED if final else ItemStatus.PENDING)
            stored = await self._record(request, reported)
            # A concurrent attempt may have moved it. A failed item that is retried stays failed.
            return stored if stored.status is ItemStatus.MOVED else reported
        result = ManifestItem(
            item=item.item, status=ItemStatus.MOVED, count=moved.count, changed=moved.changed
        )
        return await self._record(request, result)

    async def _record(self, request: MoveData, item: ManifestItem) -> ManifestItem:
        """Write the item; return the stored one."""
        stored = await self.store.record_item(request.invitation_id, item)
        return next((entry for entry in stored.manifest if entry.item is item.item), item)

    @activity.defn
    async def fail_items(self, request: FailItems) -> DataMoved:
        """Record the items as failed, except those that have moved (TRF-1)."""
        for item in request.items:
            await self.store.record_item(request.invitation_id, item.with_status(ItemStatus.FAILED))
        return await self._end(request.invitation_id)

    async def _end(self, invitation_id: str) -> DataMoved:
        return DataMoved(manifest=await self.store.end_move(invitation_id))


def _log_failure(request: MoveData, item: ManifestItem, failure: Exception, *, final: bool) -> None:
    # The text may contain anything, so it goes to the worker's log only.
    activity.logger.warning(
        "%s of %s %s: %s",
        item.item,
        request.invitation_id,
        "has failed" if final else "was not moved",
        mask_all(str(failure)) or type(failure).__name__,
    )


def _statuses(items: Manifest) -> dict[str, str]:
    return {entry.item.value: entry.status.value for entry in items}


def _resumed(items: Manifest) -> Manifest:
    """Restore the failed items of an earlier attempt; the store has the moved ones.

    The item at which that attempt was interrupted is the last: it may end the worker again.
    """
    [statuses] = activity.info().heartbeat_details or [{}]
    resumed = [
        item.with_status(
            ItemStatus.FAILED
            if statuses.get(item.item.value) == ItemStatus.FAILED
            else ItemStatus.PENDING
        )
        for item in items
    ]
    return tuple(
        sorted(resumed, key=lambda item: statuses.get(item.item.value) == ItemStatus.RUNNING)
    )


def _not_moved(items: Manifest, left: timedelta) -> ApplicationError:
    """Return the error that schedules the next attempt, at the latest when `left` has passed."""
    info = activity.info()
    delay = retry_delay(info.attempt, info.started_time - info.scheduled_time)
    waiting = ", ".join(entry.item.value for entry in items if entry.unfinished)
    return ApplicationError(
        f"Not moved yet: {waiting}", type="not_moved", next_retry_delay=min(delay, left)
    )
