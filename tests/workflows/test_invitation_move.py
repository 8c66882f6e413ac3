"""Tests of the move after an acceptance, with services that fail (TRF)."""

import shlex
from datetime import timedelta

from activities.move import ItemMoved, MoveItem, UnmovableItem
from adapters.sql.content import SqlContent
from domain.invitation import Invitation
from domain.manifest import Item, ItemStatus
from tests.world import ADMIN, JANE, World, refusal_of

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
    [account] = (await world.export(world.account)).accounts
    jane = account.user(JANE)
    assert jane is not None
    assert (jane.chat_messages, jane.recordings, jane.settings["waiting_room"]) == (0, 3, True)
    assert not completed.with_errors


async def test_a_service_that_fails_for_an_hour_delays_only_its_item(
    world_without_worker: World,
) -> None:
    """TRF-1: everyone is notified before; membership and the other items are done."""
    world = world_without_worker.patient()
    async with world.working(FailingServices(world, tries=5)):
        await invite_owner_with_data(world)
        accepted = await world.client.accept(world.account, JANE)
        await world.mailed("welcome", JANE)
        waiting = await world.show(JANE)
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
        await world.mailed("moved", JANE, times=2)
    assert JANE in await world.members()
    assert await world.audit() == ()


async def test_only_an_accepted_invitation_can_retry_its_move(world: World) -> None:
    """TRF-1."""
    await world.pending(JANE)
    assert await refusal_of(world.client.retry_move(world.account, JANE)) == "conflict"
    await world.client.revoke(world.account, JANE, ADMIN)
    assert await refusal_of(world.client.retry_move(world.account, JANE)) == "revoked"
