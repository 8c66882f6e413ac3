"""Tests of blocked invitations and of how they resume (BLK)."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from domain.error import Refused
from domain.invitation import Choice, Invitation, InvitationState, License, Person
from domain.policy import Policy
from domain.remedy import Removal
from tests.eventually import eventually
from tests.smtp_server import Misbehaviour
from tests.world import ADMIN, JANE, MEMBER, World, refusal_of

BOB = "bob@club.example"
CARL = "carl@club.example"
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


async def invite_owner_of_a_club(
    world: World, plan: str = "pro", subscriptions: Sequence[object] = ()
) -> None:
    """Import a club that Jane owns, with two other users and a room, and invite her."""
    await world.imported(
        "club",
        plan=plan,
        users=[(JANE, "owner"), (BOB, "member"), (CARL, "member")],
        rooms=[{"id": "room-1"}],
        subscriptions=subscriptions,
    )
    await world.pending(JANE)


async def blocked_invitation(world: World, plan: str = "pro") -> Invitation:
    await invite_owner_of_a_club(world, plan)
    assert await refusal_of(world.client.accept(world.account, JANE)) == "blocked"
    return await world.show(JANE)


def blocking_items(invitation: Invitation) -> list[str]:
    return [item.id for blocker in invitation.blockers for item in blocker.items]


async def until_blocked_by(world: World, *items: str) -> None:
    await eventually(
        lambda: world.show(JANE), lambda invitation: blocking_items(invitation) == [*items]
    )


async def clear_blockers(world: World) -> None:
    await world.remove_user("club", BOB)
    await world.remove_user("club", CARL, Removal.DELETE)
    await world.remove_room("club", "room-1")


async def test_the_invitation_resumes_when_the_last_blocker_is_cleared(
    world: World,
) -> None:
    """BLK-1, BLK-4: each remedy leaves the rest listed; then the invitee is notified."""
    first = await blocked_invitation(world)
    assert blocking_items(first) == [BOB, CARL, "room-1"]
    await world.mailed("blocked", JANE)
    await world.remove_user("club", BOB)
    await until_blocked_by(world, CARL, "room-1")
    await world.remove_user("club", CARL, Removal.DELETE)
    await until_blocked_by(world, "room-1")
    await world.remove_room("club", "room-1")
    again = await world.until(JANE, "pending")
    assert again.blockers == ()
    await world.mailed("unblocked", JANE)
    accepted = await world.client.accept(world.account, JANE)
    assert (accepted.run_id, accepted.state.accepted) == (first.run_id, True)
    assert await world.audit() == ()


async def test_accepting_while_blocked_checks_again_at_once(world: World) -> None:
    """BLK-4: another e-mail is sent only if the list has changed."""
    await blocked_invitation(world)
    await world.mailed("blocked", JANE)
    assert await refusal_of(world.client.accept(world.account, JANE)) == "blocked"
    assert [entry.event for entry in (await world.show(JANE)).journal].count("block") == 1
    await world.imported("club", plan="pro", rooms=[{"id": "room-2"}])
    await until_blocked_by(world, BOB, CARL, "room-1", "room-2")
    # The list has changed since the invitee was notified.
    assert await refusal_of(world.client.accept(world.account, JANE)) == "blocked"
    assert "room-2" in (await world.mailed("blocked", JANE, times=2)).text
    await clear_blockers(world)
    await world.remove_room("club", "room-2")
    # The acceptance succeeds before or after the signal.
    assert (await world.client.accept(world.account, JANE)).state.accepted


async def import_large_club(world: World, colleagues: int) -> list[str]:
    """Import a club that Jane owns, with a room and that many colleagues; return these."""
    emails = [f"colleague-{number:04}@club.example" for number in range(colleagues)]
    await world.imported(
        "club",
        plan="pro",
        users=[(JANE, "owner"), *((email, "member") for email in emails)],
        rooms=[{"id": "room-1"}],
    )
    return emails


async def test_the_history_of_a_blocked_owner_does_not_grow_with_the_account(world: World) -> None:
    """OPS-7, BLK-1: blockers are counted, digested and truncated in every payload."""
    emails = await import_large_club(world, 2000)
    await world.pending(JANE)
    assert await refusal_of(world.client.accept(world.account, JANE)) == "blocked"
    for left in range(1999, 1979, -1):
        await world.remove_user("club", emails[left])
        shown = await world.client.recheck(world.account, JANE)
        assert shown.blockers[0].count == left + 1
    sizes = await world.event_sizes(JANE)
    assert max(sizes) < 20_000
    # All events of one change: a read, another one for each signal, a write and a result. The
    # whole list would be 200 KB each time.
    assert sum(sizes) < 21 * 33_000


async def test_a_change_behind_the_listed_items_is_a_change_of_the_list(world: World) -> None:
    """BLK-4, OPS-7: another e-mail is sent if it changed, and only then."""
    emails = await import_large_club(world, 60)
    await world.pending(JANE)
    assert await refusal_of(world.client.accept(world.account, JANE)) == "blocked"
    assert "And 10 more." in (await world.mailed("blocked", JANE)).text
    await world.remove_user("club", emails[59])
    await world.client.recheck(world.account, JANE)
    for _ in range(2):
        assert await refusal_of(world.client.accept(world.account, JANE)) == "blocked"
    assert "And 9 more." in (await world.mailed("blocked", JANE, times=2)).text
    assert [entry.event for entry in (await world.show(JANE)).journal].count("block") == 2


async def test_current_details_count_the_items_that_are_not_listed(world: World) -> None:
    """BLK-1, OPS-7: the items of each kind; no address is shown."""
    await import_large_club(world, 60)
    shown = await world.pending(JANE)
    assert await refusal_of(world.client.accept(world.account, JANE)) == "blocked"
    handle = world.temporal.client.get_workflow_handle(shown.workflow_id)
    details = str(await handle.query("__temporal_workflow_metadata"))
    assert "1009 (user × 60, room × 1)" in details
    assert "colleague-" not in details


async def test_a_refusal_that_is_checked_after_the_blockers_unblocks_the_invitation(
    world: World,
) -> None:
    """BLK-4: a choice is only required without blockers."""
    await invite_owner_of_a_club(
        world,
        subscriptions=[
            {
                "id": "sub-1",
                "product": "Pro",
                "kind": "plan",
                "quantity": 1,
                "cycle": "annual",
                "period_start": str(datetime.now(UTC).date() - timedelta(days=10)),
                "period_end": str(datetime.now(UTC).date() + timedelta(days=10)),
                "payments": [{"id": "pay-1", "method": "card", "amount": "100.00"}],
            }
        ],
    )
    assert await refusal_of(world.client.accept(world.account, JANE)) == "blocked"
    await clear_blockers(world)
    assert await refusal_of(world.client.accept(world.account, JANE)) == "choice_required"
    assert (await world.show(JANE)).state is InvitationState.PENDING
    assert (await world.client.accept(world.account, JANE, Choice.REFUND)).state.accepted


async def test_a_recheck_detects_a_cleared_blocker_without_a_signal(world: World) -> None:
    """BLK-4: after 1, 5, 15 minutes, 1, 6 hours, then every 24 hours."""
    first = await blocked_invitation(world)
    since = first.journal[-1].at
    await clear_blockers(world)
    for row in await world.store.outbox.lease(10, timedelta(minutes=1)):
        await world.store.outbox.done(row)
    await world.go_to(JANE, since + MINUTE)
    again = await world.until(JANE, "pending")
    assert again.journal[-1].at - since < 2 * MINUTE


async def test_an_operator_requests_a_recheck(world: World) -> None:
    """BLK-4: `recheck` returns the current state, or is refused with the code of the end."""
    await blocked_invitation(world)
    assert (await world.client.recheck(world.account, JANE)).state is InvitationState.BLOCKED
    await clear_blockers(world)
    assert (await world.client.recheck(world.account, JANE)).state is InvitationState.PENDING
    assert (await world.client.recheck(world.account, JANE)).state is InvitationState.PENDING
    await world.client.decline(world.account, JANE)
    assert await refusal_of(world.client.recheck(world.account, JANE)) == "declined"


async def test_clearing_while_no_worker_runs_is_not_lost(world_without_worker: World) -> None:
    """OPS-1: the signal waits in the outbox, even if the same remedy is repeated."""
    world = world_without_worker.patient()
    async with world.working():
        await blocked_invitation(world)
    await clear_blockers(world)
    await world.remove_user("club", BOB)
    async with world.working():
        await world.until(JANE, "pending")
        await world.mailed("unblocked", JANE)
        assert (await world.client.accept(world.account, JANE)).state.accepted
    assert [mail.event for mail in world.mails(to=JANE)].count("unblocked") == 1


async def test_clearing_a_blocker_concurrently_with_an_acceptance_is_safe(world: World) -> None:
    """BLK-4: it is accepted, or blocked and then resumed; never stuck, never twice."""
    await invite_owner_of_a_club(world)

    async def accept() -> str:
        try:
            return (await world.client.accept(world.account, JANE)).state.value
        except Refused as refused:
            return refused.code.value

    _, answer = await asyncio.gather(clear_blockers(world), accept())
    if answer == "blocked":
        await world.until(JANE, "pending")
        assert (await world.client.accept(world.account, JANE)).state.accepted
    await world.until(JANE, "completed")
    assert await world.audit() == ()


@pytest.mark.parametrize("paused", [False, True])
async def test_the_deadline_continues_or_is_paused_while_blocked(
    world: World, paused: bool
) -> None:
    """BLK-5: to the second; a paused deadline keeps the time left."""
    client = replace(world.client, policy=Policy(pause_while_blocked=paused))
    world.clients.invitations = client
    await invite_owner_of_a_club(world)
    before = await world.show(JANE)
    await world.go_to(JANE, before.deadline - timedelta(days=2))
    assert await refusal_of(client.accept(world.account, JANE)) == "blocked"
    now = await world.show(JANE)
    blocked_at = now.journal[-1].at
    left = before.deadline - blocked_at
    if not paused:
        assert now.expires_at == before.expires_at
        await world.go_to(JANE, before.deadline - SECOND)
        assert (await world.show(JANE)).state is InvitationState.BLOCKED
        await world.go_to(JANE, before.deadline)
        await world.until(JANE, "expired")
        return
    assert (now.expires_at, now.time_left) == (None, left)
    await world.pass_time(JANE, left + timedelta(days=1))
    assert (await world.show(JANE)).state is InvitationState.BLOCKED
    await clear_blockers(world)
    after = await world.until(JANE, "pending")
    assert after.deadline - after.journal[-1].at == left
    await world.go_to(JANE, after.deadline - SECOND)
    assert (await world.show(JANE)).state is InvitationState.PENDING
    await world.go_to(JANE, after.deadline)
    await world.until(JANE, "expired")


@pytest.mark.parametrize("paused", [False, True])
async def test_a_resend_while_blocked_stays_blocked(world: World, paused: bool) -> None:
    """INV-9, BLK-5: the deadline starts again, and stays paused if it was."""
    client = replace(world.client, policy=Policy(pause_while_blocked=paused))
    world.clients.invitations = client
    await blocked_invitation(world)
    await world.pass_time(JANE, timedelta(hours=2))
    await client.resend(world.account, JANE, ADMIN)
    await world.mailed("invitation", JANE, times=2)
    resent = await world.show(JANE)
    assert (resent.state, resent.sent_count) == (InvitationState.BLOCKED, 2)
    assert (resent.expires_at is None, resent.time_left) == (
        (True, timedelta(days=30)) if paused else (False, None)
    )


async def test_a_resend_does_not_replace_the_letter_with_the_remedies(world: World) -> None:
    """BLK-4: the remedies are sent, even if the mail server takes them only after a resend."""
    await invite_owner_of_a_club(world)
    await world.pass_time(JANE, timedelta(hours=2))
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    assert await refusal_of(world.client.accept(world.account, JANE)) == "blocked"
    await world.client.resend(world.account, JANE, ADMIN)
    world.smtp.answers.clear()
    await world.mailed("blocked", JANE)
    await world.mailed("invitation", JANE, times=2)


async def test_a_blocker_cleared_during_a_delivery_stays_cleared(world: World) -> None:
    """BLK-4: the delivery does not restore the blockers in its input."""
    await blocked_invitation(world)
    await world.mailed("blocked", JANE)
    await world.pass_time(JANE, timedelta(hours=2))
    world.smtp.answers["RCPT"] = Misbehaviour.HESITATE
    await world.client.resend(world.account, JANE, ADMIN)
    await world.smtp.hesitates_at("RCPT")
    await world.remove_user("club", BOB)
    await until_blocked_by(world, CARL, "room-1")
    world.smtp.go_on()
    handle = world.temporal.client.get_workflow_handle((await world.show(JANE)).workflow_id)
    await eventually(handle.describe, lambda found: not found.raw_description.pending_activities)
    await eventually(
        lambda: world.stored(JANE),
        lambda invitation: blocking_items(invitation) == [CARL, "room-1"],
    )
    assert blocking_items(await world.show(JANE)) == [CARL, "room-1"]


async def test_the_members_of_a_blocked_owner_are_invited_with_one_command(world: World) -> None:
    """BLK-6, SRC-4: the owner's invitation resumes when the last of them has left."""
    await invite_owner_of_a_club(world)
    members = world.client.invite_members(world.account, JANE, ADMIN)
    assert await refusal_of(members) == "conflict"
    assert await refusal_of(world.client.accept(world.account, JANE)) == "blocked"
    [alone] = await world.client.invite(world.account, [Person(email=BOB)], ADMIN)
    assert alone.error and alone.error["code"] == "belongs_to_other_account"
    by_member = world.client.invite_members(world.account, JANE, MEMBER)
    assert await refusal_of(by_member) == "not_authorized"
    rows = await world.client.invite_members(world.account, JANE, ADMIN)
    assert [(row.email, row.result) for row in rows] == [(BOB, "invited"), (CARL, "invited")]
    assert [row.invitation and row.invitation.link for row in rows] == [None, None]
    rows = await world.client.invite_members(world.account, JANE, ADMIN)
    assert {row.result for row in rows} == {"already_invited"}
    for member in (BOB, CARL):
        await world.until(member, "pending")
        assert (await world.client.accept(world.account, member)).state.accepted
    await until_blocked_by(world, "room-1")
    await world.remove_room("club", "room-1")
    await world.until(JANE, "pending")
    assert (await world.client.accept(world.account, JANE)).state.accepted
    assert {JANE, BOB, CARL} <= await world.members()
    assert await world.audit() == ()


async def test_members_cannot_leave_an_account_whose_owner_stays(world: World) -> None:
    """SRC-4: their invitations are valid only as long as the owner's is."""
    await blocked_invitation(world)
    await world.client.invite_members(world.account, JANE, ADMIN)
    await world.until(BOB, "pending")
    await world.client.decline(world.account, JANE)
    bobs = world.client.accept(world.account, BOB)
    assert await refusal_of(bobs) == "belongs_to_other_account"


async def test_the_members_are_invited_with_license_and_locale(world: World) -> None:
    """BLK-6, INV-15, TXT-1: each licensed one reserves a seat; one without a seat is refused."""
    await blocked_invitation(world)
    rows = await world.client.invite_members(
        world.account, JANE, ADMIN, license=License.LICENSED, locale="de"
    )
    licenses = [row.invitation and row.invitation.license for row in rows]
    assert licenses == [License.LICENSED, License.LICENSED]
    assert (await world.mailed("invitation", BOB)).language == "de"
