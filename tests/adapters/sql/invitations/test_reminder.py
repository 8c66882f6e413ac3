"""Invitations to remind, stale ones by inviter, and the runs of reminders in the store (REM)."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from adapters.sql.database.schema import AccountRow
from adapters.sql.database.transaction import writing
from adapters.sql.invitations.reminder import SqlReminders
from adapters.sql.membership import require_account
from domain.invitation import Invitation, Invite
from domain.journal import ENGINE
from domain.reminder import ReminderRun
from states.invitation import InvitationMachine
from states.lifecycle import after
from tests.builders.account import ADMIN, NOON, OWNER
from tests.builders.invitation import StoreScenario, ended

DAY = timedelta(days=1)
RUN = ReminderRun(run_id="run-1", started_at=NOON + 3 * DAY, by="schedule")


async def reminded(
    scenario: StoreScenario, invite: Invite, pending: Invitation, times: int = 1
) -> None:
    record = after(
        InvitationMachine,
        pending,
        "remind",
        at=RUN.started_at,
        by=ENGINE,
        reminders_sent=times,
        reminded_by=RUN.run_id,
    )
    await scenario.store.invitations.record(invite.invitation_id, record)


async def test_pages_stay_valid_while_invitations_begin_and_end(scenario: StoreScenario) -> None:
    """REM-1: no invitation between the others is left out, and none is listed twice."""
    reminders = SqlReminders(scenario.engine, page_size=2)
    invites = [scenario.new_invite(f"{name}@example.com") for name in "abcef"]
    pending = [await scenario.send(invite) for invite in invites]
    first = await reminders.page_to_remind(None, None)
    await scenario.store.invitations.end(invites[1].invitation_id, ended(pending[1]))
    await scenario.send(scenario.new_invite("d@example.com"))
    second = await reminders.page_to_remind(None, first.last)
    third = await reminders.page_to_remind(None, second.last)
    assert [
        [
            workflow_id.removeprefix("invitation/acme/key-of-")[0]
            for workflow_id in page.workflow_ids
        ]
        for page in (first, second, third)
    ] == [["a", "b"], ["c", "d"], ["e", "f"]]
    assert (await reminders.page_to_remind(None, third.last)).last is None


async def test_unsubscribed_invitees_are_not_signaled(scenario: StoreScenario) -> None:
    """REM-1: also after another write of the workflow, which does not know it."""
    invite, other = scenario.new_invite("a@example.com"), scenario.new_invite("b@example.com")
    pending = await scenario.send(invite)
    await scenario.send(other)
    await scenario.store.invitations.end_reminders(invite.invitation_id)
    await reminded(scenario, invite, pending)
    page = await scenario.store.reminders.page_to_remind(None, None)
    assert page.workflow_ids == [other.workflow_id]


async def test_only_quiet_invitations_that_may_be_reminded_are_found(
    scenario: StoreScenario,
) -> None:
    """REM-1: not the one that has had its last reminder, the fresh, the answered, the unsent."""
    quiet, fresh = scenario.new_invite("quiet@example.com"), scenario.new_invite("new@example.com")
    exhausted, once = scenario.new_invite("x@example.com"), scenario.new_invite("once@example.com")
    answered = scenario.new_invite("answered@example.com")
    await scenario.send(quiet)
    await scenario.send(fresh, at=NOON + DAY)
    await reminded(scenario, exhausted, await scenario.send(exhausted), times=3)
    await reminded(scenario, once, await scenario.send(once), times=1)
    await scenario.store.invitations.end(
        answered.invitation_id, ended(await scenario.send(answered))
    )
    await scenario.claim(scenario.new_invite("unsent@example.com"))
    reminders = scenario.store.reminders
    everyone = await reminders.page_to_remind(None, None)
    assert set(everyone.workflow_ids) == {each.workflow_id for each in (quiet, fresh, once)}
    stale = await reminders.page_to_remind(NOON, None)
    assert stale.workflow_ids == [quiet.workflow_id]


@pytest.mark.parametrize(
    "change", [{"plan": "free"}, {"suspended": True}, {"state": "closed"}], ids=str
)
async def test_an_account_that_cannot_be_joined_reminds_nobody(
    scenario: StoreScenario, change: dict[str, object]
) -> None:
    """REM-1, REM-2: neither an invitee nor an inviter, until it can be joined again."""
    reminders, invite = scenario.store.reminders, scenario.new_invite("jane@example.com")
    pending = await scenario.send(invite)

    async def due() -> tuple[int, int, bool]:
        page = await reminders.page_to_remind(None, None)
        accounts = await reminders.accounts_to_notify(RUN.run_id, NOON)
        reminder_due = await scenario.store.invitations.is_reminder_due(
            invite.invitation_id, pending
        )
        return len(page.workflow_ids), len(accounts), reminder_due

    async with writing(scenario.engine) as session:
        target = await require_account(session, "acme")
        before = {name: getattr(target, name) for name in change}
        await session.execute(update(AccountRow).where(AccountRow.id == "acme").values(change))
    assert await due() == (0, 0, False)
    async with writing(scenario.engine) as session:
        await session.execute(update(AccountRow).where(AccountRow.id == "acme").values(before))
    assert await due() == (1, 1, True)


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
    # TXT-4: another admin can help, never the reader.
    contacts = {each.reader.email: each.contact and each.contact.email for each in inviters}
    assert contacts == {ADMIN: OWNER, OWNER: ADMIN}
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
