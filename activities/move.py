"""Taking a person's data along to the account that they have joined (TRF)."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from pydantic import AwareDatetime
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeat import beating
from activities.invitation import NotifyParties
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

ITEM_WITHIN: Final = timedelta(minutes=5)
"""How long a service may take at a time: one that hangs must not hold up the other items."""

BEAT_EVERY: Final = timedelta(seconds=5)


class MoveData(Value):
    """Move what the manifest names as unfinished."""

    invitation_id: str
    account: str
    """The account that was joined."""
    email: str
    """The normalized address of the person whose data it is."""
    manifest: Manifest
    at: AwareDatetime
    """When this was ordered, in workflow time."""
    give_up_at: AwareDatetime | None = None
    """From this instant on, what still fails is given up: `failed`. Until then it is tried
    again. None: one try, and what fails stays `pending`."""


class RetryMove(Value):
    """Move what was given up, for an invitation that is over."""

    move: MoveData
    closed: NotifyParties | None = None
    """The invitation, when it is known what was ordered: the person is told then (TRF-5)."""


class DataMoved(Value):
    """What became of the manifest."""

    manifest: Manifest


class MoveItem(Value):
    """Move one kind of data."""

    invitation_id: str
    account: str
    email: str
    item: Item


class ItemMoved(Value):
    """One kind of data is where the person is."""

    count: int
    changes: tuple[Change, ...] = ()


class Unmovable(Exception):
    """A service says that it will never move this."""


class ContentServices(Protocol):
    """The services that keep people's meetings, recordings, settings and so on."""

    async def move(self, order: MoveItem) -> ItemMoved:
        """Move it once per invitation and item; a repeat returns the first result.

        Cut off after a while: what takes longer goes on with the next try.
        Raises `Unmovable`. Any other exception: not moved, try again.
        """


class ManifestStore(Protocol):
    """The store, as far as the move needs it."""

    async def keep_item(self, invitation_id: str, item: ManifestItem) -> Invitation:
        """Keep how far an item has come, also after the invitation was completed.

        What has moved stays moved, whoever comes late. Returns the record that is kept
        then; its `with_errors` says whether any item has failed.
        """


@dataclass(frozen=True)
class MoveActivities:
    """Moves a person's data, one kind after the other."""

    store: ManifestStore
    services: ContentServices

    @activity.defn
    async def move_data(self, order: MoveData) -> DataMoved:
        """Move what is unfinished; one kind that fails stops none of the others (TRF-1).

        What fails is tried again, later and later, until `give_up_at`.
        """
        now, manifest = business_time(order.at), _where_it_stood(order.manifest)
        given_up = order.give_up_at is not None and now >= order.give_up_at
        async with beating(BEAT_EVERY) as progress:
            for item in manifest:
                if item.unfinished:
                    running = item.with_status(ItemStatus.RUNNING)
                    progress.show(_statuses(with_item(manifest, running)))
                    moved = await self._moved(order, item, given_up=given_up)
                    manifest = with_item(manifest, moved)
                    progress.show(_statuses(manifest))
        if unfinished(manifest) and order.give_up_at is not None:
            raise _to_be_tried_again(manifest, order.give_up_at - now)
        return DataMoved(manifest=manifest)

    async def _moved(self, order: MoveData, item: ManifestItem, *, given_up: bool) -> ManifestItem:
        """The item after one try to move it."""
        begun = await self._keep(order, item.with_status(ItemStatus.RUNNING))
        if begun.status is ItemStatus.MOVED:
            # An attempt before this one got as far, and then broke off.
            return begun
        try:
            async with asyncio.timeout(ITEM_WITHIN.total_seconds()):
                moved = await self.services.move(
                    MoveItem(
                        invitation_id=order.invitation_id,
                        account=order.account,
                        email=order.email,
                        item=item.item,
                    )
                )
        except Exception as failure:
            final = given_up or isinstance(failure, Unmovable)
            # The text may be anything; the operators find it in the worker's log.
            activity.logger.warning(
                "%s of %s %s: %s",
                item.item,
                order.invitation_id,
                "is given up" if final else "did not move",
                mask_all(str(failure)) or type(failure).__name__,
            )
            status = ItemStatus.FAILED if final else ItemStatus.PENDING
            return await self._keep(order, item.with_status(status))
        return await self._keep(
            order,
            ManifestItem(
                item=item.item,
                status=ItemStatus.MOVED,
                count=moved.count,
                changes=moved.changes,
            ),
        )

    async def _keep(self, order: MoveData, item: ManifestItem) -> ManifestItem:
        """The item as it is kept."""
        kept = await self.store.keep_item(order.invitation_id, item)
        return next((entry for entry in kept.manifest if entry.item is item.item), item)


def _statuses(manifest: Manifest) -> dict[str, str]:
    return {entry.item.value: entry.status.value for entry in manifest}


def _where_it_stood(manifest: Manifest) -> Manifest:
    """The manifest without what an earlier attempt has given up; the store knows what moved."""
    [statuses] = activity.info().heartbeat_details or [{}]
    given_up = {item for item, status in statuses.items() if status == ItemStatus.FAILED}
    return tuple(
        item.with_status(ItemStatus.FAILED if item.item in given_up else ItemStatus.PENDING)
        if item.unfinished
        else item
        for item in manifest
    )


def _to_be_tried_again(manifest: Manifest, left: timedelta) -> ApplicationError:
    """Says when the next try starts: the last one when the time is up."""
    info = activity.info()
    delay = retry_delay(info.attempt, info.started_time - info.scheduled_time)
    waiting = ", ".join(entry.item.value for entry in manifest if entry.unfinished)
    return ApplicationError(
        f"Not moved yet: {waiting}", type="not_moved", next_retry_delay=min(delay, left)
    )
