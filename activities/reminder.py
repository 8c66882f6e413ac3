"""What a run of reminders does: it asks each invitation, and tells the inviters (REM)."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from pydantic import AwareDatetime
from temporalio import activity

from activities.heartbeat import beating
from activities.letter import Mailer, send_or_log
from domain.address import invitee_key
from domain.letter.base import Reader
from domain.letter.reminder import DigestLetter, digest_letter
from domain.model import Value
from domain.reminder import ReminderRun, StaleInvitation

AT_ONCE: Final = 50
"""Invitations that are asked at the same time."""

BEAT_EVERY: Final = timedelta(seconds=5)
LOOK_EVERY: Final = timedelta(milliseconds=250)
SETTLED_AFTER: Final = timedelta(seconds=3)
"""Reminded is who was, once nobody more has been for so long."""
WAIT_AT_MOST: Final = timedelta(minutes=5)
"""A slow mail server takes the rest later; their inviters are told nevertheless."""


class SignalStaleInvitations(Value):
    """Ask the invitations that want an answer whether it is time for a reminder."""

    run_id: str
    quiet_before: AwareDatetime | None
    """Only those that have been quiet since then, by their own clocks; None: all of them."""


class StaleInvitationsSignaled(Value):
    """All of them have been asked."""

    found: int


class AwaitReminders(Value):
    """Wait, within bounds, for the reminders that a run has asked for."""

    run_id: str
    asked: int


class RemindersSent(Value):
    """So many invitees were reminded, as far as the wait went."""

    reminded: int


class NotifyInviters(Value):
    """Send each inviter one digest of their stale invitations (REM-2)."""

    run_id: str
    quiet_before: AwareDatetime
    quiet_for: timedelta
    """How long an invitation is quiet before it is stale."""


class InvitersNotified(Value):
    """Each inviter has one digest of this run."""

    digests: int


class InviterToNotify(Value):
    """Somebody whose invitations are stale."""

    reader: Reader
    account_name: str
    invitations: tuple[StaleInvitation, ...]

    def has_news(self, told_at: datetime | None, quiet_for: timedelta) -> bool:
        """Return whether any was reminded or became stale since the last digest, at `told_at`."""
        return told_at is None or any(
            each.reminded or each.quiet_since + quiet_for > told_at for each in self.invitations
        )


@dataclass(frozen=True)
class Page:
    """A part of what was found, and how to go on behind it."""

    workflow_ids: Sequence[str]
    following: bytes | None
    """None behind the last page."""


class RunningInvitations(Protocol):
    """The invitations that run now."""

    async def page(self, quiet_before: datetime | None, behind: bytes | None) -> Page:
        """Those that want an answer, or only those quiet since then; may lag a moment."""

    async def remind(self, workflow_id: str, run_id: str) -> None:
        """Ask one whether it is time for a reminder; nothing if it has ended."""


class ReminderStore(Protocol):
    """The store, as far as a run of reminders needs it."""

    async def keep(self, run: ReminderRun) -> None:
        """Keep the run as it stands."""

    async def reminded(self, run_id: str) -> int:
        """How many invitees that run has reminded so far."""

    async def accounts_to_notify(self, run_id: str, quiet_before: datetime) -> Sequence[str]:
        """The accounts with stale invitations."""

    async def inviters_to_notify(
        self, account: str, run_id: str, quiet_before: datetime
    ) -> list[InviterToNotify]:
        """Who is told of the account's stale invitations."""

    async def last_digests(self, run_id: str) -> Mapping[str, datetime]:
        """When the run began that sent an inviter's last digest, by what its id begins with.

        Those of that run do not count: an attempt before this one may have sent them.
        """


@dataclass(frozen=True)
class ReminderActivities:
    """The side effects of the `StaleInvitationReminders` workflow."""

    store: ReminderStore
    invitations: RunningInvitations
    mailer: Mailer
    id_key: bytes
    digests_apart: timedelta = timedelta()
    """Rest after each digest: the mail server has a pace, and one activity sends them all."""

    @activity.defn
    async def record_reminder_run(self, run: ReminderRun) -> None:
        """Keep the run as it stands."""
        await self.store.keep(run)

    @activity.defn
    async def signal_stale_invitations(
        self, order: SignalStaleInvitations
    ) -> StaleInvitationsSignaled:
        """Ask page by page; what a killed worker has asked twice decides by itself (REM-1)."""
        behind, found = _gone_so_far()
        async with beating(BEAT_EVERY) as progress:
            while True:
                page = await self.invitations.page(order.quiet_before, behind)
                await self._ask(page.workflow_ids, order.run_id)
                behind, found = page.following, found + len(page.workflow_ids)
                if behind is None:
                    return StaleInvitationsSignaled(found=found)
                progress.show(behind.hex(), found)

    async def _ask(self, workflow_ids: Sequence[str], run_id: str) -> None:
        at_once = asyncio.Semaphore(AT_ONCE)

        async def ask(workflow_id: str) -> None:
            async with at_once:
                await self.invitations.remind(workflow_id, run_id)

        await asyncio.gather(*map(ask, workflow_ids))

    @activity.defn
    async def await_reminders(self, order: AwaitReminders) -> RemindersSent:
        """Wait until nobody more is reminded; those asked need not be (REM-1)."""
        clock = asyncio.get_running_loop()
        give_up_at = clock.time() + WAIT_AT_MOST.total_seconds()
        reminded, since = await self.store.reminded(order.run_id), clock.time()
        async with beating(BEAT_EVERY):
            while reminded < order.asked and clock.time() < give_up_at:
                await asyncio.sleep(LOOK_EVERY.total_seconds())
                now = await self.store.reminded(order.run_id)
                if now != reminded:
                    reminded, since = now, clock.time()
                elif clock.time() - since >= SETTLED_AFTER.total_seconds():
                    break
        return RemindersSent(reminded=reminded)

    @activity.defn
    async def notify_inviters(self, order: NotifyInviters) -> InvitersNotified:
        """Send the digests, account by account; each goes out once, however often it is tried.

        Whom it would only tell what they have been told already gets none (REM-2).
        """
        digests, failure = 0, None
        told_at = await self.store.last_digests(order.run_id)
        async with beating(BEAT_EVERY):
            for account in await self.store.accounts_to_notify(order.run_id, order.quiet_before):
                for inviter in await self.store.inviters_to_notify(
                    account, order.run_id, order.quiet_before
                ):
                    series = self._series(account, inviter)
                    if not inviter.has_news(told_at.get(series), order.quiet_for):
                        continue
                    try:
                        letter = _digest(f"{series}.{order.run_id}", inviter)
                        digests += await send_or_log(self.mailer, letter)
                    except Exception as not_taken:
                        # One mailbox that is full must not keep the others waiting.
                        failure = not_taken
                    await asyncio.sleep(self.digests_apart.total_seconds())
        if failure:
            raise failure
        return InvitersNotified(digests=digests)

    def _series(self, account: str, inviter: InviterToNotify) -> str:
        """What the ids of an inviter's digests begin with; they are kept, so nobody is named."""
        return f"digest.{invitee_key(f'{account} {inviter.reader.email}', self.id_key)}"


def _digest(id: str, inviter: InviterToNotify) -> DigestLetter:
    return digest_letter(inviter.reader, inviter.account_name, inviter.invitations, id=id)


def _gone_so_far() -> tuple[bytes | None, int]:
    """Behind which page an earlier attempt was, and how many it had found."""
    details = activity.info().heartbeat_details
    if not details:
        return None, 0
    behind, found = details
    return bytes.fromhex(behind), found
