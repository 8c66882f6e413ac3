"""The manifest: items, changes and status."""

from typing import Any

import pytest

from domain.account import Meeting, User
from domain.manifest import (
    Change,
    Item,
    ItemStatus,
    ManifestItem,
    changed_join_links,
    failed,
    initial_manifest,
    overridden_settings,
    unfinished,
    with_item,
    with_running_items,
)

ANN = User.model_validate({"email": "ann@example.com", "role": "owner", "recordings": 3})
OWN_LINK = "https://rooms.example/standup"


def a_meeting(id: str = "801", join_url: str | None = None) -> Meeting:
    return Meeting.model_validate(
        {"id": id, "topic": "Standup", "starts_at": "2026-05-01T09:00:00Z", "join_url": join_url}
    )


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
    ("join_url", "source", "target", "links"),
    [
        (None, None, None, []),
        (None, "solo", None, []),
        (OWN_LINK, None, None, []),
        (None, None, "acme", [(None, "https://acme.meet.example/j/801")]),
        (
            None,
            "solo",
            "acme",
            [("https://solo.meet.example/j/801", "https://acme.meet.example/j/801")],
        ),
        (OWN_LINK, "solo", "acme", [(OWN_LINK, "https://acme.meet.example/j/801")]),
        ("https://acme.meet.example/j/801", None, "acme", []),
    ],
)
def test_join_links_follow_the_vanity_url(
    join_url: str | None,
    source: str | None,
    target: str | None,
    links: list[tuple[str | None, str]],
) -> None:
    """TRF-5: without a vanity URL of the target, links stay."""
    changes = changed_join_links([a_meeting(join_url=join_url)], source, target, "meet.example")
    assert [(change.old, change.new) for change in changes] == links
    assert {change.name for change in changes} <= {"801"}


def test_a_meeting_id_is_escaped_in_its_link() -> None:
    """TRF-5: ids come from other systems."""
    [change] = changed_join_links([a_meeting("8 01/x")], None, "acme", "meet.example")
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


def test_a_failed_item_can_be_run_again() -> None:
    """TRF-1: a retry sets it to `running`."""
    recordings = ManifestItem(item=Item.RECORDINGS, count=3, status=ItemStatus.FAILED)
    manifest = with_item(initial_manifest(ANN), recordings)
    assert failed(manifest)
    statuses = {entry.item: entry.status for entry in with_running_items(manifest, again=True)}
    assert statuses[Item.RECORDINGS] is ItemStatus.RUNNING
    assert statuses[Item.CONTACTS] is ItemStatus.MOVED
    assert failed(with_running_items(manifest))
