"""Stale invitations by inviter, and the runs of reminders, in both databases (REM)."""

from datetime import timedelta

from domain.invitation import Invitation, Invite
from domain.journal import ENGINE
from domain.reminder import ReminderRun
from states.invitation import InvitationMachine
from states.lifecycle import after
from tests.builders.invitation import ADMIN, NOON, OWNER, Town, ended

DAY = timedelta(days=1)
RUN = ReminderRun(run_id="run-1", started_at=NOON + 3 * DAY, by="schedule")


async def reminded(town: Town, invite: Invite, pending: Invitation) -> None:
    record = after(
        InvitationMachine,
        pending,
        "remind",
        at=RUN.started_at,
        by=ENGINE,
        reminders_sent=1,
        reminded_by=RUN.run_id,
    )
    await town.store.invitations.record(invite.invitation_id, record)


async def test_a_run_is_kept_as_it_stands(town: Town) -> None:
    reminders = town.store.reminders
    await reminders.keep(RUN)
    done = RUN.model_copy(update={"found": 2, "digests": 1, "ended_at": NOON + 4 * DAY})
    later = RUN.model_copy(update={"run_id": "run-2", "started_at": NOON + 4 * DAY})
    await reminders.keep(done)
    await reminders.keep(later)
    assert await reminders.runs() == (later, done)


async def test_who_is_reminded_late_counts_for_the_run_that_asked(town: Town) -> None:
    """A mail server may take a reminder when the run has long ended."""
    await town.store.reminders.keep(RUN)
    invite = town.invite("jane@example.com")
    pending = await town.pending(invite)
    assert await town.store.reminders.reminded(RUN.run_id) == 0
    await reminded(town, invite, pending)
    assert await town.store.reminders.reminded(RUN.run_id) == 1
    assert [run.reminded for run in await town.store.reminders.runs()] == [1]


async def test_each_inviter_is_told_of_what_is_stale_and_of_nothing_else(town: Town) -> None:
    """REM-2: what is quiet, and what this run has reminded of; the longest quiet first."""
    reminders, quiet_before = town.store.reminders, NOON
    just, quiet = town.invite("just@example.com"), town.invite("quiet@example.com")
    by_owner, answered = town.invite("o@example.com", by=OWNER), town.invite("no@example.com")
    news = town.invite("news@example.com")
    await reminded(town, just, await town.pending(just))
    await town.pending(quiet)
    await town.pending(by_owner)
    await town.pending(news, at=NOON + DAY)
    await town.store.invitations.end(answered.invitation_id, ended(await town.pending(answered)))
    assert list(await reminders.accounts_to_notify(RUN.run_id, quiet_before)) == ["acme"]
    told = await reminders.inviters_to_notify("acme", RUN.run_id, quiet_before)
    assert {
        inviter.reader.email: [(each.email, each.reminded) for each in inviter.invitations]
        for inviter in told
    } == {
        ADMIN: [("quiet@example.com", False), ("just@example.com", True)],
        OWNER: [("o@example.com", False)],
    }
    assert await reminders.inviters_to_notify("acme", "another run", NOON - DAY) == []


async def test_when_an_inviter_was_told_last_is_known_beyond_the_run(town: Town) -> None:
    """REM-2: of another run than this one, whose repeat must decide the same again."""
    letters, reminders = town.store.letters, town.store.reminders
    for number in (1, 2, 3):
        began = {"run_id": f"run-{number}", "started_at": NOON + number * DAY}
        await reminders.keep(RUN.model_copy(update=began))
    await letters.record_sent("digest.eve.run-1", NOON)
    await letters.record_sent("digest.eve.run-2", NOON)
    await letters.record_sent("digest.eve.run-3", NOON)
    await letters.record_sent("digest.bob.run-3", NOON)
    await letters.record_sent("invitation.1.run-1", NOON)
    assert await reminders.last_digests("run-3") == {"digest.eve": NOON + 2 * DAY}
