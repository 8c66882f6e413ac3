"""Tests of the reminder activities: retries after a crash, and digests."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.letter import StillDue, Undeliverable
from activities.reminder import (
    InvitationKey,
    InvitationPage,
    InvitersNotified,
    InviterToNotify,
    NotifyInviters,
    ReminderActivities,
    SignalStaleInvitations,
    StaleInvitationsSignaled,
)
from domain.invitation import InvitationState
from domain.letter import Letter
from domain.letter.base import Reader
from domain.reminder import ReminderRun, StaleInvitation
from tests.activities.mailer import FakeMailer

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)
FULL, EVE = "full@acme.example", "eve@acme.example"
B, D = ("acme", "b"), ("acme", "d")
PAGES: Mapping[InvitationKey | None, InvitationPage] = {
    None: InvitationPage(["a", "b"], B),
    B: InvitationPage(["c", "d"], D),
    D: InvitationPage(["e"], None),
}


class FakeRunningInvitations:
    """`RunningInvitations` that records those signaled; some are not running."""

    def __init__(self, lost: Sequence[str] = ()) -> None:
        self.lost = lost
        self.signaled: list[str] = []
        self.running = self.most_running = 0

    async def remind(self, workflow_id: str, run_id: str) -> bool:
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        await asyncio.sleep(0)
        self.running -= 1
        self.signaled.append(workflow_id)
        return workflow_id not in self.lost


class FakeReminderStore:
    """A `ReminderStore` with pages of invitations, and two inviters to notify."""

    def __init__(self, pages: Mapping[InvitationKey | None, InvitationPage] = PAGES) -> None:
        self.pages = pages
        self.digests_at: dict[str, datetime] = {}

    async def keep(self, run: ReminderRun) -> None:
        raise AssertionError("The activity calls this method.")

    async def page_to_remind(
        self, quiet_before: datetime | None, after: InvitationKey | None
    ) -> InvitationPage:
        return self.pages[after]

    async def reminded(self, run_id: str) -> int:
        return 0

    async def last_digests(self, run_id: str) -> Mapping[str, datetime]:
        return self.digests_at

    async def accounts_to_notify(self, run_id: str, quiet_before: datetime) -> Sequence[str]:
        return ["acme"]

    async def inviters_to_notify(
        self, account: str, run_id: str, quiet_before: datetime
    ) -> list[InviterToNotify]:
        stale = StaleInvitation(
            email="jane@example.com",
            state=InvitationState.PENDING,
            quiet_since=NOW,
            expires_at=None,
            reminders_sent=0,
            reminded=False,
        )
        return [
            InviterToNotify(reader=Reader(email=email), account_name="Acme", invitations=(stale,))
            for email in (FULL, EVE)
        ]


class TimedMailer(FakeMailer):
    """A mail server that records when it takes each letter."""

    def __init__(self) -> None:
        super().__init__()
        self.sent_at: list[float] = []

    async def send(self, letter: Letter, still_due: StillDue | None = None) -> None:
        await super().send(letter, still_due)
        self.sent_at.append(asyncio.get_running_loop().time())


def the_activities(invitations: FakeRunningInvitations, mailer: FakeMailer) -> ReminderActivities:
    return ReminderActivities(
        store=FakeReminderStore(), invitations=invitations, mailer=mailer, id_key=b"a key"
    )


async def test_another_worker_continues_after_the_last_page() -> None:
    """REM-1: hundreds of thousands of signals are not repeated."""
    invitations, environment = FakeRunningInvitations(), ActivityEnvironment()
    heartbeats = list[tuple[object, ...]]()
    environment.on_heartbeat = lambda *details: heartbeats.append(details)
    request = SignalStaleInvitations(run_id="run-1", quiet_before=None)
    activities = the_activities(invitations, FakeMailer())
    assert await environment.run(
        activities.signal_stale_invitations, request
    ) == StaleInvitationsSignaled(found=5)
    assert invitations.signaled == ["a", "b", "c", "d", "e"]
    invitations.signaled.clear()
    environment.info = replace(environment.info, heartbeat_details=heartbeats[0])
    assert await environment.run(
        activities.signal_stale_invitations, request
    ) == StaleInvitationsSignaled(found=5)
    assert invitations.signaled == ["c", "d", "e"]


async def test_progress_that_cannot_be_read_is_no_progress() -> None:
    """REM-1: the pass starts over, and repeated signals do nothing."""
    invitations, environment = FakeRunningInvitations(), ActivityEnvironment()
    environment.info = replace(environment.info, heartbeat_details=("746f6b656e", 4))
    request = SignalStaleInvitations(run_id="run-1", quiet_before=None)
    activities = the_activities(invitations, FakeMailer())
    signaled = await environment.run(activities.signal_stale_invitations, request)
    assert signaled == StaleInvitationsSignaled(found=5)
    assert invitations.signaled == ["a", "b", "c", "d", "e"]


async def test_an_invitation_that_is_not_running_is_not_found() -> None:
    """REM-1: its workflow was lost, so the run does not wait for a reminder."""
    activities = the_activities(FakeRunningInvitations(lost=["c"]), FakeMailer())
    request = SignalStaleInvitations(run_id="run-1", quiet_before=None)
    signaled = await ActivityEnvironment().run(activities.signal_stale_invitations, request)
    assert signaled == StaleInvitationsSignaled(found=4)


async def test_signals_are_limited_in_number_at_the_same_time() -> None:
    """REM-1: each invitation is signaled, however many there are."""
    workflow_ids = [str(number) for number in range(7)]
    invitations = FakeRunningInvitations()
    store = FakeReminderStore({None: InvitationPage(workflow_ids, None)})
    activities = replace(the_activities(invitations, FakeMailer()), store=store, max_concurrent=3)
    request = SignalStaleInvitations(run_id="run-1", quiet_before=None)
    await ActivityEnvironment().run(activities.signal_stale_invitations, request)
    assert sorted(invitations.signaled) == workflow_ids
    assert invitations.most_running == 3


async def test_a_full_mailbox_does_not_delay_the_other_inviters() -> None:
    """REM-2: the others are notified, the failed digest is retried."""
    mailer = FakeMailer(ConnectionError("mailbox full"), to=[FULL])
    activities, request = (
        the_activities(FakeRunningInvitations(), mailer),
        NotifyInviters(run_id="run-1", quiet_before=NOW, quiet_for=timedelta(days=3)),
    )
    with pytest.raises(ApplicationError, match="mailbox full"):
        await ActivityEnvironment().run(activities.notify_inviters, request)
    [digest] = mailer.sent
    assert digest.reader.email == EVE
    assert "eve" not in digest.id


async def test_an_inviter_without_news_gets_no_digest() -> None:
    """REM-2: one digest for any number of runs."""
    mailer, store = FakeMailer(), FakeReminderStore()
    activities = replace(the_activities(FakeRunningInvitations(), mailer), store=store)
    request = NotifyInviters(run_id="run-1", quiet_before=NOW, quiet_for=timedelta(days=3))
    assert await ActivityEnvironment().run(activities.notify_inviters, request) == InvitersNotified(
        digests=2
    )
    series_of_full, series_of_eve = (letter.id.removesuffix(".run-1") for letter in mailer.sent)
    # Stale since the third day: Eve had her digest after that, the other inviter before.
    store.digests_at = {
        series_of_full: NOW + timedelta(days=2),
        series_of_eve: NOW + timedelta(days=4),
    }
    again = request.model_copy(update={"run_id": "run-2"})
    assert await ActivityEnvironment().run(activities.notify_inviters, again) == InvitersNotified(
        digests=1
    )
    assert mailer.sent[-1].id == f"{series_of_full}.run-2"


async def test_a_reminder_since_the_last_digest_is_news() -> None:
    """REM-2: a digest follows a reminder, even if the invitation was in the last digest."""
    [stale] = (await FakeReminderStore().inviters_to_notify("acme", "run-1", NOW))[0].invitations
    inviter = InviterToNotify(
        reader=Reader(email="e@a.example"), account_name="A", invitations=(stale,)
    )
    later = NOW + timedelta(days=9)
    assert not inviter.has_news(later, timedelta(days=3))
    reminded = stale.model_copy(update={"reminded": True})
    assert inviter.model_copy(update={"invitations": (reminded,)}).has_news(
        later, timedelta(days=3)
    )
    assert inviter.has_news(None, timedelta(days=3))


async def test_digests_keep_the_rate_limit_of_the_mail_server() -> None:
    """REM-3: one activity sends them all, past the rate limit of the task queue."""
    mailer = TimedMailer()
    activities = replace(
        the_activities(FakeRunningInvitations(), mailer), digest_interval=timedelta(milliseconds=20)
    )
    request = NotifyInviters(run_id="run-1", quiet_before=NOW, quiet_for=timedelta(days=3))
    assert await ActivityEnvironment().run(activities.notify_inviters, request) == InvitersNotified(
        digests=2
    )
    first, second = mailer.sent_at
    assert second - first >= 0.02


async def test_a_digest_refused_for_good_is_not_retried() -> None:
    """REM-2: the inviter's address does not exist."""
    mailer = FakeMailer(Undeliverable("550 no such user"), to=[FULL])
    activities, request = (
        the_activities(FakeRunningInvitations(), mailer),
        NotifyInviters(run_id="run-1", quiet_before=NOW, quiet_for=timedelta(days=3)),
    )
    assert await ActivityEnvironment().run(activities.notify_inviters, request) == InvitersNotified(
        digests=1
    )
