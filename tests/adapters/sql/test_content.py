"""The built-in content service and the manifest in the store (TRF)."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from activities.invitation import JoinAccount
from activities.move import ItemMoved, MoveItem
from adapters.sql import content
from adapters.sql.content import SqlContent
from adapters.sql.invitations.change import add_changes, number_of_changes
from domain.account import User
from domain.error import Unavailable
from domain.invitation import Invitation, InvitationState, Invite
from domain.manifest import Change, Item, ItemStatus, ManifestItem, initial_manifest
from states.invitation import InvitationMachine
from states.lifecycle import after
from tests.builders.account import ACME, NOON, account, directory, user
from tests.builders.invitation import StoreScenario, accepted

HANA = "hana@host.example"
MEETING = {"id": "801", "topic": "Standup", "starts_at": "2026-05-01T09:00:00Z"}
WEBINAR = {"id": "901", "topic": "Launch", "starts_at": "2026-05-02T09:00:00Z"}
DATA: dict[str, Any] = {
    "settings": {"waiting_room": True, "theme": "dark"},
    "meetings": [MEETING, {**MEETING, "id": "802", "join_url": "https://rooms.example/hana"}],
    "webinars": [WEBINAR],
    "recordings": 3,
    "chat_messages": 40,
}
TARGET = {**ACME, "vanity_url": "acme", "locked_settings": {"waiting_room": False}}


async def join_without_data(
    scenario: StoreScenario, target: dict[str, Any] = TARGET, data: dict[str, Any] = DATA
) -> Invite:
    """Join Acme as Hana, who owned the account `host`; no item has moved yet."""
    host = account("host", user(HANA, "owner", **data), vanity_url="host")
    await scenario.store.directory.import_(directory(target, host))
    invite = scenario.new_invite(HANA)
    record = accepted(await scenario.send(invite)).model_copy(
        update={
            "manifest": initial_manifest(
                User.model_validate({"email": HANA, "role": "owner", **data})
            )
        }
    )
    await scenario.store.invitations.join(
        JoinAccount(invite=invite, invitation=record, choice=None),
        record.journal[-1].at,
        timedelta(),
    )
    return invite


async def moved(scenario: StoreScenario, invite: Invite, item: Item) -> ItemMoved:
    order = MoveItem(
        invitation_id=invite.invitation_id, account=invite.account, email=invite.email, item=item
    )
    return await SqlContent(scenario.engine, "meet.example").move(order)


async def changes(scenario: StoreScenario, invite: Invite, item: Item) -> tuple[Change, ...]:
    """Return the changes of an item in the store."""
    found = await scenario.store.invitations.changes([invite.invitation_id])
    return found[invite.invitation_id].get(item, ())


async def hana(scenario: StoreScenario, name: str = "acme") -> User:
    found = (await scenario.account(name)).user(HANA)
    assert found
    return found


async def kept(scenario: StoreScenario, invite: Invite) -> Invitation:
    stored = await scenario.store.invitations.by_id(invite.invitation_id)
    assert stored
    return stored.invitation


async def test_join_links_change_with_the_vanity_url_and_ids_stay(
    scenario: StoreScenario,
) -> None:
    """TRF-5: old → new for each."""
    invite = await join_without_data(scenario)
    assert await moved(scenario, invite, Item.MEETINGS) == ItemMoved(count=2, changed=2)
    assert await changes(scenario, invite, Item.MEETINGS) == (
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
    )
    assert await moved(scenario, invite, Item.WEBINARS) == ItemMoved(count=1, changed=1)
    [webinar] = await changes(scenario, invite, Item.WEBINARS)
    assert webinar.new == "https://acme.meet.example/j/901"
    host = await hana(scenario)
    assert {meeting.id: meeting.join_url for meeting in (*host.meetings, *host.webinars)} == {
        id: f"https://acme.meet.example/j/{id}" for id in ("801", "802", "901")
    }


async def test_without_a_vanity_url_links_stay(scenario: StoreScenario) -> None:
    """TRF-5: there is no new link."""
    invite = await join_without_data(scenario, ACME)
    assert await moved(scenario, invite, Item.MEETINGS) == ItemMoved(count=2)
    assert [meeting.join_url for meeting in (await hana(scenario)).meetings] == [
        None,
        "https://rooms.example/hana",
    ]


async def test_a_locked_setting_takes_the_value_of_the_account(scenario: StoreScenario) -> None:
    """TRF-2: the change names old and new value and who locked it."""
    invite = await join_without_data(scenario)
    assert await moved(scenario, invite, Item.SETTINGS) == ItemMoved(count=2, changed=1)
    assert await changes(scenario, invite, Item.SETTINGS) == (
        Change(name="waiting_room", old=True, new=False, locked_by="acme"),
    )
    assert (await hana(scenario)).settings == {"waiting_room": False, "theme": "dark"}


@pytest.mark.parametrize(
    ("item", "count"),
    [(Item.PROFILE, 1), (Item.RECORDINGS, 3), (Item.CHAT_HISTORY, 40), (Item.CONTACTS, 0)],
)
async def test_all_other_items_move_without_changes(
    scenario: StoreScenario, item: Item, count: int
) -> None:
    """TRF-1: with their counts."""
    invite = await join_without_data(scenario)
    assert await moved(scenario, invite, item) == ItemMoved(count=count)


@pytest.mark.parametrize("item", list(Item))
async def test_a_repeated_move_returns_the_first_result(
    scenario: StoreScenario, item: Item
) -> None:
    """TRF-1: also after the account's vanity URL and locked settings have changed."""
    invite = await join_without_data(scenario)
    first = await moved(scenario, invite, item)
    later = {**TARGET, "vanity_url": "other", "locked_settings": {"theme": "light"}}
    await scenario.store.directory.import_(directory(later))
    before = await hana(scenario)
    assert await moved(scenario, invite, item) == first
    assert await hana(scenario) == before


async def test_two_concurrent_attempts_move_an_item_once(scenario: StoreScenario) -> None:
    """TRF-1: an attempt that timed out may still run beside its retry."""
    invite = await join_without_data(scenario)
    first, second = await asyncio.gather(
        moved(scenario, invite, Item.MEETINGS), moved(scenario, invite, Item.MEETINGS)
    )
    assert first == second
    assert len(await changes(scenario, invite, Item.MEETINGS)) == 2


async def test_an_interrupted_move_of_many_meetings_continues(
    scenario: StoreScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRF-1: an earlier change is neither lost nor listed twice."""
    ids = [f"{number:03}" for number in range(25)]
    data = {**DATA, "meetings": [{**MEETING, "id": id} for id in ids]}
    invite = await join_without_data(scenario, data=data)
    monkeypatch.setattr(content, "BATCH", 10)

    async def interrupted(session: AsyncSession, *request: Any) -> None:
        if await number_of_changes(session, invite.invitation_id, Item.MEETINGS):
            raise Unavailable("interrupted")
        await add_changes(session, *request)

    with monkeypatch.context() as context:
        context.setattr(content, "add_changes", interrupted)
        with pytest.raises(Unavailable):
            await moved(scenario, invite, Item.MEETINGS)
    assert len(await changes(scenario, invite, Item.MEETINGS)) == 10
    assert await moved(scenario, invite, Item.MEETINGS) == ItemMoved(count=25, changed=25)
    assert [
        (change.name, change.old, change.new)
        for change in await changes(scenario, invite, Item.MEETINGS)
    ] == [
        (id, f"https://host.meet.example/j/{id}", f"https://acme.meet.example/j/{id}") for id in ids
    ]
    links = {meeting.join_url for meeting in (await hana(scenario)).meetings}
    assert links == {f"https://acme.meet.example/j/{id}" for id in ids}


async def test_meetings_with_special_ids_are_moved_in_batches(
    scenario: StoreScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRF-5: a repeated attempt finds their links unchanged."""
    ids = [f"8 {number}" for number in range(5)]
    data = {**DATA, "meetings": [{**MEETING, "id": id} for id in ids]}
    invite = await join_without_data(scenario, data=data)
    monkeypatch.setattr(content, "BATCH", 2)
    assert await moved(scenario, invite, Item.MEETINGS) == ItemMoved(count=5, changed=5)
    assert [each.name for each in await changes(scenario, invite, Item.MEETINGS)] == ids


async def test_a_list_reads_only_the_first_changes(scenario: StoreScenario) -> None:
    """OPS-7."""
    invite = await join_without_data(scenario)
    await moved(scenario, invite, Item.MEETINGS)
    await moved(scenario, invite, Item.SETTINGS)
    found = await scenario.store.invitations.changes([invite.invitation_id, "other"], at_most=1)
    names = {
        item: [each.name for each in found] for item, found in found[invite.invitation_id].items()
    }
    assert names == {Item.MEETINGS: ["801"], Item.SETTINGS: ["waiting_room"]}


async def test_the_data_of_a_person_who_has_left_is_not_changed(scenario: StoreScenario) -> None:
    """TRF-1: the links belong to their next account."""
    invite = await join_without_data(scenario)
    again = scenario.new_invite(HANA, "zeta", by="zoe@zeta.example")
    await scenario.store.directory.import_(
        directory({**ACME, "users": [*ACME["users"], user(HANA, "admin")]})  # type: ignore[misc]
    )
    await scenario.store.directory.import_(directory(account("acme", plan="free")))
    await scenario.send_and_accept(again)
    assert await moved(scenario, invite, Item.MEETINGS) == ItemMoved(count=0)
    assert (await hana(scenario, "zeta")).meetings[0].join_url is None


async def test_the_store_records_the_status_of_each_item(scenario: StoreScenario) -> None:
    """TRF-1: a moved item never becomes failed."""
    invite = await join_without_data(scenario)
    result = await moved(scenario, invite, Item.SETTINGS)
    item = ManifestItem(
        item=Item.SETTINGS,
        status=ItemStatus.MOVED,
        count=result.count,
        changed=result.changed,
    )
    answered = await scenario.store.invitations.record_item(invite.invitation_id, item)
    assert answered == await kept(scenario, invite)
    assert item in answered.manifest
    assert not answered.with_errors
    late = item.with_status(ItemStatus.FAILED)
    assert await scenario.store.invitations.record_item(invite.invitation_id, late) == answered


async def test_a_failed_item_is_an_error_until_it_has_moved(scenario: StoreScenario) -> None:
    """TRF-1: also after the invitation was completed."""
    invite = await join_without_data(scenario)
    store = scenario.store.invitations
    recordings = ManifestItem(item=Item.RECORDINGS, count=3, status=ItemStatus.FAILED)
    failed = await store.record_item(invite.invitation_id, recordings)
    assert failed.with_errors
    completed = after(InvitationMachine, failed, "complete", at=NOON, by="seatflow")
    await store.record(invite.invitation_id, completed)
    moved_later = await store.record_item(
        invite.invitation_id, recordings.with_status(ItemStatus.MOVED)
    )
    assert moved_later.state is InvitationState.COMPLETED
    assert not moved_later.with_errors
    assert moved_later == await kept(scenario, invite)


async def test_a_late_record_does_not_change_the_manifest(
    scenario: StoreScenario,
) -> None:
    """TRF-1: only the items' own records change it."""
    invite = await join_without_data(scenario)
    before = await kept(scenario, invite)
    recordings = ManifestItem(item=Item.RECORDINGS, count=3, status=ItemStatus.FAILED)
    now = await scenario.store.invitations.record_item(invite.invitation_id, recordings)
    completed = after(InvitationMachine, before, "complete", at=NOON, by="seatflow")
    await scenario.store.invitations.record(invite.invitation_id, completed)
    stored = await kept(scenario, invite)
    assert stored.state is InvitationState.COMPLETED
    assert (stored.manifest, stored.with_errors) == (now.manifest, True)
