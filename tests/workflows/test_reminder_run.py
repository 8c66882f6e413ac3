"""Tests of the StaleInvitationReminders workflow and its schedule (REM)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text, update
from temporalio.client import ScheduleActionStartWorkflow, ScheduleHandle
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from adapters.sql.database.schema import AccountRow, InvitationRow
from adapters.sql.database.transaction import writing
from clients.reminder import SCHEDULE_ID
from domain.invitation import Person
from domain.policy import Policy
from domain.reminder import ReminderRun
from runtime.clients import Clients
from runtime.reminder import InvitationSignals
from tests.eventually import eventually
from tests.world import ADMIN, JANE, OWNER, World, refusal_of

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
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


async def test_a_run_reminds_all_quiet_invitees_and_the_next_run_none(world: World) -> None:
    """REM-1, REM-2: each invitee once, each inviter one digest."""
    emails = await invite_and_wait_three_days(world, MANY)
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


async def test_an_invitee_who_had_the_last_reminder_is_not_signaled(world: World) -> None:
    """REM-1: nothing is sent to their workflow until they answer."""
    settings = world.settings.model_copy(update={"policy": Policy(remind_at_most=1)})
    world.clients = Clients.connected(settings, world.store, world.temporal.client)
    [email] = await invite_and_wait_three_days(world, 1)
    first = await world.reminders.run()
    assert (first.found, first.reminded) == (1, 1)
    await pass_time(world, [email], 8 * DAY)
    events = await world.events(email)
    second = await world.reminders.run()
    assert (second.found, second.reminded) == (0, 0)
    assert await world.events(email) == events


@pytest.mark.parametrize("change", [{"suspended": True}, {"plan": "free"}], ids=str)
async def test_nobody_is_reminded_of_an_account_that_cannot_be_joined(
    world: World, change: dict[str, object]
) -> None:
    """REM-1, REM-2: neither invitee nor inviter, until accepting would be possible again."""
    [email] = await invite_and_wait_three_days(world, 1)
    await set_account(world, change)
    run = await world.reminders.run()
    assert (run.found, run.reminded, run.digests) == (0, 0, 0)
    assert world.mails(event="reminder") == world.mails(event="digest") == []
    await set_account(world, {"suspended": False, "plan": "business"})
    run = await world.reminders.run()
    assert (run.found, run.reminded, run.digests) == (1, 1, 1)
    assert reminders_to(world) == {email: 1}


async def set_account(world: World, change: dict[str, object]) -> None:
    async with writing(world.store.engine) as session:
        await session.execute(
            update(AccountRow).where(AccountRow.id == world.account).values(change)
        )


async def test_a_signal_starts_no_workflow(world: World) -> None:
    """REM-1: nor does one that Temporal refuses stop the run."""
    signals = InvitationSignals(world.temporal.client)
    workflow_id = f"invitation/{world.account}/lost"
    assert not await signals.remind(workflow_id, "run-1")
    assert not await signals.remind("longer than Temporal allows" * 100, "run-1")
    with pytest.raises(RPCError, match="not found"):
        await world.temporal.client.get_workflow_handle(workflow_id).describe()


async def test_an_inviter_without_news_gets_no_second_digest(world: World) -> None:
    """REM-2: the next run has no news."""
    pending = await world.pending(JANE)
    await make_stale(world)
    runs = [await world.reminders.run() for _ in range(2)]
    assert [(run.reminded, run.digests) for run in runs] == [(0, 1), (0, 0)]
    assert pending.email in (await world.mailed("digest", ADMIN)).text


async def test_an_ended_invitation_is_not_signaled(world: World) -> None:
    """REM-1: nor is an invitation that is not delivered yet."""
    await invite_and_wait_three_days(world, 2)
    await world.client.decline(world.account, "p0-admin@new.example")
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await world.invite(JANE)
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
    """REM-1: quiet by their own clocks."""
    await world.pending(JANE)
    await world.reminders.install(DAY)
    await schedule.trigger()
    reminders = await eventually(
        world.reminders.show, lambda found: any(run.ended_at for run in found.runs)
    )
    [run] = reminders.runs
    assert (run.by, run.found, run.reminded) == ("schedule", 0, 0)


@pytest.fixture
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the longest run: skipping time does not end a run that no worker continues."""
    for limit in ("LONGEST_RUN", "SHORTEST_RUN"):
        monkeypatch.setattr(f"clients.reminder.{limit}", timedelta(seconds=2))


@pytest.mark.usefixtures("short_runs")
async def test_a_stuck_scheduled_run_ends_before_the_next(
    world_without_worker: World, schedule: ScheduleHandle
) -> None:
    """REM-1, OPS-5: the next run is not skipped, and `reminders show` reports how both ended."""
    world = world_without_worker
    await world.reminders.install(DAY)
    await schedule.trigger()
    runs = await eventually(lambda: last_runs(world))
    assert [(run.by, run.failure, run.found) for run in runs] == [("schedule", "timed_out", 0)]
    await schedule.trigger()
    following = await eventually(lambda: running(world))
    await world.temporal.client.get_workflow_handle(following[0]).terminate()
    runs = await eventually(lambda: last_runs(world), lambda runs: len(runs) == 2)
    assert [run.failure for run in runs] == ["terminated", "timed_out"]


@pytest.mark.usefixtures("short_runs")
async def test_a_run_that_cannot_read_the_store_fails_and_the_next_reminds(
    world: World,
) -> None:
    """REM-1, OPS-5: no retry fits into its time; its record gets the end that Temporal reports."""
    emails = await invite_and_wait_three_days(world, 2)
    await rename_table(world, "accounts", "accounts_away")
    assert (await world.waiting(1).reminders.run()).ended_at is None
    [failed] = await eventually(lambda: last_runs(world), lambda runs: runs[0].failure is not None)
    assert (failed.by, failed.failure, failed.found) == ("operator", "failed", 0)
    assert failed.ended_at is not None
    await rename_table(world, "accounts_away", "accounts")
    assert (await world.reminders.run()).reminded == 2
    assert reminders_to(world) == Counter(emails)


async def test_a_mail_server_that_is_away_does_not_delay_a_run(world: World) -> None:
    """REM-2, OPS-2: the digest is queued, and sent when the mail server is back."""
    await world.pending(JANE)
    await make_stale(world)
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    run = await world.reminders.run()
    assert (run.digests, run.failure) == (1, None)
    assert run.ended_at is not None
    world.smtp.answers.clear()
    await world.mailed("digest", ADMIN)
    assert (await world.reminders.run()).digests == 0


async def make_stale(world: World) -> None:
    """Set the last contact back in the store; by its workflow no reminder is due."""
    async with writing(world.store.engine) as session:
        await session.execute(update(InvitationRow).values(quiet_since=datetime.now(UTC) - 4 * DAY))


@pytest.mark.parametrize(
    ("every", "hours"), [(DAY, 12), (7 * DAY, 12), (12 * HOUR, 10.8), (timedelta(minutes=1), 1 / 6)]
)
async def test_a_run_has_less_time_than_the_interval(
    world: World, schedule: ScheduleHandle, every: timedelta, hours: float
) -> None:
    """REM-1: at most twelve hours, and at least the ten minutes that a run may need."""
    await world.reminders.install(every)
    action = (await schedule.describe()).schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    assert action.execution_timeout == hours * HOUR


async def rename_table(world: World, table: str, name: str) -> None:
    async with writing(world.store.engine) as session:
        await session.execute(text(f"ALTER TABLE {table} RENAME TO {name}"))


async def running(world: World) -> list[str]:
    """Return the ids of the runs in progress."""
    query = f"TaskQueue = '{world.settings.task_queue}' AND ExecutionStatus = 'Running'"
    return [each.id async for each in world.temporal.client.list_workflows(query)]


async def last_runs(world: World) -> tuple[ReminderRun, ...]:
    return (await world.reminders.show()).runs
