"""Tests of the reminder activities: retries after a crash, and digests."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from temporalio.testing import ActivityEnvironment

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
from domain.letter.base import Reader
from domain.letter.reminder import DigestLetter
from domain.reminder import ReminderRun, StaleInvitation

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
        self.queued: list[DigestLetter] = []

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

    async def queue_digests(self, account: str, digests: Sequence[DigestLetter]) -> int:
        self.queued.extend(digests)
        return len(digests)

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
            InviterToNotify(
                reader=Reader(email=email),
                account="acme",
                account_name="Acme",
                invitations=(stale,),
            )
            for email in (FULL, EVE)
        ]


def the_activities(
    invitations: FakeRunningInvitations, store: FakeReminderStore | None = None
) -> ReminderActivities:
    return ReminderActivities(
        store=store or FakeReminderStore(), invitations=invitations, id_key=b"a key"
    )


async def test_another_worker_continues_after_the_last_page() -> None:
    """REM-1: hundreds of thousands of signals are not repeated."""
    invitations, environment = FakeRunningInvitations(), ActivityEnvironment()
    heartbeats = list[tuple[object, ...]]()
    environment.on_heartbeat = lambda *details: heartbeats.append(details)
    request = SignalStaleInvitations(run_id="run-1", quiet_before=None)
    activities = the_activities(invitations)
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
    activities = the_activities(invitations)
    signaled = await environment.run(activities.signal_stale_invitations, request)
    assert signaled == StaleInvitationsSignaled(found=5)
    assert invitations.signaled == ["a", "b", "c", "d", "e"]


async def test_an_invitation_that_is_not_running_is_not_found() -> None:
    """REM-1: its workflow was lost, so the run does not wait for a reminder."""
    activities = the_activities(FakeRunningInvitations(lost=["c"]))
    request = SignalStaleInvitations(run_id="run-1", quiet_before=None)
    signaled = await ActivityEnvironment().run(activities.signal_stale_invitations, request)
    assert signaled == StaleInvitationsSignaled(found=4)


async def test_signals_are_limited_in_number_at_the_same_time() -> None:
    """REM-1: each invitation is signaled, however many there are."""
    workflow_ids = [str(number) for number in range(7)]
    invitations = FakeRunningInvitations()
    store = FakeReminderStore({None: InvitationPage(workflow_ids, None)})
    activities = replace(the_activities(invitations), store=store, max_concurrent=3)
    request = SignalStaleInvitations(run_id="run-1", quiet_before=None)
    await ActivityEnvironment().run(activities.signal_stale_invitations, request)
    assert sorted(invitations.signaled) == workflow_ids
    assert invitations.most_running == 3


async def test_an_inviter_without_news_gets_no_digest() -> None:
    """REM-2: one digest for any number of runs; ids hold no address."""
    store = FakeReminderStore()
    activities = the_activities(FakeRunningInvitations(), store)
    request = NotifyInviters(run_id="run-1", quiet_before=NOW, quiet_for=timedelta(days=3))
    assert await ActivityEnvironment().run(activities.notify_inviters, request) == InvitersNotified(
        digests=2
    )
    assert [digest.reader.email for digest in store.queued] == [FULL, EVE]
    assert not any("@" in digest.id for digest in store.queued)
    series_of_full, series_of_eve = (digest.id.removesuffix(".run-1") for digest in store.queued)
    # Stale since the third day: Eve had her digest after that, the other inviter before.
    store.digests_at = {
        series_of_full: NOW + timedelta(days=2),
        series_of_eve: NOW + timedelta(days=4),
    }
    again = request.model_copy(update={"run_id": "run-2"})
    assert await ActivityEnvironment().run(activities.notify_inviters, again) == InvitersNotified(
        digests=1
    )
    assert store.queued[-1].id == f"{series_of_full}.run-2"


async def test_a_reminder_since_the_last_digest_is_news() -> None:
    """REM-2: a digest follows a reminder, even if the invitation was in the last digest."""
    [stale] = (await FakeReminderStore().inviters_to_notify("acme", "run-1", NOW))[0].invitations
    inviter = InviterToNotify(
        reader=Reader(email="e@a.example"), account="a", account_name="A", invitations=(stale,)
    )
    later = NOW + timedelta(days=9)
    assert not inviter.has_news(later, timedelta(days=3))
    reminded = stale.model_copy(update={"reminded": True})
    assert inviter.model_copy(update={"invitations": (reminded,)}).has_news(
        later, timedelta(days=3)
    )
    assert inviter.has_news(None, timedelta(days=3))
