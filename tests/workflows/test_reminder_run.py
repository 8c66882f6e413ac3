"""Tests of the StaleInvitationReminders workflow and its schedule (REM)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from temporalio.client import ScheduleHandle
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from adapters.sql.database.schema import InvitationRow
from adapters.sql.database.transaction import writing
from clients.reminder import SCHEDULE_ID
from domain.invitation import Person
from tests.eventually import eventually
from tests.world import ADMIN, JANE, OWNER, World, refusal_of

DAY = timedelta(days=1)
MANY = 12


@pytest.fixture
async def schedule(temporal: WorkflowEnvironment) -> AsyncIterator[ScheduleHandle]:
    """Return the schedule of the namespace; delete it afterwards."""
    handle = temporal.client.get_schedule_handle(SCHEDULE_ID)
    yield handle
    try:
        await handle.delete()
    except RPCError as missing:
        assert "not found" in missing.message


async def invite_and_wait_three_days(world: World, number: int, by: str = ADMIN) -> list[str]:
    """Invite `number` people and let three days pass."""
    emails = [f"p{n}-{by.partition('@')[0]}@new.example" for n in range(number)]
    rows = await world.client.invite(world.account, [Person(email=email) for email in emails], by)
    await world.waiting(120).client.wait_until_sent(rows)
    await pass_time(world, emails, 3 * DAY)
    return emails


async def pass_time(world: World, emails: list[str], span: timedelta) -> None:
    at_once = asyncio.Semaphore(10)

    async def one(email: str) -> None:
        async with at_once:
            stored = await world.stored(email)
            await world.clock.pass_time(stored.workflow_id, span)

    await asyncio.gather(*map(one, emails))


def reminders_to(world: World) -> Counter[str]:
    return Counter(mail.to for mail in world.mails(event="reminder"))


async def until_found(world: World, number: int) -> None:
    """Wait until visibility has `number` invitations."""
    queue = world.settings.task_queue
    query = f"TaskQueue = '{queue}' AND LifecycleState IN ('pending', 'blocked')"
    await eventually(
        lambda: world.temporal.client.count_workflows(query), lambda found: found.count == number
    )


async def test_a_run_reminds_all_quiet_invitees_and_the_next_run_none(world: World) -> None:
    """REM-1, REM-2: each invitee once, each inviter one digest."""
    emails = await invite_and_wait_three_days(world, MANY)
    await until_found(world, MANY)
    reminders = world.waiting(120).reminders
    first = await reminders.run()
    assert (first.by, first.found, first.reminded, first.digests) == ("operator", MANY, MANY, 1)
    assert reminders_to(world) == Counter(emails)
    assert f"{MANY} of your invitations" in (await world.mailed("digest", ADMIN)).text
    second = await reminders.run()
    assert (second.found, second.reminded, second.digests) == (MANY, 0, 0)
    assert reminders_to(world) == Counter(emails)
    runs = (await reminders.show()).runs
    assert [(run.run_id, run.reminded) for run in runs] == [
        (second.run_id, 0),
        (first.run_id, MANY),
    ]


async def test_after_an_outage_of_two_periods_there_is_one_reminder(world: World) -> None:
    """REM-1: missed reminders are not sent; the next one keeps its distance."""
    [email] = await invite_and_wait_three_days(world, 1)
    await pass_time(world, [email], 8 * DAY)
    assert (await world.reminders.run()).reminded == 1
    assert (await world.reminders.run()).reminded == 0
    await pass_time(world, [email], 3 * DAY)
    assert (await world.reminders.run()).reminded == 0
    await pass_time(world, [email], DAY)
    assert (await world.reminders.run()).reminded == 1
    assert reminders_to(world) == {email: 2}


async def test_concurrent_runs_remind_once(world: World) -> None:
    """REM-1: both runs signal the same invitations, and each decides by itself."""
    emails = await invite_and_wait_three_days(world, 5)
    await until_found(world, 5)
    runs = await asyncio.gather(*(world.reminders.run() for _ in range(3)))
    assert sum(run.reminded for run in runs) == 5
    assert reminders_to(world) == Counter(emails)
    assert {run.run_id for run in (await world.reminders.show()).runs} == {
        run.run_id for run in runs
    }


async def test_each_inviter_has_one_digest_of_their_own(world: World) -> None:
    """REM-2: the owner replaces an inviter who has left."""
    await invite_and_wait_three_days(world, 2, by=ADMIN)
    await invite_and_wait_three_days(world, 3, by=OWNER)
    await until_found(world, 5)
    run = await world.reminders.run()
    assert (run.reminded, run.digests) == (5, 2)
    assert "2 of your invitations" in (await world.mailed("digest", ADMIN)).text
    assert "3 of your invitations" in (await world.mailed("digest", OWNER)).text
    await world.remove_user(world.account, ADMIN)
    emails = [f"p{n}-admin@new.example" for n in range(2)]
    await pass_time(world, emails, 4 * DAY)
    run = await world.reminders.run()
    assert (run.reminded, run.digests) == (2, 1)
    assert "2 of your invitations" in (await world.mailed("digest", OWNER, times=2)).text


async def test_an_inviter_without_news_gets_no_second_digest(world: World) -> None:
    """REM-2: the next run has no news."""
    pending = await world.pending(JANE)
    long_ago = datetime.now(UTC) - 4 * DAY
    async with writing(world.store.engine) as session:
        await session.execute(update(InvitationRow).values(quiet_since=long_ago))
    runs = [await world.reminders.run() for _ in range(2)]
    assert [(run.reminded, run.digests) for run in runs] == [(0, 1), (0, 0)]
    assert pending.email in (await world.mailed("digest", ADMIN)).text


async def test_an_ended_invitation_is_not_signaled(world: World) -> None:
    """REM-1: nor is an invitation that is not delivered yet."""
    await invite_and_wait_three_days(world, 2)
    await world.client.decline(world.account, "p0-admin@new.example")
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await world.invite(JANE)
    await until_found(world, 1)
    world.smtp.answers.clear()
    await world.reminders.run()
    assert reminders_to(world) == {"p1-admin@new.example": 1}


@pytest.mark.usefixtures("schedule")
async def test_the_schedule_is_installed_paused_and_resumed(world: World) -> None:
    """`reminders install` may be repeated: it changes the interval and nothing else."""
    assert await refusal_of(world.reminders.pause()) == "not_found"
    assert (await world.reminders.show()).schedule is None
    installed = await world.reminders.install(DAY)
    assert (installed.every, installed.paused) == ("1d", False)
    assert len(installed.next) > 0
    paused = await world.reminders.pause()
    assert (paused.paused, paused.next) == (True, ())
    assert await world.reminders.pause() == paused
    again = await world.reminders.install(timedelta(hours=12))
    assert (again.every, again.paused) == ("12h", True)
    assert not (await world.reminders.resume()).paused
    assert (await world.reminders.show()).schedule == await world.reminders.resume()


async def test_a_scheduled_run_signals_only_quiet_invitations(
    world: World, schedule: ScheduleHandle
) -> None:
    """REM-1: found by `QuietSince`."""
    await world.pending(JANE)
    await until_found(world, 1)
    await world.reminders.install(DAY)
    await schedule.trigger()
    reminders = await eventually(
        world.reminders.show, lambda found: any(run.ended_at for run in found.runs)
    )
    [run] = reminders.runs
    assert (run.by, run.found, run.reminded) == ("schedule", 0, 0)
