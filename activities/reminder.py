"""The side effects of a run of reminders: signals to invitations, digests to inviters (REM)."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from pydantic import AwareDatetime
from temporalio import activity

from activities.heartbeat import heartbeats
from domain.address import invitee_key
from domain.letter.base import Contact, Reader
from domain.letter.reminder import DigestLetter, digest_letter
from domain.model import Value
from domain.reminder import ReminderRun, StaleInvitation

MAX_CONCURRENT: Final = 50
"""Invitations that are signaled at the same time."""

HEARTBEAT_INTERVAL: Final = timedelta(seconds=5)
POLL_EVERY: Final = timedelta(milliseconds=250)
QUIET_PERIOD: Final = timedelta(seconds=3)
"""The wait ends when no invitee has been reminded for this long."""
MAX_WAIT: Final = timedelta(minutes=5)
"""Longest wait for a slow mail server; then inviters are notified without the missing reminders."""


class SignalStaleInvitations(Value):
    """A request to signal the unanswered invitations that a reminder may be due."""

    run_id: str
    quiet_before: AwareDatetime | None
    """Signals only invitations that are quiet since then, by their own clocks; None: all."""


class StaleInvitationsSignaled(Value):
    """The number of invitations signaled."""

    found: int


class AwaitReminders(Value):
    """A request to wait, within limits, for the reminders of a run."""

    run_id: str
    signaled: int


class RemindersSent(Value):
    """The number of invitees reminded until the wait ended."""

    reminded: int


class NotifyInviters(Value):
    """A request to send each inviter one digest of their stale invitations (REM-2)."""

    run_id: str
    quiet_before: AwareDatetime
    quiet_for: timedelta
    """The time without contact after which an invitation is stale."""


class InvitersNotified(Value):
    """The number of digests queued: one to each inviter with news."""

    digests: int


class InviterToNotify(Value):
    """An inviter and their stale invitations."""

    reader: Reader
    account: str
    account_name: str
    contact: Contact | None = None
    """Another admin of the account, if there is one."""
    invitations: tuple[StaleInvitation, ...]

    def has_news(self, digest_at: datetime | None, quiet_for: timedelta) -> bool:
        """Return whether any was reminded or became stale since the last digest, at `digest_at`."""
        return digest_at is None or any(
            each.reminded or each.quiet_since + quiet_for > digest_at for each in self.invitations
        )


InvitationKey = tuple[str, str]
"""The account and the invitee's key of a live invitation; pages are sorted by it."""


@dataclass(frozen=True)
class InvitationPage:
    """A page of invitations to signal."""

    workflow_ids: Sequence[str]
    last: InvitationKey | None
    """The key after which the next page begins; None after the last page."""


class RunningInvitations(Protocol):
    """The workflows of invitations."""

    async def remind(self, workflow_id: str, run_id: str) -> bool:
        """Signal a running invitation that a reminder may be due; start nothing.

        Return False if it is not running or accepts no more signals.
        """


class ReminderStore(Protocol):
    """The part of the store that a run of reminders uses."""

    async def keep(self, run: ReminderRun) -> None:
        """Write the run."""

    async def page_to_remind(
        self, quiet_before: datetime | None, after: InvitationKey | None
    ) -> InvitationPage:
        """Return a page of the invitations that may still be reminded, optionally only quiet ones.

        Invitations of accounts that cannot be joined are left out, and those that have had their
        last reminder.
        """

    async def reminded(self, run_id: str) -> int:
        """Return how many invitees the run has reminded so far."""

    async def accounts_to_notify(self, run_id: str, quiet_before: datetime) -> Sequence[str]:
        """Return the accounts with stale invitations; accounts that cannot be joined have none."""

    async def inviters_to_notify(
        self, account: str, run_id: str, quiet_before: datetime
    ) -> list[InviterToNotify]:
        """Return the inviters of the account's stale invitations."""

    async def last_digests(self, run_id: str) -> Mapping[str, datetime]:
        """Return the start of the run of each last digest, by the prefix of its letter id.

        Digests of this run are left out: an earlier attempt may have queued them.
        """

    async def queue_digests(self, account: str, digests: Sequence[DigestLetter]) -> int:
        """Queue the digests that are still true, each once; return their number."""


@dataclass(frozen=True)
class ReminderActivities:
    """The activities of the `StaleInvitationReminders` workflow."""

    store: ReminderStore
    invitations: RunningInvitations
    id_key: bytes
    max_concurrent: int = MAX_CONCURRENT

    @activity.defn
    async def record_reminder_run(self, run: ReminderRun) -> None:
        """Write the run."""
        await self.store.keep(run)

    @activity.defn
    async def signal_stale_invitations(
        self, request: SignalStaleInvitations
    ) -> StaleInvitationsSignaled:
        """Signal page by page; a signal repeated after a crash does nothing (REM-1)."""
        after, found = _previous_progress()
        async with heartbeats(HEARTBEAT_INTERVAL) as progress:
            while True:
                page = await self.store.page_to_remind(request.quiet_before, after)
                found += await self._signal(page.workflow_ids, request.run_id)
                if page.last is None:
                    return StaleInvitationsSignaled(found=found)
                after = page.last
                progress.show(*after, found)

    async def _signal(self, workflow_ids: Sequence[str], run_id: str) -> int:
        """Signal the invitations; return how many were running."""
        limit = asyncio.Semaphore(self.max_concurrent)

        async def signal(workflow_id: str) -> bool:
            async with limit:
                return await self.invitations.remind(workflow_id, run_id)

        return sum(await asyncio.gather(*map(signal, workflow_ids)))

    @activity.defn
    async def await_reminders(self, request: AwaitReminders) -> RemindersSent:
        """Wait until no more invitees are reminded; not every signal causes a reminder (REM-1)."""
        clock = asyncio.get_running_loop()
        give_up_at = clock.time() + MAX_WAIT.total_seconds()
        reminded, since = await self.store.reminded(request.run_id), clock.time()
        async with heartbeats(HEARTBEAT_INTERVAL):
            while reminded < request.signaled and clock.time() < give_up_at:
                await asyncio.sleep(POLL_EVERY.total_seconds())
                now = await self.store.reminded(request.run_id)
                if now != reminded:
                    reminded, since = now, clock.time()
                elif clock.time() - since >= QUIET_PERIOD.total_seconds():
                    break
        return RemindersSent(reminded=reminded)

    @activity.defn
    async def notify_inviters(self, request: NotifyInviters) -> InvitersNotified:
        """Queue the digests account by account, each once in spite of retries (REM-2).

        An inviter without news since their last digest gets none.
        """
        digests = 0
        last_digests = await self.store.last_digests(request.run_id)
        async with heartbeats(HEARTBEAT_INTERVAL):
            for account in await self.store.accounts_to_notify(
                request.run_id, request.quiet_before
            ):
                letters = [
                    _digest(f"{prefix}.{request.run_id}", inviter)
                    for inviter in await self.store.inviters_to_notify(
                        account, request.run_id, request.quiet_before
                    )
                    if inviter.has_news(
                        last_digests.get(prefix := self._letter_id_prefix(account, inviter)),
                        request.quiet_for,
                    )
                ]
                digests += await self.store.queue_digests(account, letters)
        return InvitersNotified(digests=digests)

    def _letter_id_prefix(self, account: str, inviter: InviterToNotify) -> str:
        """Return the prefix of an inviter's digest ids, which are stored and hold no address."""
        return f"digest.{invitee_key(f'{account} {inviter.reader.email}', self.id_key)}"


def _digest(id: str, inviter: InviterToNotify) -> DigestLetter:
    return digest_letter(
        inviter.reader,
        inviter.account,
        inviter.account_name,
        inviter.invitations,
        id=id,
        contact=inviter.contact,
    )


def _previous_progress() -> tuple[InvitationKey | None, int]:
    """Return the last key and the count of the previous attempt, or start at the beginning."""
    match activity.info().heartbeat_details:
        case [str(account), str(invitee_key), int(found)]:
            return (account, invitee_key), found
        case _:
            return None, 0
