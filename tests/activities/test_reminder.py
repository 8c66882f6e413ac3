"""Tests of the reminder activities: retries after a crash, and digests."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from temporalio.testing import ActivityEnvironment

from activities.letter import StillDue, Undeliverable
from activities.reminder import (
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

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)
PAGES = {
    None: InvitationPage(["a", "b"], b"1"),
    b"1": InvitationPage(["c", "d"], b"2"),
    b"2": InvitationPage(["e"], None),
}


class ThreePages:
    """Invitations on three pages, and those signaled."""

    def __init__(self) -> None:
        self.signaled: list[str] = []

    async def page(self, quiet_before: datetime | None, behind: bytes | None) -> InvitationPage:
        return PAGES[behind]

    async def remind(self, workflow_id: str, run_id: str) -> None:
        self.signaled.append(workflow_id)


class TwoInviters:
    """A store with two inviters to notify."""

    def __init__(self) -> None:
        self.told_at: dict[str, datetime] = {}

    async def keep(self, run: ReminderRun) -> None:
        raise AssertionError("nothing is kept here")

    async def reminded(self, run_id: str) -> int:
        return 0

    async def last_digests(self, run_id: str) -> Mapping[str, datetime]:
        return self.told_at

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
            for email in ("full@acme.example", "eve@acme.example")
        ]


class Outbox:
    """A mail server that fails in one way for one reader."""

    def __init__(self, failure: Exception | None) -> None:
        self.failure = failure
        self.sent: list[Letter] = []
        self.sent_at: list[float] = []

    async def send(self, letter: Letter, still_due: StillDue | None = None) -> None:
        if self.failure and letter.reader.email.startswith("full"):
            raise self.failure
        self.sent.append(letter)
        self.sent_at.append(asyncio.get_running_loop().time())


def activities(invitations: ThreePages, mailer: Outbox) -> ReminderActivities:
    return ReminderActivities(
        store=TwoInviters(), invitations=invitations, mailer=mailer, id_key=b"a key"
    )


async def test_another_worker_continues_after_the_last_page() -> None:
    """REM-1: hundreds of thousands of signals are not repeated."""
    invitations, environment = ThreePages(), ActivityEnvironment()
    beats = list[tuple[object, ...]]()
    environment.on_heartbeat = lambda *details: beats.append(details)
    order = SignalStaleInvitations(run_id="run-1", quiet_before=None)
    run = activities(invitations, Outbox(None))
    assert await environment.run(run.signal_stale_invitations, order) == StaleInvitationsSignaled(
        found=5
    )
    assert invitations.signaled == ["a", "b", "c", "d", "e"]
    invitations.signaled.clear()
    environment.info = replace(environment.info, heartbeat_details=beats[0])
    assert await environment.run(run.signal_stale_invitations, order) == StaleInvitationsSignaled(
        found=5
    )
    assert invitations.signaled == ["c", "d", "e"]


async def test_a_full_mailbox_does_not_delay_the_other_inviters() -> None:
    """REM-2: the others are notified, the failed digest is retried."""
    mailer = Outbox(ConnectionError("mailbox full"))
    run, order = (
        activities(ThreePages(), mailer),
        NotifyInviters(run_id="run-1", quiet_before=NOW, quiet_for=timedelta(days=3)),
    )
    try:
        await ActivityEnvironment().run(run.notify_inviters, order)
    except Exception as failure:
        assert "mailbox full" in str(failure)
    else:
        raise AssertionError("it was not to be tried again")
    [told] = mailer.sent
    assert told.reader.email == "eve@acme.example"
    assert "eve" not in told.id


async def test_an_inviter_without_news_gets_no_digest() -> None:
    """REM-2: one digest for any number of runs."""
    mailer, store = Outbox(None), TwoInviters()
    run = replace(activities(ThreePages(), mailer), store=store)
    order = NotifyInviters(run_id="run-1", quiet_before=NOW, quiet_for=timedelta(days=3))
    assert await ActivityEnvironment().run(run.notify_inviters, order) == InvitersNotified(
        digests=2
    )
    told_full, told_eve = (letter.id.removesuffix(".run-1") for letter in mailer.sent)
    # Stale since the third day: Eve had her digest after that, the other inviter before.
    store.told_at = {told_full: NOW + timedelta(days=2), told_eve: NOW + timedelta(days=4)}
    again = order.model_copy(update={"run_id": "run-2"})
    assert await ActivityEnvironment().run(run.notify_inviters, again) == InvitersNotified(
        digests=1
    )
    assert mailer.sent[-1].id == f"{told_full}.run-2"


async def test_a_reminder_since_the_last_digest_is_news() -> None:
    """REM-2: a digest follows a reminder, even if the invitation was in the last digest."""
    [stale] = (await TwoInviters().inviters_to_notify("acme", "run-1", NOW))[0].invitations
    told = InviterToNotify(
        reader=Reader(email="e@a.example"), account_name="A", invitations=(stale,)
    )
    later = NOW + timedelta(days=9)
    assert not told.has_news(later, timedelta(days=3))
    reminded = stale.model_copy(update={"reminded": True})
    assert told.model_copy(update={"invitations": (reminded,)}).has_news(later, timedelta(days=3))
    assert told.has_news(None, timedelta(days=3))


async def test_digests_keep_the_rate_limit_of_the_mail_server() -> None:
    """REM-3: one activity sends them all, past the rate limit of the task queue."""
    mailer = Outbox(None)
    run = replace(activities(ThreePages(), mailer), digest_interval=timedelta(milliseconds=20))
    order = NotifyInviters(run_id="run-1", quiet_before=NOW, quiet_for=timedelta(days=3))
    assert await ActivityEnvironment().run(run.notify_inviters, order) == InvitersNotified(
        digests=2
    )
    first, second = mailer.sent_at
    assert second - first >= 0.02


async def test_a_digest_refused_for_good_is_not_retried() -> None:
    mailer = Outbox(Undeliverable("550 no such user"))
    run, order = (
        activities(ThreePages(), mailer),
        NotifyInviters(run_id="run-1", quiet_before=NOW, quiet_for=timedelta(days=3)),
    )
    assert await ActivityEnvironment().run(run.notify_inviters, order) == InvitersNotified(
        digests=1
    )
