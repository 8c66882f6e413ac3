"""Tests of the reminders of one invitation (REM-1)."""

import asyncio
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.service import RPCError, RPCStatusCode

from domain.error import Refused
from domain.invitation import Choice, Invitation
from domain.policy import Policy
from tests.eventually import eventually
from tests.smtp_server import Misbehaviour
from tests.world import ADMIN, JANE, OWNER, World, refusal_of

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
USERS = [(OWNER, "owner"), (ADMIN, "admin")]


async def signal_reminder(world: World, *arguments: object) -> None:
    """Signal the workflow, and wait until the signal is handled."""
    invitation = await world.show(JANE)
    handle = world.temporal.client.get_workflow_handle(invitation.workflow_id)
    await handle.signal("remind", args=arguments)
    await world.show(JANE)


async def until_reminded(world: World, times: int) -> Invitation:
    """Return the invitation after `times` reminders."""
    await world.mailed("reminder", JANE, times)
    return await eventually(
        lambda: world.show(JANE), lambda invitation: invitation.reminders_sent == times
    )


async def test_an_invitee_quiet_for_three_days_is_reminded_at_most_three_times(
    world: World,
) -> None:
    """REM-1: after 3 quiet days, 4 days apart, with the valid link and the deadline."""
    pending = await world.pending(JANE)
    await world.pass_time(JANE, 3 * DAY - HOUR)
    await signal_reminder(world)
    assert world.mails(event="reminder") == []
    await world.pass_time(JANE, HOUR)
    await signal_reminder(world, "run-1")
    first = await until_reminded(world, 1)
    assert str(pending.link) in world.mails(event="reminder")[0].text
    assert (first.state, first.reminded_by) == (pending.state, "run-1")
    assert (await world.stored(JANE)).reminders_sent == 1
    await world.pass_time(JANE, 4 * DAY - HOUR)
    await signal_reminder(world)
    assert (await world.show(JANE)).reminders_sent == 1
    for times in (2, 3):
        await world.pass_time(JANE, 4 * DAY)
        await signal_reminder(world)
        await until_reminded(world, times)
    await world.pass_time(JANE, 8 * DAY)
    await signal_reminder(world)
    last = await world.show(JANE)
    assert [entry.event for entry in last.journal].count("remind") == 3
    assert len(world.mails(event="reminder")) == 3


async def test_an_invitee_who_unsubscribes_is_not_reminded_again(world: World) -> None:
    """REM-1, RFC 8058: the invitation itself stays open, whatever the workflow writes later."""
    await world.pending(JANE)
    await world.pass_time(JANE, 3 * DAY)
    await signal_reminder(world)
    await until_reminded(world, 1)
    [mail] = world.mails(event="reminder")
    found = re.search(r"http\S+/unsubscribe/\S+", mail.text)
    assert found
    for _ in range(2):
        await world.client.unsubscribe(found[0])
    await world.pass_time(JANE, 8 * DAY)
    await signal_reminder(world)
    await world.client.resend(world.account, JANE, ADMIN)
    await world.mailed("invitation", JANE, 2)
    await world.pass_time(JANE, 8 * DAY)
    await signal_reminder(world)
    stored = await world.stored(JANE)
    assert (stored.reminders_ended, stored.reminders_sent) == (True, 1)
    assert len(world.mails(event="reminder")) == 1
    assert (await world.client.accept(world.account, JANE)).state.accepted
    assert await refusal_of(world.client.unsubscribe("forged")) == "not_found"


async def test_concurrent_signals_send_one_reminder(world: World) -> None:
    """REM-1: a repeated run, or one after an outage, does not remind twice."""
    await world.pending(JANE)
    await world.pass_time(JANE, 12 * DAY)
    await asyncio.gather(*(signal_reminder(world, f"run-{number}") for number in range(5)))
    await until_reminded(world, 1)
    await signal_reminder(world)
    assert (await world.show(JANE)).reminders_sent == 1
    assert len(world.mails(event="reminder")) == 1


async def test_a_blocked_invitee_is_reminded_of_the_remedies(world: World) -> None:
    """REM-1: the invitation stays blocked with the same blockers."""
    await world.imported("club", plan="free", users=[(JANE, "owner"), ("b@c.example", "member")])
    await world.pending(JANE)
    assert await refusal_of(world.client.accept(world.account, JANE)) == "blocked"
    blocked = await world.show(JANE)
    await world.pass_time(JANE, 3 * DAY)
    await signal_reminder(world)
    again = await until_reminded(world, 1)
    assert (again.state, again.blockers) == (blocked.state, blocked.blockers)
    assert "b@c.example" in world.mails(event="reminder")[0].text
    await world.remove_user("club", "b@c.example")
    await world.until(JANE, "pending")


async def test_an_answer_or_a_resend_postpones_the_reminder(world: World) -> None:
    """REM-1: the quiet days count from the last e-mail to the invitee."""
    await world.pending(JANE)
    await world.pass_time(JANE, 2 * DAY)
    await world.client.resend(world.account, JANE, ADMIN)
    await world.mailed("invitation", JANE, times=2)
    await world.pass_time(JANE, 2 * DAY)
    await signal_reminder(world)
    assert world.mails(event="reminder") == []
    await world.pass_time(JANE, DAY)
    await signal_reminder(world)
    await until_reminded(world, 1)


async def test_a_reminder_that_bounces_ends_in_undeliverable(world: World) -> None:
    """INV-4, REM-1: the inviter is notified."""
    await world.pending(JANE)
    await world.pass_time(JANE, 3 * DAY)
    world.smtp.unknown.add(JANE)
    await signal_reminder(world)
    ended = await world.until(JANE, "undeliverable")
    assert ended.reminders_sent == 0
    await world.mailed("undeliverable", ADMIN)


@pytest.mark.parametrize("end", ["declined", "revoked", "completed", "expired"])
async def test_a_reminder_waiting_for_the_mail_server_is_not_sent_after_the_end(
    world: World, end: str
) -> None:
    """REM-1: the end cancels the reminder."""
    world.clients.invitations = replace(world.client, policy=Policy(invitation_ttl_days=4))
    pending = await world.pending(JANE)
    # A time skip runs the retries within it at once, so it must be short.
    await world.go_to(JANE, pending.deadline - MINUTE)
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await signal_reminder(world)
    await eventually(lambda: "MAIL" in world.smtp.commands[-2:])
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


async def test_an_end_while_the_mail_server_is_slow_stops_the_reminder(world: World) -> None:
    """REM-1: the store is checked when the mail server is ready for the letter."""
    await world.pending(JANE)
    await world.pass_time(JANE, 3 * DAY)
    world.smtp.answers["RCPT"] = Misbehaviour.HESITATE
    await signal_reminder(world)
    await world.smtp.hesitates_at("RCPT")
    await world.client.decline(world.account, JANE)
    world.smtp.go_on()
    await world.mailed("declined", ADMIN)
    assert world.mails(event="reminder") == []


async def test_no_reminder_is_sent_or_counted_while_the_account_cannot_be_joined(
    world: World,
) -> None:
    """REM-1, INV-12: the account is suspended while the mail server is slow."""
    await world.pending(JANE)
    await world.pass_time(JANE, 3 * DAY)
    world.smtp.answers["RCPT"] = Misbehaviour.HESITATE
    await signal_reminder(world)
    await world.smtp.hesitates_at("RCPT")
    await world.imported(world.account, users=USERS, suspended=True)
    world.smtp.go_on()
    world.smtp.answers.clear()
    await until_dropped(world)
    await signal_reminder(world)
    await until_dropped(world, times=2)
    assert world.mails(event="reminder") == []
    assert (await world.show(JANE)).reminders_sent == 0
    await world.imported(world.account, users=USERS)
    await signal_reminder(world)
    await until_reminded(world, 1)


async def until_dropped(world: World, times: int = 1) -> None:
    """Wait until the workflow knows that `times` reminders were not sent."""
    completed = "EVENT_TYPE_ACTIVITY_TASK_COMPLETED"
    # The first activity delivered the invitation.
    await eventually(
        lambda: world.events(JANE), lambda events: events.count(completed) == 1 + times
    )


async def test_a_reminder_overtaken_by_a_resend_is_not_sent(world: World) -> None:
    """REM-1: the resend counts as an e-mail; the next reminder is due later."""
    await world.pending(JANE)
    await world.pass_time(JANE, 3 * DAY)
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await signal_reminder(world)
    await world.client.resend(world.account, JANE, ADMIN)
    world.smtp.answers.clear()
    await world.mailed("invitation", JANE, times=2)
    await world.pass_time(JANE, 3 * DAY)
    await signal_reminder(world)
    await until_reminded(world, 1)


async def test_no_reminder_is_recorded_after_a_concurrent_end(world: World) -> None:
    """REM-1: the acceptance and the signals arrive in any order."""
    await world.pending(JANE)
    await world.pass_time(JANE, 3 * DAY)

    async def accept() -> None:
        try:
            await world.client.accept(world.account, JANE, Choice.REFUND)
        except Refused as refused:
            raise AssertionError(refused.message) from None

    async def remind() -> None:
        try:
            await signal_reminder(world)
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
