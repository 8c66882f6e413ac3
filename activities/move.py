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
    Change,
    Item,
    ItemStatus,
    Manifest,
    ManifestItem,
    unfinished,
    with_item,
)
from domain.model import Value

ITEM_TIMEOUT: Final = timedelta(minutes=5)
"""Longest time for one item: a service that hangs must not delay the other items."""

HEARTBEAT_INTERVAL: Final = timedelta(seconds=5)


class MoveData(Value):
    """A request to move the unfinished items of the manifest."""

    invitation_id: str
    account: str
    """The joined account."""
    email: str
    """The normalized address of the data's owner."""
    manifest: Manifest
    at: AwareDatetime
    """Workflow time of the request."""
    give_up_at: AwareDatetime | None = None
    """The time until which a failing item is retried; then it is `failed`.

    None: there is one attempt, after which a failing item stays `pending`.
    """


class RetryMove(Value):
    """A request to move the failed items of an ended invitation again."""

    move: MoveData


class DataMoved(Value):
    """The manifest after the move."""

    manifest: Manifest


class MoveItem(Value):
    """A request to move one item."""

    invitation_id: str
    account: str
    email: str
    item: Item


class ItemMoved(Value):
    """The result of moving one item."""

    count: int
    changes: tuple[Change, ...] = ()


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

        A moved item stays moved, even if a late attempt reports otherwise. Returns the stored
        record; its `with_errors` is true if any item has failed.
        """


@dataclass(frozen=True)
class MoveActivities:
    """The activity that moves a person's data, item by item."""

    store: ManifestStore
    services: ContentServices
    item_timeout: timedelta = ITEM_TIMEOUT
    heartbeat_interval: timedelta = HEARTBEAT_INTERVAL

    @activity.defn
    async def move_data(self, request: MoveData) -> DataMoved:
        """Move the unfinished items; a failure stops none of the others (TRF-1).

        A failing item is retried at growing intervals until `give_up_at`.
        """
        now, manifest = business_time(request.at), _resumed(request.manifest)
        last_attempt = request.give_up_at is not None and now >= request.give_up_at
        async with heartbeats(self.heartbeat_interval) as progress:
            for item in manifest:
                if item.unfinished:
                    running = item.with_status(ItemStatus.RUNNING)
                    progress.show(_statuses(with_item(manifest, running)))
                    moved = await self._try_to_move(request, item, last_attempt=last_attempt)
                    manifest = with_item(manifest, moved)
                    progress.show(_statuses(manifest))
        if unfinished(manifest) and request.give_up_at is not None:
            raise _not_moved(manifest, request.give_up_at - now)
        return DataMoved(manifest=manifest)

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
            status = ItemStatus.FAILED if final else ItemStatus.PENDING
            return await self._record(request, item.with_status(status))
        result = ManifestItem(
            item=item.item, status=ItemStatus.MOVED, count=moved.count, changes=moved.changes
        )
        return await self._record(request, result)

    async def _record(self, request: MoveData, item: ManifestItem) -> ManifestItem:
        """Write the item; return the stored one."""
        stored = await self.store.record_item(request.invitation_id, item)
        return next((entry for entry in stored.manifest if entry.item is item.item), item)


def _log_failure(request: MoveData, item: ManifestItem, failure: Exception, *, final: bool) -> None:
    # The text may contain anything, so it goes to the worker's log only.
    activity.logger.warning(
        "%s of %s %s: %s",
        item.item,
        request.invitation_id,
        "has failed" if final else "was not moved",
        mask_all(str(failure)) or type(failure).__name__,
    )


def _statuses(manifest: Manifest) -> dict[str, str]:
    return {entry.item.value: entry.status.value for entry in manifest}


def _resumed(manifest: Manifest) -> Manifest:
    """Restore the failed items of an earlier attempt; the store has the moved ones."""
    [statuses] = activity.info().heartbeat_details or [{}]
    failed = {item for item, status in statuses.items() if status == ItemStatus.FAILED}
    return tuple(
        item.with_status(ItemStatus.FAILED if item.item in failed else ItemStatus.PENDING)
        if item.unfinished
        else item
        for item in manifest
    )


def _not_moved(manifest: Manifest, left: timedelta) -> ApplicationError:
    """Return the error that schedules the next attempt, at the latest when `left` has passed."""
    info = activity.info()
    delay = retry_delay(info.attempt, info.started_time - info.scheduled_time)
    waiting = ", ".join(entry.item.value for entry in manifest if entry.unfinished)
    return ApplicationError(
        f"Not moved yet: {waiting}", type="not_moved", next_retry_delay=min(delay, left)
    )
