"""Tests of the move after an acceptance, with services that fail (TRF)."""

import asyncio
import shlex
from datetime import timedelta

from temporalio.exceptions import ApplicationError

from activities.move import ItemMoved, MoveItem, UnmovableItem
from adapters.sql.content import SqlContent
from domain.invitation import Invitation
from domain.manifest import Item, ItemStatus
from tests.eventually import eventually
from tests.world import ADMIN, JANE, World, refusal_of
from workflows import search_attribute

MEETING = {"id": "801", "topic": "Weekly", "starts_at": "2027-01-08T09:00:00Z"}


class FailingServices:
    """The built-in services; recordings fail a number of times, or for good."""

    def __init__(self, world: World, *, tries: int = 0, for_good: bool = False) -> None:
        self.services = SqlContent(world.store.engine, "meet.example")
        self.tries, self.for_good = tries, for_good

    async def move(self, request: MoveItem) -> ItemMoved:
        """Move the item once, unless it fails."""
        if request.item is Item.RECORDINGS and self.for_good:
            raise UnmovableItem("the recordings of jane@example.com are in another region")
        if request.item is Item.RECORDINGS and self.tries:
            self.tries -= 1
            raise ConnectionError("the recordings service is down")
        return await self.services.move(request)


async def invite_owner_with_data(world: World) -> None:
    """Invite Jane, who owns a free account with data; Acme locks a setting and has a vanity URL."""
    await world.imported(
        world.account, vanity_url="acme", locked_settings={"waiting_room": True, "theme": "dark"}
    )
    jane = {
        "email": JANE,
        "role": "owner",
        "name": "Jane",
        "settings": {"waiting_room": False, "captions": True},
        "meetings": [MEETING],
        "recordings": 3,
        "contacts": 7,
        "chat_messages": 12,
    }
    await world.imported("jane-free", plan="free", vanity_url="jane", users=[])
    await world.import_users("jane-free", [jane])
    await world.pending(JANE)


def status(invitation: Invitation, item: Item) -> ItemStatus:
    return next(each.status for each in invitation.manifest if each.item is item)


async def test_everything_is_moved_and_the_manifest_lists_the_changes(world: World) -> None:
    """TRF-1, TRF-2, TRF-4, TRF-5."""
    await invite_owner_with_data(world)
    await world.client.accept(world.account, JANE)
    completed = await world.until(JANE, "completed")
    manifest = {each.item: each for each in completed.manifest}
    assert {each.status for each in completed.manifest} == {ItemStatus.MOVED}
    assert [manifest[item].count for item in Item] == [1, 1, 0, 3, 12, 7, 2]
    [setting] = manifest[Item.SETTINGS].changes
    assert (setting.name, setting.old, setting.new) == ("waiting_room", False, True)
    assert setting.locked_by == world.account
    [link] = manifest[Item.MEETINGS].changes
    assert (link.name, link.old, link.new) == (
        "801",
        "https://jane.meet.example/j/801",
        "https://acme.meet.example/j/801",
    )
    mail = await world.mailed("moved", JANE)
    assert "https://acme.meet.example/j/801" in mail.text
    assert "\r\n- Weekly, " in mail.text
    [account] = (await world.export(world.account)).accounts
    jane = account.user(JANE)
    assert jane is not None
    assert (jane.chat_messages, jane.recordings, jane.settings["waiting_room"]) == (0, 3, True)
    assert not completed.with_errors


async def until_status(world: World, item: Item, expected: ItemStatus) -> Invitation:
    """Wait for the status of an item of Jane's data."""
    return await eventually(lambda: world.show(JANE), lambda shown: status(shown, item) is expected)


async def test_a_service_that_fails_for_an_hour_delays_only_its_item(
    world_without_worker: World,
) -> None:
    """TRF-1: everyone is notified before; membership and the other items are done."""
    world = world_without_worker.patient()
    async with world.working(FailingServices(world, tries=5)):
        await invite_owner_with_data(world)
        accepted = await world.client.accept(world.account, JANE)
        await world.mailed("welcome", JANE)
        waiting = await until_status(world, Item.CONTACTS, ItemStatus.MOVED)
        assert waiting.state.accepted and not waiting.state.final
        assert status(waiting, Item.RECORDINGS) is ItemStatus.RUNNING
        assert status(waiting, Item.CONTACTS) is ItemStatus.MOVED
        await world.clock.pass_time(accepted.workflow_id, timedelta(hours=1))
        completed = await world.until(JANE, "completed")
    assert status(completed, Item.RECORDINGS) is ItemStatus.MOVED
    assert not completed.with_errors
    assert [mail.event for mail in world.mails(to=JANE)].count("welcome") == 1
    assert await world.audit() == ()


async def test_a_failed_item_is_moved_again_on_request(
    world_without_worker: World,
) -> None:
    """TRF-1, TRF-5: it completes with errors; the person is notified of the later move."""
    world = world_without_worker.patient()
    services = FailingServices(world, for_good=True)
    async with world.working(services):
        await invite_owner_with_data(world)
        await world.client.accept(world.account, JANE)
        completed = await world.until(JANE, "completed")
        assert completed.with_errors
        assert status(completed, Item.RECORDINGS) is ItemStatus.FAILED
        [case] = await world.store.attention.cases()
        *command, account, key = shlex.split(case.remedy)
        assert (command, account) == (["seatflow", "retry-move"], world.account)
        again = await world.client.retry_move(account, key)
        assert status(again, Item.RECORDINGS) is ItemStatus.FAILED
        services.for_good = False
        moved = await world.client.retry_move(world.account, JANE)
        assert status(moved, Item.RECORDINGS) is ItemStatus.MOVED
        assert not moved.with_errors
        assert await world.show(JANE) == moved
        assert await world.client.retry_move(world.account, JANE) == moved
        stored = await world.store.invitations.latest(world.account, JANE)
        assert stored
        move = world.temporal.client.get_workflow_handle(
            f"move/{world.account}/{stored.invitation_id}"
        )
        attributes = (await move.describe()).typed_search_attributes
        assert attributes[search_attribute.ACCOUNT_ID] == world.account
        await world.mailed("moved", JANE, times=2)
    assert JANE in await world.members()
    assert await world.audit() == ()


class LockedServices:
    """The built-in services; contacts cannot be moved, and recordings not yet."""

    def __init__(self, world: World) -> None:
        self.services = SqlContent(world.store.engine, "meet.example")
        self.unmovable, self.down = {Item.CONTACTS}, {Item.RECORDINGS}

    async def move(self, request: MoveItem) -> ItemMoved:
        """Move the item, unless it is unmovable or its service is down."""
        if request.item in self.unmovable:
            raise UnmovableItem("locked")
        if request.item in self.down:
            raise ConnectionError("down")
        return await self.services.move(request)


async def test_an_item_that_is_moved_while_another_is_retried_stays_moved(
    world_without_worker: World,
) -> None:
    """TRF-1: workflow, store, e-mail and `with_errors` agree."""
    world = world_without_worker.patient()
    services = LockedServices(world)
    async with world.working(services):
        await invite_owner_with_data(world)
        accepted = await world.client.accept(world.account, JANE)
        await until_status(world, Item.CONTACTS, ItemStatus.FAILED)
        services.unmovable.clear()
        retried = await world.client.retry_move(world.account, JANE)
        assert status(retried, Item.CONTACTS) is ItemStatus.MOVED
        assert status(retried, Item.RECORDINGS) is ItemStatus.RUNNING
        services.down.clear()
        await world.clock.pass_time(accepted.workflow_id, timedelta(hours=1))
        completed = await world.until(JANE, "completed")
        letter = await world.mailed("moved", JANE)
    assert "could not be moved" not in letter.text
    assert {each.status for each in completed.manifest} == {ItemStatus.MOVED}
    assert not completed.with_errors
    kept = (await world.stored(JANE)).manifest
    assert [(each.item, each.status) for each in kept] == [
        (item, ItemStatus.MOVED) for item in Item
    ]


class HangingServices(LockedServices):
    """The built-in services; recordings never answer."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.unmovable.clear()

    async def move(self, request: MoveItem) -> ItemMoved:
        """Move the item, or hang."""
        if request.item in self.down:
            await asyncio.Event().wait()
        return await self.services.move(request)


async def test_an_item_whose_activity_ends_without_a_result_is_failed(
    world_without_worker: World,
) -> None:
    """TRF-1: the invitation completes with errors, and a retry moves it."""
    world = world_without_worker.patient()
    services = HangingServices(world)
    async with world.working(services):
        await invite_owner_with_data(world)
        accepted = await world.client.accept(world.account, JANE)
        for _ in range(2):
            await fail_the_move(world, accepted.workflow_id)
        completed = await world.until(JANE, "completed")
        assert await move_limits(world, accepted.workflow_id) == [2, 26]
        assert completed.with_errors
        assert status(completed, Item.RECORDINGS) is ItemStatus.FAILED
        assert status((await world.stored(JANE)), Item.RECORDINGS) is ItemStatus.FAILED
        services.down.clear()
        moved = await world.client.retry_move(world.account, JANE)
    assert {each.status for each in moved.manifest} == {ItemStatus.MOVED}
    assert not moved.with_errors


async def fail_the_move(world: World, workflow_id: str) -> None:
    """End the move that is running from outside, as an operator can."""
    activity_id = await eventually(lambda: running_move(world, workflow_id))
    assert activity_id
    handle = world.temporal.client.get_async_activity_handle(
        workflow_id=workflow_id, run_id=None, activity_id=activity_id
    )
    await handle.fail(ApplicationError("ended by an operator", non_retryable=True))


async def move_limits(world: World, workflow_id: str) -> list[float]:
    """Return the hours after which the server ends each move."""
    history = await world.temporal.client.get_workflow_handle(workflow_id).fetch_history()
    scheduled = [event.activity_task_scheduled_event_attributes for event in history.events]
    return [
        each.schedule_to_close_timeout.ToTimedelta() / timedelta(hours=1)
        for each in scheduled
        if each.activity_type.name == "move_data"
    ]


async def running_move(world: World, workflow_id: str) -> str | None:
    """Return the id of the activity that is moving items, if any."""
    description = await world.temporal.client.get_workflow_handle(workflow_id).describe()
    for pending in description.raw_description.pending_activities:
        if pending.activity_type.name == "move_data" and pending.HasField("last_heartbeat_time"):
            return pending.activity_id
    return None


async def test_a_person_with_20000_meetings_completes(world: World) -> None:
    """OPS-7, TRF-5: payloads and records have counts, and the store has the changes."""
    count = 20_000
    await world.imported(world.account, vanity_url="acme")
    await world.imported("jane-free", plan="free", vanity_url="jane")
    ids = [str(80_000 + number) for number in range(count)]
    jane = {"email": JANE, "role": "owner", "meetings": [{**MEETING, "id": id} for id in ids]}
    await world.import_users("jane-free", [jane])
    await world.pending(JANE)
    await world.client.accept(world.account, JANE)
    completed = await world.until(JANE, "completed")
    meetings = next(each for each in completed.manifest if each.item is Item.MEETINGS)
    assert (meetings.status, meetings.count, meetings.changed) == (ItemStatus.MOVED, count, count)
    assert [(change.name, change.old, change.new) for change in meetings.changes] == [
        (id, f"https://jane.meet.example/j/{id}", f"https://acme.meet.example/j/{id}") for id in ids
    ]
    [listed] = await world.client.list(world.account, everything=True)
    [listed_meetings] = [each for each in listed.manifest if each.changes]
    assert listed_meetings.changes == meetings.changes[:50]
    print(
        "BYTES", await world.payload_bytes(JANE), len((await world.stored(JANE)).model_dump_json())
    )
    assert await world.payload_bytes(JANE) < 25_000
    assert len((await world.stored(JANE)).model_dump_json()) < 3_000
    mail = await world.mailed("moved", JANE)
    assert "20000 of your meetings and webinars have new join links." in mail.text
    assert "19800 more are not listed here." in mail.text
    assert mail.text.count("https://acme.meet.example/j/") == 200


async def test_only_an_accepted_invitation_can_retry_its_move(world: World) -> None:
    """TRF-1."""
    await world.pending(JANE)
    assert await refusal_of(world.client.retry_move(world.account, JANE)) == "conflict"
    await world.client.revoke(world.account, JANE, ADMIN)
    assert await refusal_of(world.client.retry_move(world.account, JANE)) == "revoked"
