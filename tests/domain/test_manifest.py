"""The manifest: items, changes and status."""

from typing import Any

import pytest

from domain.account import User
from domain.manifest import (
    Change,
    Item,
    ItemStatus,
    ManifestItem,
    changed_join_link,
    failed,
    initial_manifest,
    overridden_settings,
    unfinished,
    with_item,
    with_items,
)

ANN = User.model_validate({"email": "ann@example.com", "role": "owner", "recordings": 3})
OWN_LINK = "https://rooms.example/standup"


def test_items_with_data_are_pending_and_empty_items_count_as_moved() -> None:
    """TRF-1: the profile moves with the membership."""
    manifest = initial_manifest(ANN)
    assert [entry.item for entry in manifest] == list(Item)
    waiting = {entry.item: entry.count for entry in manifest if entry.unfinished}
    assert waiting == {Item.RECORDINGS: 3}
    assert manifest[0] == ManifestItem(item=Item.PROFILE, count=1, status=ItemStatus.MOVED)
    assert unfinished(manifest)


def test_a_person_without_an_account_has_nothing_to_move() -> None:
    """TRF-1, SRC-1: all counts are 0."""
    manifest = initial_manifest(None)
    assert {(entry.status, entry.count) for entry in manifest} == {(ItemStatus.MOVED, 0)}
    assert not unfinished(manifest)


@pytest.mark.parametrize(
    ("settings", "locked", "changes"),
    [
        ({"a": 1}, {}, []),
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"b": 2}, []),
        ({"a": 1, "b": "x"}, {"a": 2, "b": "x"}, [("a", 1, 2)]),
        ({"a": {"deep": 1}}, {"a": None}, [("a", {"deep": 1}, None)]),
    ],
)
def test_a_locked_setting_takes_the_value_of_the_account(
    settings: dict[str, Any], locked: dict[str, Any], changes: list[tuple[str, Any, Any]]
) -> None:
    """TRF-2: the change has the old and the new value and the locking account."""
    assert overridden_settings(settings, locked, "acme") == tuple(
        Change(name=name, old=old, new=new, locked_by="acme") for name, old, new in changes
    )


@pytest.mark.parametrize(
    ("join_url", "source", "old"),
    [
        (None, None, None),
        (None, "solo", "https://solo.meet.example/j/801"),
        (OWN_LINK, None, OWN_LINK),
        (OWN_LINK, "solo", OWN_LINK),
    ],
)
def test_join_links_follow_the_vanity_url(
    join_url: str | None, source: str | None, old: str | None
) -> None:
    """TRF-5: the old link is the meeting's own, else that of the account left."""
    change = changed_join_link("801", join_url, source, "acme", "meet.example")
    assert change == Change(name="801", old=old, new="https://acme.meet.example/j/801")


@pytest.mark.parametrize(
    ("join_url", "source"), [("https://acme.meet.example/j/801", None), (None, "acme")]
)
def test_a_link_that_has_the_vanity_url_stays(join_url: str | None, source: str | None) -> None:
    """TRF-5: it is no change."""
    assert changed_join_link("801", join_url, source, "acme", "meet.example") is None


def test_a_meeting_id_is_escaped_in_its_link() -> None:
    """TRF-5: ids come from other systems."""
    change = changed_join_link("8 01/x", None, None, "acme", "meet.example")
    assert change
    assert (change.name, change.new) == ("8 01/x", "https://acme.meet.example/j/8%2001%2Fx")


def test_a_moved_item_stays_moved() -> None:
    """TRF-1: a late status does not replace it."""
    pending = initial_manifest(ANN)
    profile = ManifestItem(item=Item.PROFILE, count=1)
    moved = with_item(pending, profile.with_status(ItemStatus.MOVED))
    assert moved[0].status is ItemStatus.MOVED
    assert moved[1:] == pending[1:]
    for late in ItemStatus:
        assert with_item(moved, profile.with_status(late)) == moved


def test_a_failed_item_stays_failed_until_it_has_moved() -> None:
    """TRF-1: a retry that is ended from outside leaves it failed."""
    recordings = ManifestItem(item=Item.RECORDINGS, count=3, status=ItemStatus.FAILED)
    manifest = with_item(initial_manifest(ANN), recordings)
    for status in (ItemStatus.PENDING, ItemStatus.RUNNING):
        assert with_item(manifest, recordings.with_status(status)) == manifest
    assert failed(manifest)
    assert not failed(with_item(manifest, recordings.with_status(ItemStatus.MOVED)))


def test_the_items_of_one_move_leave_the_others_alone() -> None:
    """TRF-1: a concurrent move has them; what has moved stays moved."""
    manifest = (
        ManifestItem(item=Item.MEETINGS, count=1, status=ItemStatus.MOVED),
        ManifestItem(item=Item.RECORDINGS, count=3, status=ItemStatus.FAILED),
        ManifestItem(item=Item.CONTACTS, count=7, status=ItemStatus.RUNNING),
    )
    meetings, recordings, contacts = manifest
    late = (meetings.with_status(ItemStatus.FAILED), recordings.with_status(ItemStatus.RUNNING))
    assert with_items(manifest, late) == (meetings, late[1], contacts)
