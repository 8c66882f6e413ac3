"""The manifest: a person's data that moves when they join an account (TRF)."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Self
from urllib.parse import quote

from pydantic import JsonValue

from domain.account import Account, User
from domain.model import Value

GIVE_UP_AFTER = timedelta(hours=24)
"""The time for which a failing item is retried (TRF-1).

It is longer than a usual outage, so that an operator gets only cases that need a person.
"""


class Item(StrEnum):
    """One kind of data that moves on acceptance (TRF-1)."""

    PROFILE = "profile"
    MEETINGS = "meetings"
    WEBINARS = "webinars"
    RECORDINGS = "recordings"
    CHAT_HISTORY = "chat_history"
    CONTACTS = "contacts"
    SETTINGS = "settings"


class ItemStatus(StrEnum):
    """The status of an item."""

    PENDING = "pending"
    RUNNING = "running"
    MOVED = "moved"
    FAILED = "failed"


class Change(Value):
    """A changed value: a setting, or the join link of a meeting."""

    name: str
    """The setting's name, or the id of the meeting or webinar."""
    old: JsonValue
    new: JsonValue
    locked_by: str | None = None
    """The account that locks the setting (TRF-2); None for a link."""


class ManifestItem(Value):
    """One kind of data, with its count and status."""

    item: Item
    status: ItemStatus = ItemStatus.PENDING
    count: int
    changed: int = 0
    """The number of changes."""
    changes: tuple[Change, ...] = ()
    """Empty in records and in Temporal: read from the store when they are shown (OPS-7)."""

    @property
    def unfinished(self) -> bool:
        """Return true while the item is neither moved nor failed."""
        return self.status in {ItemStatus.PENDING, ItemStatus.RUNNING}

    def may_become(self, status: ItemStatus) -> bool:
        """Return whether `status` may replace this one: moved is final, failed only moves."""
        return self.unfinished or (self.status is ItemStatus.FAILED and status is ItemStatus.MOVED)

    def with_status(self, status: ItemStatus) -> Self:
        """Return a copy with another status."""
        return self.model_copy(update={"status": status})


Manifest = tuple[ManifestItem, ...]


def initial_manifest(user: User | None) -> Manifest:
    """Return the manifest of `user` when the membership has been committed.

    The profile is part of the directory and moves with the membership. An item with nothing
    to move counts as moved.
    """
    counts = counts_of(user)
    return tuple(
        ManifestItem(
            item=item,
            status=ItemStatus.PENDING
            if counts[item] and item is not Item.PROFILE
            else ItemStatus.MOVED,
            count=counts[item],
        )
        for item in Item
    )


def leaving_user(source: Account | None, email: str, chat_messages: int) -> User | None:
    """Return the person as a user of the source account, with all data that moves (TRF-1)."""
    user = source.user(email) if source else None
    # Chat history belongs to the person, whichever account it was written on (TRF-4).
    return user and user.model_copy(update={"chat_messages": chat_messages})


def counts_of(user: User | None) -> Mapping[Item, int]:
    """Return the amount of each kind of data of a person; 0 without an account."""
    if user is None:
        return dict.fromkeys(Item, 0)
    return {
        Item.PROFILE: 1,
        Item.MEETINGS: len(user.meetings),
        Item.WEBINARS: len(user.webinars),
        Item.RECORDINGS: user.recordings,
        Item.CHAT_HISTORY: user.chat_messages,
        Item.CONTACTS: user.contacts,
        Item.SETTINGS: len(user.settings),
    }


def overridden_settings(
    settings: Mapping[str, JsonValue], locked: Mapping[str, JsonValue], locked_by: str
) -> tuple[Change, ...]:
    """Return the changes of settings that the target account locks (TRF-2)."""
    return tuple(
        Change(name=name, old=settings[name], new=locked[name], locked_by=locked_by)
        for name in settings
        if name in locked and settings[name] != locked[name]
    )


def changed_join_link(
    meeting: str, join_url: str | None, source: str | None, target: str, meeting_domain: str
) -> Change | None:
    """Return the change of a join link to the vanity URL `target`; None if it stays (TRF-5).

    `source` is the vanity URL that a meeting without its own link had, if any.
    """
    if join_url is None and source:
        join_url = join_link(source, meeting_domain, meeting)
    new = join_link(target, meeting_domain, meeting)
    return Change(name=meeting, old=join_url, new=new) if new != join_url else None


def join_link(vanity_url: str, meeting_domain: str, meeting: str) -> str:
    """Return the join link of a meeting or webinar."""
    return f"https://{vanity_url}.{meeting_domain}/j/{quote(meeting, safe='')}"


def unfinished(manifest: Iterable[ManifestItem]) -> bool:
    """Return whether any item still has to be moved."""
    return any(item.unfinished for item in manifest)


def failed(manifest: Iterable[ManifestItem]) -> bool:
    """Return whether any item has failed."""
    return any(item.status is ItemStatus.FAILED for item in manifest)


def unfinished_items(manifest: Manifest) -> Manifest:
    """Return the items that still have to be moved."""
    return tuple(item for item in manifest if item.unfinished)


def failed_items(manifest: Manifest) -> Manifest:
    """Return the items that have failed."""
    return tuple(item for item in manifest if item.status is ItemStatus.FAILED)


def with_items(manifest: Manifest, items: Iterable[ManifestItem]) -> Manifest:
    """Return a copy with `items` in place of their previous status; moved items stay moved."""
    newer = {item.item: item for item in items}
    return tuple(
        kept if kept.status is ItemStatus.MOVED else newer.get(kept.item, kept) for kept in manifest
    )


def with_item(manifest: Manifest, item: ManifestItem) -> Manifest:
    """Return a copy with the reported item, unless its previous status is final.

    A moved item stays moved. A failed item stays failed until it has moved, so that a retry that
    is ended from outside leaves it failed.
    """
    return tuple(
        item if item.item is kept.item and kept.may_become(item.status) else kept
        for kept in manifest
    )


def with_changes(manifest: Manifest, changes: Mapping[Item, tuple[Change, ...]]) -> Manifest:
    """Return a copy with the changes of each item, to be shown."""
    return tuple(
        item.model_copy(update={"changes": changes.get(item.item, ())}) for item in manifest
    )
