"""The built-in content service moves each kind of data once, and the store keeps how far it is."""

import asyncio
from typing import Any

import pytest

from activities.invitation import JoinAccount
from activities.move import ItemMoved, MoveItem
from adapters.sql.content import SqlContent
from domain.account import User
from domain.invitation import Invitation, InvitationState, Invite
from domain.manifest import Change, Item, ItemStatus, ManifestItem, initial_manifest
from states.invitation import InvitationMachine
from states.lifecycle import after
from tests.builders.invitation import ACME, NOON, Town, accepted, account, directory, user

HANA = "hana@host.example"
MEETING = {"id": "801", "topic": "Standup", "starts_at": "2026-05-01T09:00:00Z"}
WEBINAR = {"id": "901", "topic": "Launch", "starts_at": "2026-05-02T09:00:00Z"}
THEIRS: dict[str, Any] = {
    "settings": {"waiting_room": True, "theme": "dark"},
    "meetings": [MEETING, {**MEETING, "id": "802", "join_url": "https://rooms.example/hana"}],
    "webinars": [WEBINAR],
    "recordings": 3,
    "chat_messages": 40,
}
TARGET = {**ACME, "vanity_url": "acme", "locked_settings": {"waiting_room": False}}


async def joined(town: Town, target: dict[str, Any] = TARGET) -> Invite:
    """Hana has left her account `host` for Acme; nothing of hers has moved yet."""
    host = account("host", user(HANA, "owner", **THEIRS), vanity_url="host")
    await town.store.directory.import_(directory(target, host))
    invite = town.invite(HANA)
    record = accepted(await town.pending(invite)).model_copy(
        update={
            "manifest": initial_manifest(
                User.model_validate({"email": HANA, "role": "owner", **THEIRS})
            )
        }
    )
    await town.store.invitations.join(JoinAccount(invite=invite, invitation=record, choice=None))
    return invite


async def moved(town: Town, invite: Invite, item: Item) -> ItemMoved:
    order = MoveItem(
        invitation_id=invite.invitation_id, account=invite.account, email=invite.email, item=item
    )
    return await SqlContent(town.engine, "meet.example").move(order)


async def theirs(town: Town, name: str = "acme") -> User:
    found = (await town.account(name)).user(HANA)
    assert found
    return found


async def kept(town: Town, invite: Invite) -> Invitation:
    stored = await town.store.invitations.by_id(invite.invitation_id)
    assert stored
    return stored.invitation


async def test_join_links_become_those_of_the_vanity_url_and_ids_stay(town: Town) -> None:
    """TRF-5: old → new for each."""
    invite = await joined(town)
    assert await moved(town, invite, Item.MEETINGS) == ItemMoved(
        count=2,
        changes=(
            Change(
                name="801",
                old="https://host.meet.example/j/801",
                new="https://acme.meet.example/j/801",
            ),
            Change(
                name="802",
                old="https://rooms.example/hana",
                new="https://acme.meet.example/j/802",
            ),
        ),
    )
    webinars = await moved(town, invite, Item.WEBINARS)
    assert [change.new for change in webinars.changes] == ["https://acme.meet.example/j/901"]
    host = await theirs(town)
    assert {meeting.id: meeting.join_url for meeting in (*host.meetings, *host.webinars)} == {
        id: f"https://acme.meet.example/j/{id}" for id in ("801", "802", "901")
    }


async def test_without_a_vanity_url_links_stay(town: Town) -> None:
    """TRF-5."""
    invite = await joined(town, ACME)
    assert await moved(town, invite, Item.MEETINGS) == ItemMoved(count=2)
    assert [meeting.join_url for meeting in (await theirs(town)).meetings] == [
        None,
        "https://rooms.example/hana",
    ]


async def test_a_locked_setting_takes_the_value_of_the_account(town: Town) -> None:
    """TRF-2."""
    invite = await joined(town)
    assert await moved(town, invite, Item.SETTINGS) == ItemMoved(
        count=2,
        changes=(Change(name="waiting_room", old=True, new=False, locked_by="acme"),),
    )
    assert (await theirs(town)).settings == {"waiting_room": False, "theme": "dark"}


@pytest.mark.parametrize(
    ("item", "count"),
    [(Item.PROFILE, 1), (Item.RECORDINGS, 3), (Item.CHAT_HISTORY, 40), (Item.CONTACTS, 0)],
)
async def test_everything_else_follows_the_person(town: Town, item: Item, count: int) -> None:
    """TRF-1."""
    invite = await joined(town)
    assert await moved(town, invite, item) == ItemMoved(count=count)


@pytest.mark.parametrize("item", list(Item))
async def test_a_repeat_returns_the_first_result_and_changes_nothing(
    town: Town, item: Item
) -> None:
    """TRF-1: also after what it depends on has become another."""
    invite = await joined(town)
    first = await moved(town, invite, item)
    later = {**TARGET, "vanity_url": "other", "locked_settings": {"theme": "light"}}
    await town.store.directory.import_(directory(later))
    before = await theirs(town)
    assert await moved(town, invite, item) == first
    assert await theirs(town) == before


async def test_two_at_once_move_it_once(town: Town) -> None:
    """TRF-1: an attempt that was believed dead, and the one after it."""
    invite = await joined(town)
    first, second = await asyncio.gather(
        moved(town, invite, Item.MEETINGS), moved(town, invite, Item.MEETINGS)
    )
    assert first == second
    assert len(first.changes) == 2


async def test_who_has_left_again_is_left_alone(town: Town) -> None:
    """TRF-1: their links are no longer the account's to change."""
    invite = await joined(town)
    again = town.invite(HANA, "zeta", by="zoe@zeta.example")
    await town.store.directory.import_(
        directory({**ACME, "users": [*ACME["users"], user(HANA, "admin")]})  # type: ignore[misc]
    )
    await town.store.directory.import_(directory(account("acme", plan="free")))
    await town.joined(again)
    assert await moved(town, invite, Item.MEETINGS) == ItemMoved(count=0)
    assert (await theirs(town, "zeta")).meetings[0].join_url is None


async def test_the_store_keeps_how_far_each_item_has_come(town: Town) -> None:
    """TRF-1."""
    invite = await joined(town)
    result = await moved(town, invite, Item.SETTINGS)
    item = ManifestItem(
        item=Item.SETTINGS,
        status=ItemStatus.MOVED,
        count=result.count,
        changes=result.changes,
    )
    answered = await town.store.invitations.record_item(invite.invitation_id, item)
    assert answered == await kept(town, invite)
    assert item in answered.manifest
    assert not answered.with_errors
    late = item.with_status(ItemStatus.FAILED)
    assert await town.store.invitations.record_item(invite.invitation_id, late) == answered


async def test_what_was_given_up_is_an_error_until_it_has_moved(town: Town) -> None:
    """TRF-1: also after the invitation was completed."""
    invite = await joined(town)
    store = town.store.invitations
    recordings = ManifestItem(item=Item.RECORDINGS, count=3, status=ItemStatus.FAILED)
    given_up = await store.record_item(invite.invitation_id, recordings)
    assert given_up.with_errors
    completed = after(InvitationMachine, given_up, "complete", at=NOON, by="seatflow")
    await store.record(invite.invitation_id, completed)
    moved_after_all = await store.record_item(
        invite.invitation_id, recordings.with_status(ItemStatus.MOVED)
    )
    assert moved_after_all.state is InvitationState.COMPLETED
    assert not moved_after_all.with_errors
    assert moved_after_all == await kept(town, invite)


async def test_a_record_that_is_kept_late_takes_back_nothing_that_has_moved(town: Town) -> None:
    """TRF-1: what has moved is the store's to say."""
    invite = await joined(town)
    before = await kept(town, invite)
    recordings = ManifestItem(item=Item.RECORDINGS, count=3, status=ItemStatus.FAILED)
    now = await town.store.invitations.record_item(invite.invitation_id, recordings)
    completed = after(InvitationMachine, before, "complete", at=NOON, by="seatflow")
    await town.store.invitations.record(invite.invitation_id, completed)
    stored = await kept(town, invite)
    assert stored.state is InvitationState.COMPLETED
    assert (stored.manifest, stored.with_errors) == (now.manifest, True)
