"""Stale invitations by inviter, and the runs that reminded of them (REM)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Final

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from activities.reminder import InviterToNotify
from adapters.sql.database.schema import InvitationRow, LetterRow, PersonRow, ReminderRunRow
from adapters.sql.database.transaction import reading, writing
from adapters.sql.membership import known_account, user_or_owner
from domain.invitation import REMINDABLE
from domain.letter.base import Reader
from domain.reminder import ReminderRun, StaleInvitation

_LAST: Final = 10


class SqlReminders:
    """The `ReminderStore` of runs of reminders."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def keep(self, run: ReminderRun) -> None:
        """Keep the run as it stands."""
        async with writing(self._engine) as session:
            await session.merge(ReminderRunRow(**run.model_dump()))

    async def runs(self) -> tuple[ReminderRun, ...]:
        """The last runs, the newest first; who was reminded late counts as well."""
        async with reading(self._engine) as session:
            rows = await session.scalars(
                select(ReminderRunRow).order_by(ReminderRunRow.started_at.desc()).limit(_LAST)
            )
            kept = [ReminderRun.model_validate(row, from_attributes=True) for row in rows]
            late = await _reminded(session, [run.run_id for run in kept])
            return tuple(
                run.model_copy(update={"reminded": max(run.reminded, late.get(run.run_id, 0))})
                for run in kept
            )

    async def reminded(self, run_id: str) -> int:
        """How many invitees that run has reminded so far."""
        async with reading(self._engine) as session:
            return (await _reminded(session, [run_id])).get(run_id, 0)

    async def accounts_to_notify(self, run_id: str, quiet_before: datetime) -> Sequence[str]:
        """The accounts with stale invitations, in order."""
        async with reading(self._engine) as session:
            found = await session.scalars(
                select(InvitationRow.account_id)
                .where(_stale(run_id, quiet_before))
                .distinct()
                .order_by(InvitationRow.account_id)
            )
            return list(found)

    async def inviters_to_notify(
        self, account: str, run_id: str, quiet_before: datetime
    ) -> list[InviterToNotify]:
        """Who is told of the account's stale invitations, the longest quiet first (REM-2).

        The inviter, or the account's owner where the inviter has left.
        """
        async with reading(self._engine) as session:
            target = await known_account(session, account)
            rows = await session.scalars(
                select(InvitationRow)
                .where(_stale(run_id, quiet_before), InvitationRow.account_id == account)
                .order_by(InvitationRow.quiet_since, InvitationRow.invitation_id)
            )
            by_inviter = defaultdict[str, list[InvitationRow]](list)
            for row in rows:
                by_inviter[row.record.invited_by].append(row)
            told = dict[str, InviterToNotify]()
            for inviter, theirs in by_inviter.items():
                user = await user_or_owner(session, account, inviter)
                person = user.person if user else PersonRow(email=inviter)
                stale = tuple(_as_told(row, run_id) for row in theirs)
                before = told.get(person.email)
                told[person.email] = InviterToNotify(
                    reader=Reader(
                        email=person.email,
                        name=person.name,
                        locale=person.locale or "en",
                        time_zone=person.time_zone or target.time_zone,
                    ),
                    account_name=target.name,
                    invitations=_longest_quiet_first(before.invitations if before else (), stale),
                )
            return list(told.values())

    async def last_digests(self, run_id: str) -> Mapping[str, datetime]:
        """When the run began that sent an inviter's last digest, by what its id begins with.

        Those of that run do not count.
        """
        async with reading(self._engine) as session:
            # Ids of runs are all as long as this one.
            dot = func.length(LetterRow.letter_id) - len(run_id)
            series, run = (
                func.substr(LetterRow.letter_id, 1, dot - 1),
                func.substr(LetterRow.letter_id, dot + 1),
            )
            last = await session.execute(
                select(series, func.max(ReminderRunRow.started_at))
                .join(ReminderRunRow, ReminderRunRow.run_id == run)
                .where(LetterRow.letter_id.startswith("digest."), run != run_id)
                .group_by(series)
            )
            return {begins_with: at for begins_with, at in last}


async def _reminded(session: AsyncSession, run_ids: Sequence[str]) -> Mapping[str | None, int]:
    counted = await session.execute(
        select(InvitationRow.reminded_by, func.count())
        .where(InvitationRow.reminded_by.in_(run_ids))
        .group_by(InvitationRow.reminded_by)
    )
    return {run_id: count for run_id, count in counted}


def _stale(run_id: str, quiet_before: datetime) -> ColumnElement[bool]:
    """Wants an answer, and has been quiet, or was until this run reminded of it."""
    return InvitationRow.state.in_(REMINDABLE) & or_(
        InvitationRow.quiet_since <= quiet_before, InvitationRow.reminded_by == run_id
    )


def _longest_quiet_first(
    *groups: tuple[StaleInvitation, ...],
) -> tuple[StaleInvitation, ...]:
    return tuple(sorted(chain(*groups), key=lambda each: each.quiet_since))


def _as_told(row: InvitationRow, run_id: str) -> StaleInvitation:
    kept = row.record
    assert row.quiet_since is not None, "nobody has heard of it"
    return StaleInvitation(
        email=row.email,
        state=kept.state,
        quiet_since=row.quiet_since,
        expires_at=kept.expires_at,
        reminders_sent=kept.reminders_sent,
        reminded=row.reminded_by == run_id,
    )
