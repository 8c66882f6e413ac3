"""The outbox: everything that follows a commit is a row of that commit (OPS-1).

A worker leases a row before it carries it out. A lease is the row's next due time: a worker that
dies leaves the row to another one when the lease ends. The number of attempts identifies the lease,
so that a worker whose lease has ended changes nothing.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import JSON, ColumnElement, Row, Update, delete, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.change import record_changes
from adapters.sql.database.schema import (
    UNANSWERED,
    InvitationRow,
    LetterRow,
    MembershipRow,
    OutboxRow,
)
from adapters.sql.database.transaction import chunked, insert_missing, reading, writing
from domain.account import Role
from domain.journal import OPERATOR
from domain.outbox import (
    DIRECTORY_CHANGED,
    REPLACE,
    FollowUp,
    FollowUpKind,
    QueuedEvent,
    QueuedLetter,
)
from domain.person import is_pseudonym

_WAITING = OutboxRow.given_up.is_(False)
_KINDS_WITH_ACCOUNT = frozenset({"invitation", "addon", "assignment"})

STARTS_IN_TRANSACTION: Final = 500
"""Rows that one transaction inserts, so that no other writer waits long."""

COLUMNS: Final = (
    OutboxRow.number,
    OutboxRow.kind,
    OutboxRow.key,
    OutboxRow.workflow_id,
    OutboxRow.run_id,
    OutboxRow.account_id,
    OutboxRow.signal,
    type_coerce(OutboxRow.letter, JSON).label("letter"),
    OutboxRow.attempts,
    OutboxRow.at,
    OutboxRow.created_at,
    OutboxRow.due_at,
    OutboxRow.failure,
    OutboxRow.given_up,
)
"""The columns of a row; a letter is not parsed."""

NO_SEARCH = OutboxRow.kind != FollowUpKind.SWEEP
"""The rows without the repeated searches, which are never done."""


class SqlOutbox:
    """The rows that have not been carried out yet."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def lease(self, limit: int, lasts: timedelta) -> list[FollowUp]:
        """Lease at most `limit` due rows, the one due longest first."""
        now = datetime.now(UTC)
        due = (
            select(*COLUMNS)
            .where(_WAITING, OutboxRow.due_at <= now)
            .order_by(OutboxRow.due_at, OutboxRow.number)
            .limit(limit)
        )
        async with reading(self._engine) as session:
            # Most of the time nothing is due, and a read waits for no writer.
            if await session.scalar(due.with_only_columns(OutboxRow.number).limit(1)) is None:
                return []
        async with writing(self._engine) as session:
            found = (await session.execute(due.with_for_update(skip_locked=True))).all()
            leased = update(OutboxRow).where(OutboxRow.number.in_([row.number for row in found]))
            await session.execute(
                leased.values(due_at=now + lasts, attempts=OutboxRow.attempts + 1)
            )
            rows = [follow_up(row) for row in found]
            return [row.model_copy(update={"attempts": row.attempts + 1}) for row in rows]

    async def done(self, row: FollowUp) -> None:
        """Delete a row that was carried out."""
        async with writing(self._engine) as session:
            await session.execute(delete(OutboxRow).where(*_leased(row)))

    async def postpone(
        self, row: FollowUp, delay: timedelta, *, failure: str | None = None
    ) -> None:
        """Make the row due again after `delay`, optionally because the attempt failed."""
        changes: dict[str, object] = {"due_at": datetime.now(UTC) + delay}
        # The activity that sends a letter records its own failures.
        if failure or row.kind is FollowUpKind.SWEEP:
            changes["failure"] = failure
        await self._change(update(OutboxRow).where(*_leased(row)).values(changes))

    async def give_up(self, row: FollowUp, failure: str) -> None:
        """Leave the row to an operator: no attempt can succeed."""
        await self._change(
            update(OutboxRow).where(*_leased(row)).values(given_up=True, failure=failure)
        )

    async def _change(self, change: Update) -> None:
        async with writing(self._engine) as session:
            await session.execute(change)

    async def add_sweeps(self, keys: Iterable[str]) -> None:
        """Insert the rows of the repeated searches, once."""
        now = datetime.now(UTC)
        async with writing(self._engine) as session:
            await _insert(session, [_new_row(FollowUpKind.SWEEP, key, key, now) for key in keys])

    async def add_claims(self, claims: Iterable[tuple[str, str]]) -> None:
        """Insert a row for each abandoned claim, given as workflow id and invitation id."""
        now = datetime.now(UTC)
        rows = [
            _new_row(FollowUpKind.CLAIM, f"claim/{invitation_id}", workflow_id, now)
            for workflow_id, invitation_id in claims
        ]
        async with writing(self._engine) as session:
            await _insert(session, rows)

    async def add_starts(self, workflow_ids: Sequence[str], after: timedelta) -> None:
        """Insert a row for each of these workflows, which is started unless it runs then."""
        now = datetime.now(UTC)
        for first in range(0, len(workflow_ids), STARTS_IN_TRANSACTION):
            some = workflow_ids[first : first + STARTS_IN_TRANSACTION]
            async with writing(self._engine) as session:
                await _insert(session, [_new_start(each, now, after) for each in some])

    async def move_watermark(self, row: FollowUp, at: datetime) -> None:
        """Record up to which time a repeated search has looked."""
        await self._change(update(OutboxRow).where(*_leased(row)).values(at=at))

    async def listed(self) -> list[FollowUp]:
        """Return the rows that have not been carried out, the oldest first."""
        async with reading(self._engine) as session:
            rows = select(*COLUMNS).where(NO_SEARCH).order_by(OutboxRow.number)
            return [follow_up(row) for row in await session.execute(rows)]

    async def starts_of(self, workflow_ids: Sequence[str]) -> dict[str, int]:
        """Return the numbers of the rows that start these workflows."""
        starts = select(OutboxRow.workflow_id, OutboxRow.number).where(
            OutboxRow.kind == FollowUpKind.START
        )
        async with reading(self._engine) as session:
            return {
                workflow_id: number
                for some in chunked(workflow_ids)
                for workflow_id, number in await session.execute(
                    starts.where(OutboxRow.workflow_id.in_(some))
                )
            }

    async def discard(self, number: int, *, by: str = OPERATOR) -> bool:
        """Delete a row that will not be carried out any more; return whether it existed."""
        async with writing(self._engine) as session:
            discarded = await session.scalar(
                delete(OutboxRow)
                .where(OutboxRow.number == number, NO_SEARCH)
                .returning(OutboxRow.number)
            )
            return await _recorded(session, "outbox discard", discarded, by)

    async def retry(self, number: int, *, by: str = OPERATOR) -> bool:
        """Make a row due now, also one that was given up; return whether it exists."""
        async with writing(self._engine) as session:
            retried = await session.scalar(
                update(OutboxRow)
                .where(OutboxRow.number == number, NO_SEARCH)
                .values(due_at=datetime.now(UTC), given_up=False)
                .returning(OutboxRow.number)
            )
            return await _recorded(session, "outbox retry", retried, by)


async def _recorded(session: AsyncSession, action: str, number: int | None, by: str) -> bool:
    """Record the author of a change to a row (OPS-8); return whether the row exists."""
    if number is None:
        return False
    await record_changes(session, action, [str(number)], by=by, at=datetime.now(UTC))
    return True


def follow_up(row: Row[Any]) -> FollowUp:
    """Return a row of `COLUMNS` as a value; its letter may be of a later release."""
    return FollowUp(
        number=row.number,
        kind=FollowUpKind(row.kind),
        key=row.key,
        workflow_id=row.workflow_id,
        run_id=row.run_id,
        account=row.account_id,
        signal=row.signal,
        letter=QueuedEvent.of(row.letter) if row.letter else None,
        attempts=row.attempts,
        at=row.at,
        since=row.created_at,
        due_at=row.due_at,
        failure=row.failure,
        given_up=row.given_up,
    )


def _leased(row: FollowUp) -> Sequence[ColumnElement[bool]]:
    return (OutboxRow.number == row.number, OutboxRow.attempts == row.attempts)


# Rows, inserted in the transaction of the change that they follow.


async def queue_letters(
    session: AsyncSession,
    letters: Iterable[QueuedLetter],
    *,
    workflow_id: str,
    account: str,
    at: datetime,
    after: timedelta = timedelta(),
) -> list[str]:
    """Insert a row for each letter that was neither sent nor queued before; return their ids.

    The relay sends them when `after` has passed.
    """
    # A person who has been forgotten may still be the payee of a late refund.
    queued = {
        each.letter.id: each for each in letters if not is_pseudonym(each.letter.reader.email)
    }
    sent = await session.scalars(select(LetterRow.letter_id).where(LetterRow.letter_id.in_(queued)))
    for letter_id in sent:
        del queued[letter_id]
    due_at = datetime.now(UTC) + after
    rows = [
        _new_row(FollowUpKind.LETTER, letter_id, workflow_id, at, account=account)
        | {"letter": letter, "due_at": due_at}
        for letter_id, letter in queued.items()
    ]
    await _insert(session, rows)
    return list(queued)


async def start_workflow(
    session: AsyncSession,
    workflow_id: str,
    account: str,
    at: datetime,
    *,
    after: timedelta = timedelta(),
) -> None:
    """Insert a row that starts the workflow of a record when `after` has passed, unless it runs."""
    await _insert(session, [_new_start(workflow_id, at, after) | {"account_id": account}])


async def replace_workflow(
    session: AsyncSession, workflow_id: str, account: str, at: datetime
) -> None:
    """Insert a row that ends the workflow, and starts it from its record."""
    row = _new_row(FollowUpKind.START, f"{REPLACE}{workflow_id}", workflow_id, at, account=account)
    await _insert(session, [row])


def _new_start(workflow_id: str, at: datetime, after: timedelta) -> dict[str, object]:
    # `KIND/ACCOUNT/ID`; the id of a refund does not name its account.
    kind, _, rest = workflow_id.partition("/")
    account = rest.partition("/")[0] if kind in _KINDS_WITH_ACCOUNT else ""
    row = _new_row(FollowUpKind.START, f"start/{workflow_id}", workflow_id, at, account=account)
    return row | {"due_at": datetime.now(UTC) + after}


async def signal_owners(session: AsyncSession, accounts: Iterable[str], at: datetime) -> None:
    """Insert a row for each unanswered invitation of the owners of `accounts`.

    Its workflow then rechecks the blockers. The caller has locked the accounts. Pending
    invitations are included, because an acceptance in progress may have found a blocker that is
    cleared now.
    """
    owners = await session.scalars(
        select(MembershipRow.email).where(
            MembershipRow.account_id.in_(list(accounts)),
            MembershipRow.until.is_(None),
            MembershipRow.role == Role.OWNER,
        )
    )
    await signal_invitees(session, owners.all(), at)


async def signal_invitees(session: AsyncSession, emails: Sequence[str], at: datetime) -> None:
    """Insert a row for each unanswered invitation of these people."""
    for some in chunked(emails):
        rows = await session.scalars(
            select(InvitationRow)
            .where(InvitationRow.email.in_(some), UNANSWERED)
            .order_by(InvitationRow.invitation_id)
        )
        for row in rows:
            signal_invitation(session, row, at)


def signal_invitation(
    session: AsyncSession, row: InvitationRow, at: datetime, *, after: timedelta = timedelta()
) -> None:
    """Insert a row for the workflow of a changed invitation, possibly one that has ended.

    The signal is sent when `after` has passed. An invitation that is not bound to a run gets its
    row when it is bound.
    """
    if row.run_id:
        signal_workflow(
            session,
            row.record.workflow_id,
            DIRECTORY_CHANGED,
            account=row.account_id,
            run_id=row.run_id,
            at=at,
            after=after,
        )


def signal_workflow(
    session: AsyncSession,
    workflow_id: str,
    signal: str,
    *,
    account: str,
    at: datetime,
    run_id: str = "",
    after: timedelta = timedelta(),
) -> None:
    """Insert a row that signals a workflow; `run_id` is empty for ids that are never reused."""
    session.add(
        OutboxRow(workflow_id=workflow_id, run_id=run_id, account_id=account, at=at, signal=signal)
    )


def _new_row(
    kind: FollowUpKind, key: str, workflow_id: str, at: datetime, *, account: str = ""
) -> dict[str, object]:
    return {
        "kind": kind,
        "key": key,
        "workflow_id": workflow_id,
        "account_id": account,
        "at": at,
    }


async def _insert(session: AsyncSession, rows: Sequence[dict[str, object]]) -> None:
    await insert_missing(session, OutboxRow, rows)
