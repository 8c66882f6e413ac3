"""Invitees who are quiet are reminded, never too often and never after the end (REM-1)."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.service import RPCError, RPCStatusCode

from domain.error import Refused
from domain.invitation import Choice, Invitation
from domain.policy import Policy
from tests.smtp_server import Misbehaviour
from tests.world import ADMIN, JANE, World, refusal_of

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


async def signal(world: World, *arguments: object) -> None:
    """Tell the workflow; the answer to a query shows that the signal was dealt with."""
    invitation = await world.show(JANE)
    handle = world.temporal.client.get_workflow_handle(invitation.workflow_id)
    await handle.signal("remind", args=arguments)
    await world.show(JANE)


async def reminded(world: World, times: int) -> Invitation:
    """The invitation with so many reminders, each of which was sent."""
    await world.mailed("reminder", JANE, times)
    async with asyncio.timeout(15):
        while (invitation := await world.show(JANE)).reminders_sent != times:
            await asyncio.sleep(0.02)
    return invitation


async def test_who_is_quiet_for_three_days_is_reminded_at_most_three_times(world: World) -> None:
    """REM-1: after 3 days of quiet, 4 days apart, with the link that works and the deadline."""
    pending = await world.pending(JANE)
    await world.pass_time(JANE, 3 * DAY - HOUR)
    await signal(world)
    assert world.mails(event="reminder") == []
    await world.pass_time(JANE, HOUR)
    await signal(world, "run-1")
    first = await reminded(world, 1)
    assert str(pending.link) in world.mails(event="reminder")[0].text
    assert (first.state, first.reminded_by) == (pending.state, "run-1")
    assert (await world.stored(JANE)).reminders_sent == 1
    await world.pass_time(JANE, 4 * DAY - HOUR)
    await signal(world)
    assert (await world.show(JANE)).reminders_sent == 1
    for times in (2, 3):
        await world.pass_time(JANE, 4 * DAY)
        await signal(world)
        await reminded(world, times)
    await world.pass_time(JANE, 8 * DAY)
    await signal(world)
    last = await world.show(JANE)
    assert [entry.event for entry in last.journal].count("remind") == 3
    assert len(world.mails(event="reminder")) == 3


async def test_many_signals_at_once_are_one_reminder(world: World) -> None:
    """REM-1: a doubled run, or one after an outage, does not remind twice."""
    await world.pending(JANE)
    await world.pass_time(JANE, 12 * DAY)
    await asyncio.gather(*(signal(world, f"run-{number}") for number in range(5)))
    await reminded(world, 1)
    await signal(world)
    assert (await world.show(JANE)).reminders_sent == 1
    assert len(world.mails(event="reminder")) == 1


async def test_who_is_blocked_is_reminded_of_the_remedies(world: World) -> None:
    """REM-1: and stays blocked, with the same blockers."""
    await world.imported("club", plan="free", users=[(JANE, "owner"), ("b@c.example", "member")])
    await world.pending(JANE)
    assert await refusal_of(world.client.accept(world.account, JANE)) == "blocked"
    blocked = await world.show(JANE)
    await world.pass_time(JANE, 3 * DAY)
    await signal(world)
    again = await reminded(world, 1)
    assert (again.state, again.blockers) == (blocked.state, blocked.blockers)
    assert "b@c.example" in world.mails(event="reminder")[0].text
    await world.remove_user("club", "b@c.example")
    await world.until(JANE, "pending")


async def test_an_answer_or_a_resend_is_news_too(world: World) -> None:
    """REM-1: quiet counts from the last e-mail to the invitee."""
    await world.pending(JANE)
    await world.pass_time(JANE, 2 * DAY)
    await world.client.resend(world.account, JANE, ADMIN)
    await world.mailed("invitation", JANE, times=2)
    await world.pass_time(JANE, 2 * DAY)
    await signal(world)
    assert world.mails(event="reminder") == []
    await world.pass_time(JANE, DAY)
    await signal(world)
    await reminded(world, 1)


async def test_a_reminder_that_bounces_ends_in_undeliverable(world: World) -> None:
    """INV-4, REM-1."""
    await world.pending(JANE)
    await world.pass_time(JANE, 3 * DAY)
    world.smtp.unknown.add(JANE)
    await signal(world)
    ended = await world.until(JANE, "undeliverable")
    assert ended.reminders_sent == 0
    await world.mailed("undeliverable", ADMIN)


@pytest.mark.parametrize("end", ["declined", "revoked", "completed", "expired"])
async def test_what_waits_for_the_mail_server_does_not_go_out_after_the_end(
    world: World, end: str
) -> None:
    """REM-1: an invitation that has ended stops its reminder."""
    world.client = replace(world.client, policy=Policy(invitation_ttl_days=4))
    pending = await world.pending(JANE)
    # Attempts on the way of a jump are made at once, so it must be a short one.
    await world.go_to(JANE, pending.deadline - MINUTE)
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await signal(world)
    async with asyncio.timeout(15):
        while "MAIL" not in world.smtp.commands[-2:]:
            await asyncio.sleep(0.02)
    match end:
        case "declined":
            await world.client.decline(world.account, JANE)
        case "revoked":
            await world.client.revoke(world.account, JANE, ADMIN)
        case "completed":
            await world.client.accept(world.account, JANE)
        case _:
            await world.go_to(JANE, pending.deadline)
    world.smtp.answers.clear()
    ended = await world.until(JANE, end)
    # Longer than the pause before the next attempt.
    await asyncio.sleep(3)
    assert world.mails(event="reminder") == []
    assert ended.reminders_sent == 0


async def test_an_end_while_the_mail_server_hesitates_comes_first(world: World) -> None:
    """REM-1: the store is looked at with the mail server waiting for the letter."""
    await world.pending(JANE)
    await world.pass_time(JANE, 3 * DAY)
    world.smtp.answers["RCPT"] = Misbehaviour.HESITATE
    await signal(world)
    await world.smtp.hesitates_at("RCPT")
    await world.client.decline(world.account, JANE)
    world.smtp.go_on()
    await world.mailed("declined", ADMIN)
    assert world.mails(event="reminder") == []


async def test_a_reminder_that_was_overtaken_is_not_sent(world: World) -> None:
    """REM-1: the resend was an e-mail of its own; the next reminder waits for its time."""
    await world.pending(JANE)
    await world.pass_time(JANE, 3 * DAY)
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await signal(world)
    await world.client.resend(world.account, JANE, ADMIN)
    world.smtp.answers.clear()
    await world.mailed("invitation", JANE, times=2)
    await world.pass_time(JANE, 3 * DAY)
    await signal(world)
    await reminded(world, 1)


async def test_ends_and_reminders_in_the_same_moment(world: World) -> None:
    """REM-1: whatever wins, no reminder stands after the end."""
    await world.pending(JANE)
    await world.pass_time(JANE, 3 * DAY)

    async def accept() -> None:
        try:
            await world.client.accept(world.account, JANE, Choice.REFUND)
        except Refused as refused:
            raise AssertionError(refused.message) from None

    async def remind() -> None:
        try:
            await signal(world)
        except RPCError as failed:
            # It has ended already.
            if failed.status is not RPCStatusCode.NOT_FOUND:
                raise

    await asyncio.gather(remind(), accept(), remind())
    ended = await world.until(JANE, "completed")
    events = [entry.event for entry in ended.journal]
    assert "remind" not in events[events.index("accept") :]
    assert events.count("remind") <= 1
    assert await world.audit() == ()
