"""Stale invitations by inviter, and the reminder runs (REM)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import ColumnElement, func, or_, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from activities.reminder import InvitationKey, InvitationPage, InviterToNotify
from adapters.sql.database.schema import (
    AccountRow,
    InvitationRow,
    LetterRow,
    OutboxRow,
    PersonRow,
    ReminderRunRow,
)
from adapters.sql.database.transaction import chunked, reading, writing
from adapters.sql.membership import JOINABLE, admins_of, require_account, user_or_owner
from adapters.sql.outbox import queue_letters
from domain.invitation import REMINDABLE
from domain.letter.base import contact_for
from domain.letter.reminder import DigestLetter
from domain.outbox import QueuedLetter
from domain.reminder import ReminderRun, StaleInvitation

LAST_RUNS: Final = 10
"""The number of runs that are listed."""

_PAGE_SIZE: Final = 500


class SqlReminders:
    """The `ReminderStore` of reminder runs."""

    def __init__(self, engine: AsyncEngine, page_size: int = _PAGE_SIZE) -> None:
        self._engine = engine
        self._page_size = page_size

    async def keep(self, run: ReminderRun) -> None:
        """Insert or replace the record of the run; its author stays as it was inserted.

        The author may have been forgotten since (OPS-9).
        """
        async with writing(self._engine) as session:
            kept = await session.get(ReminderRunRow, run.run_id)
            values = run.model_dump(exclude={"failure"})
            await session.merge(ReminderRunRow(**values | {"by": kept.by if kept else run.by}))

    async def runs(self) -> tuple[ReminderRun, ...]:
        """Return the last runs, newest first; counts include reminders sent after the run."""
        async with reading(self._engine) as session:
            rows = await session.scalars(
                select(ReminderRunRow).order_by(ReminderRunRow.started_at.desc()).limit(LAST_RUNS)
            )
            kept = [ReminderRun.model_validate(row, from_attributes=True) for row in rows]
            late = await _reminded(session, [run.run_id for run in kept])
            return tuple(
                run.model_copy(update={"reminded": max(run.reminded, late.get(run.run_id, 0))})
                for run in kept
            )

    async def page_to_remind(
        self, quiet_before: datetime | None, after: InvitationKey | None
    ) -> InvitationPage:
        """Return a page of the invitations that may still be reminded (REM-1).

        With `quiet_before`, only those that are quiet since then. A page begins after a key, not
        at a position, so that it stays valid while invitations begin and end.
        """
        key = tuple_(InvitationRow.account_id, InvitationRow.invitee_key)
        # The first condition selects the index of live invitations, which has the key.
        listed: list[ColumnElement[bool]] = [
            InvitationRow.ended_at.is_(None),
            InvitationRow.state.in_(REMINDABLE),
            JOINABLE,
        ]
        if quiet_before:
            listed.append(InvitationRow.quiet_since <= quiet_before)
        if after:
            listed.append(key > after)
        async with reading(self._engine) as session:
            found = await session.scalars(
                select(InvitationRow)
                .join(AccountRow, AccountRow.id == InvitationRow.account_id)
                .where(*listed)
                .order_by(InvitationRow.account_id, InvitationRow.invitee_key)
                .limit(self._page_size)
            )
            rows = found.all()
            return InvitationPage(
                [row.ordered.workflow_id for row in rows if _may_be_reminded(row)],
                last=(rows[-1].account_id, rows[-1].invitee_key)
                if len(rows) == self._page_size
                else None,
            )

    async def reminded(self, run_id: str) -> int:
        """Return how many invitees that run has reminded so far."""
        async with reading(self._engine) as session:
            return (await _reminded(session, [run_id])).get(run_id, 0)

    async def accounts_to_notify(self, run_id: str, quiet_before: datetime) -> Sequence[str]:
        """Return the accounts with stale invitations, in order.

        Accounts that cannot be joined are left out: their invitees cannot do anything.
        """
        async with reading(self._engine) as session:
            found = await session.scalars(
                select(InvitationRow.account_id)
                .join(AccountRow, AccountRow.id == InvitationRow.account_id)
                .where(_stale(run_id, quiet_before), JOINABLE)
                .distinct()
                .order_by(InvitationRow.account_id)
            )
            return list(found)

    async def inviters_to_notify(
        self, account: str, run_id: str, quiet_before: datetime
    ) -> list[InviterToNotify]:
        """Return the readers of the account's digests, with their stale invitations (REM-2).

        A reader is an inviter, or the account's owner if the inviter has left. Invitations
        are sorted by the time since which they are quiet, the oldest first.
        """
        async with reading(self._engine) as session:
            target = await require_account(session, account)
            by_inviter = defaultdict[str, list[InvitationRow]](list)
            for row in await session.scalars(
                select(InvitationRow)
                .where(_stale(run_id, quiet_before), InvitationRow.account_id == account)
                .order_by(InvitationRow.quiet_since, InvitationRow.invitation_id)
            ):
                by_inviter[row.record.invited_by].append(row)
            admins = [
                each.as_reader(target.time_zone) for each in await admins_of(session, account)
            ]
            digests = dict[str, InviterToNotify]()
            for inviter, theirs in by_inviter.items():
                user = await user_or_owner(session, account, inviter)
                person = user.person if user else PersonRow(email=inviter)
                stale = [_stale_invitation(row, run_id) for row in theirs]
                # An owner reads the invitations of all inviters who have left in one digest.
                before = digests.get(person.email)
                reader = person.as_reader(target.time_zone)
                digests[person.email] = InviterToNotify(
                    reader=reader,
                    account=account,
                    account_name=target.name,
                    contact=contact_for(reader, *admins),
                    invitations=_by_quiet([*(before.invitations if before else ()), *stale]),
                )
            return list(digests.values())

    async def last_digests(self, run_id: str) -> Mapping[str, datetime]:
        """Return the start of the run of each last digest, by the prefix of its letter id.

        Digests of the run `run_id` itself are left out.
        """
        digests = union_all(
            select(LetterRow.letter_id.label("id")), select(OutboxRow.key.label("id"))
        ).subquery()
        # All run ids have the same length.
        dot = func.length(digests.c.id) - len(run_id)
        prefix, run = func.substr(digests.c.id, 1, dot - 1), func.substr(digests.c.id, dot + 1)
        async with reading(self._engine) as session:
            last = await session.execute(
                select(prefix, func.max(ReminderRunRow.started_at))
                .join(ReminderRunRow, ReminderRunRow.run_id == run)
                .where(digests.c.id.startswith("digest."), run != run_id)
                .group_by(prefix)
            )
            return {digest: at for digest, at in last}

    async def queue_digests(self, account: str, digests: Sequence[DigestLetter]) -> int:
        """Queue the digests to the inviters of an account, each once; return their number.

        Each is checked again in this transaction. It names nobody who has been forgotten since it
        was read (OPS-9), and no invitee whose invitation has ended (OPS-2).
        """
        if not digests:
            return 0
        async with writing(self._engine) as session:
            invited = await _still_invited(session, account, digests)
            known = await _still_known(session, digests)
            letters = [
                due for digest in digests if (due := digest.only_about(invited, known)) is not None
            ]
            await queue_letters(
                session,
                [QueuedLetter(letter=letter) for letter in letters],
                workflow_id="",
                account=account,
                at=datetime.now(UTC),
            )
            return len(letters)


async def _still_invited(
    session: AsyncSession, account: str, digests: Sequence[DigestLetter]
) -> set[str]:
    """Return the invitees of the digests whose invitations are live, and lock these."""
    listed = {each.email for digest in digests for each in digest.invitations}
    found = set[str]()
    for some in chunked(sorted(listed)):
        found |= {
            *await session.scalars(
                select(InvitationRow.email)
                .where(
                    InvitationRow.account_id == account,
                    InvitationRow.email.in_(some),
                    InvitationRow.ended_at.is_(None),
                )
                .order_by(InvitationRow.invitation_id)
                .with_for_update(read=True)
            )
        }
    return found


async def _still_known(session: AsyncSession, digests: Sequence[DigestLetter]) -> set[str]:
    """Return the readers and contacts of the digests who are in the store, and lock them."""
    named = {digest.reader.email for digest in digests}
    named |= {digest.contact.email for digest in digests if digest.contact}
    found = await session.scalars(
        select(PersonRow.email)
        .where(PersonRow.email.in_(named))
        .order_by(PersonRow.email)
        .with_for_update(read=True)
    )
    return {*found}


async def _reminded(session: AsyncSession, run_ids: Sequence[str]) -> Mapping[str | None, int]:
    counted = await session.execute(
        select(InvitationRow.reminded_by, func.count())
        .where(InvitationRow.reminded_by.in_(run_ids))
        .group_by(InvitationRow.reminded_by)
    )
    return {run_id: count for run_id, count in counted}


def _may_be_reminded(row: InvitationRow) -> bool:
    """Return whether the invitation may still be reminded, now or later."""
    return row.record.remindable_from(row.ordered.policy) is not None


def _stale(run_id: str, quiet_before: datetime) -> ColumnElement[bool]:
    """Return the filter of unanswered invitations that are quiet, or reminded by this run."""
    return InvitationRow.state.in_(REMINDABLE) & or_(
        InvitationRow.quiet_since <= quiet_before, InvitationRow.reminded_by == run_id
    )


def _by_quiet(invitations: Sequence[StaleInvitation]) -> tuple[StaleInvitation, ...]:
    """Return the invitations sorted by the time since which they are quiet, oldest first."""
    return tuple(sorted(invitations, key=lambda each: each.quiet_since))


def _stale_invitation(row: InvitationRow, run_id: str) -> StaleInvitation:
    kept = row.record
    assert row.quiet_since is not None, "no e-mail was sent yet"
    return StaleInvitation(
        email=row.email,
        state=kept.state,
        quiet_since=row.quiet_since,
        expires_at=kept.expires_at,
        reminders_sent=kept.reminders_sent,
        reminded=row.reminded_by == run_id,
    )
