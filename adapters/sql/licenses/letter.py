"""The letters about licenses, queued in the transaction that changes them (OPS-1)."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import AssignmentRequestRow, AssignmentRow, PersonRow
from adapters.sql.database.transaction import chunked
from adapters.sql.membership import admins_of, require_account
from adapters.sql.outbox import queue_letters
from domain.assignment import AssignmentResult, AssignmentState
from domain.letter.license import HolderParties, license_letters
from domain.license import Sku
from domain.outbox import QueuedLetter


async def queue_assignment_letters(
    session: AsyncSession, changed: Set[AssignmentRow], at: datetime
) -> None:
    """Queue the letters about assignments that were requested or waiting and have changed.

    Users are notified of assigned licenses, and the admin when no user waits any more (ASG-5).
    """
    for request_id in sorted({row.request_id for row in changed if not row.waits}):
        request = await session.get_one(AssignmentRequestRow, request_id)
        rows = await rows_of(session, request_id)
        # A user served by another request is notified by that request.
        served = [row for row in rows if not row.held_before]
        waited = [row for row in served if row.email in request.ordered.waited]
        assigned = [
            row for row in served if row in changed and row.state == AssignmentState.ASSIGNED
        ]
        if any(row.waits for row in rows):
            waited = []
        notice = _Notice(
            # The number of settled users grows with each notice.
            id=f"{request_id}/{sum(not row.waits for row in rows)}",
            workflow_id=request.ordered.workflow_id,
            account=request.account_id,
            sku=request.ordered.sku,
            by=request.ordered.by,
            at=at,
        )
        await _queue(session, notice, list(map(as_result, assigned)), list(map(as_result, waited)))


async def queue_release_letters(
    session: AsyncSession,
    account: str,
    sku: Sku,
    released: Sequence[AssignmentResult],
    *,
    by: str,
    at: datetime,
) -> None:
    """Queue the letters to users whose license an admin has taken back (ASG-3)."""
    # No workflow carries out a release.
    notice = _Notice(id=uuid4().hex, workflow_id="", account=account, sku=sku, by=by, at=at)
    await _queue(session, notice, released)


@dataclass(frozen=True)
class _Notice:
    """One change of licenses, with the admin who requested it."""

    id: str
    """The id of the change; its letters are sent once."""
    workflow_id: str
    account: str
    sku: Sku
    by: str
    at: datetime


async def _queue(
    session: AsyncSession,
    notice: _Notice,
    results: Sequence[AssignmentResult],
    waited: Sequence[AssignmentResult] = (),
) -> None:
    if not results and not waited:
        return
    emails = [result.email for result in results]
    parties = await _parties(session, notice.account, emails, notice.by)
    letters = license_letters(notice.id, notice.sku, results, waited, parties)
    await queue_letters(
        session,
        (QueuedLetter(letter=letter) for letter in letters),
        workflow_id=notice.workflow_id,
        account=notice.account,
        at=notice.at,
    )


async def _parties(
    session: AsyncSession, account: str, emails: Sequence[str], requested_by: str
) -> HolderParties:
    """Return the people to notify of an assignment, as the directory has them (TXT-1)."""
    row = await require_account(session, account)
    people: list[PersonRow] = []
    for some in chunked([*emails, requested_by]):
        people += await session.scalars(select(PersonRow).where(PersonRow.email.in_(some)))
    readers = {person.email: person.as_reader(row.time_zone) for person in people}
    return HolderParties(
        account_name=row.name,
        holders=tuple(readers[email] for email in emails if email in readers),
        requested_by=readers.get(requested_by),
        admins=tuple(admin.as_reader(row.time_zone) for admin in await admins_of(session, account)),
    )


async def rows_of(session: AsyncSession, request_id: str) -> Sequence[AssignmentRow]:
    """Return the assignments of a request, in the order of its users."""
    rows = await session.scalars(
        select(AssignmentRow)
        .where(AssignmentRow.request_id == request_id)
        .order_by(AssignmentRow.number)
    )
    return rows.all()


def as_result(row: AssignmentRow) -> AssignmentResult:
    """Return the assignment as the result of its user."""
    refused = row.state == AssignmentState.REFUSED
    return AssignmentResult(
        email=row.email,
        state=AssignmentState(row.state),
        capacity=None if refused else row.capacity or None,
        error=row.error,
        held_before=row.held_before and row.state == AssignmentState.ASSIGNED,
    )
