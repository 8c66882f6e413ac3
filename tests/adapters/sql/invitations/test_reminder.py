"""Stale invitations by inviter, and the runs of reminders in the store (REM)."""

from datetime import timedelta

from domain.invitation import Invitation, Invite
from domain.journal import ENGINE
from domain.reminder import ReminderRun
from states.invitation import InvitationMachine
from states.lifecycle import after
from tests.builders.account import ADMIN, NOON, OWNER
from tests.builders.invitation import StoreScenario, ended

DAY = timedelta(days=1)
RUN = ReminderRun(run_id="run-1", started_at=NOON + 3 * DAY, by="schedule")


async def reminded(scenario: StoreScenario, invite: Invite, pending: Invitation) -> None:
    record = after(
        InvitationMachine,
        pending,
        "remind",
        at=RUN.started_at,
        by=ENGINE,
        reminders_sent=1,
        reminded_by=RUN.run_id,
    )
    await scenario.store.invitations.record(invite.invitation_id, record)


async def test_the_progress_of_a_run_is_stored(scenario: StoreScenario) -> None:
    """REM-1: storing a run again updates it; the newest run is listed first."""
    reminders = scenario.store.reminders
    await reminders.keep(RUN)
    done = RUN.model_copy(update={"found": 2, "digests": 1, "ended_at": NOON + 4 * DAY})
    later = RUN.model_copy(update={"run_id": "run-2", "started_at": NOON + 4 * DAY})
    await reminders.keep(done)
    await reminders.keep(later)
    assert await reminders.runs() == (later, done)


async def test_a_late_reminder_counts_for_the_run_that_requested_it(
    scenario: StoreScenario,
) -> None:
    """REM-1: a mail server may accept a reminder after its run has ended."""
    await scenario.store.reminders.keep(RUN)
    invite = scenario.new_invite("jane@example.com")
    pending = await scenario.send(invite)
    assert await scenario.store.reminders.reminded(RUN.run_id) == 0
    await reminded(scenario, invite, pending)
    assert await scenario.store.reminders.reminded(RUN.run_id) == 1
    assert [run.reminded for run in await scenario.store.reminders.runs()] == [1]


async def test_a_digest_has_quiet_and_just_reminded_invitations_only(
    scenario: StoreScenario,
) -> None:
    """REM-2: of one inviter, the longest quiet first."""
    reminders, quiet_before = scenario.store.reminders, NOON
    just, quiet = scenario.new_invite("just@example.com"), scenario.new_invite("quiet@example.com")
    by_owner, answered = (
        scenario.new_invite("o@example.com", by=OWNER),
        scenario.new_invite("no@example.com"),
    )
    news = scenario.new_invite("news@example.com")
    await reminded(scenario, just, await scenario.send(just))
    await scenario.send(quiet)
    await scenario.send(by_owner)
    await scenario.send(news, at=NOON + DAY)
    await scenario.store.invitations.end(
        answered.invitation_id, ended(await scenario.send(answered))
    )
    assert list(await reminders.accounts_to_notify(RUN.run_id, quiet_before)) == ["acme"]
    inviters = await reminders.inviters_to_notify("acme", RUN.run_id, quiet_before)
    assert {
        inviter.reader.email: [(each.email, each.reminded) for each in inviter.invitations]
        for inviter in inviters
    } == {
        ADMIN: [("quiet@example.com", False), ("just@example.com", True)],
        OWNER: [("o@example.com", False)],
    }
    assert await reminders.inviters_to_notify("acme", "another run", NOON - DAY) == []


async def test_the_time_of_an_inviter_s_last_digest_is_that_of_another_run(
    scenario: StoreScenario,
) -> None:
    """REM-2: a repeat of the same run must decide as before."""
    letters, reminders = scenario.store.letters, scenario.store.reminders
    for number in (1, 2, 3):
        began = {"run_id": f"run-{number}", "started_at": NOON + number * DAY}
        await reminders.keep(RUN.model_copy(update=began))
    await letters.record_sent("digest.eve.run-1", NOON)
    await letters.record_sent("digest.eve.run-2", NOON)
    await letters.record_sent("digest.eve.run-3", NOON)
    await letters.record_sent("digest.bob.run-3", NOON)
    await letters.record_sent("invitation.1.run-1", NOON)
    assert await reminders.last_digests("run-3") == {"digest.eve": NOON + 2 * DAY}
