"""The row of an invitation follows its record."""

from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import InvitationRow
from adapters.sql.licenses.pool import serve_waiting
from adapters.sql.membership import base_licenses, locked_accounts
from domain.error import ErrorCode, Refused
from domain.invitation import Invitation, InvitationState, StoredInvitation

UNANSWERED: Final = InvitationRow.state.in_([s for s in InvitationState if s.unanswered])
"""Neither accepted nor ended: a seat may still be reserved for it."""


def keep(row: InvitationRow, invitation: Invitation) -> None:
    """Keep `invitation` as it stands; the run it is bound to stays."""
    row.run_id = row.run_id or invitation.run_id or None
    row.record = invitation.model_copy(update={"run_id": row.run_id or ""})
    row.state = invitation.state
    row.deadline = invitation.expires_at
    row.quiet_since = invitation.quiet_since
    row.reminded_by = invitation.reminded_by
    row.ended_at = invitation.journal[-1].at if invitation.state.final else None


def stored_invitation(row: InvitationRow) -> StoredInvitation:
    """The invitation as the store gives it out."""
    return StoredInvitation(
        invitation_id=row.invitation_id,
        ordered=row.ordered,
        invitation=row.record,
        started=row.run_id is not None,
    )


async def locked_invitation(session: AsyncSession, invitation_id: str) -> InvitationRow:
    """The row, which nobody else changes until this transaction ends.

    Raises Refused: `not_found`.
    """
    row = await session.get(InvitationRow, invitation_id, with_for_update=True)
    if row is None:
        raise unknown_invitation(invitation_id)
    return row


def unknown_invitation(invitation_id: str) -> Refused:
    """The answer about an invitation that the store does not keep."""
    return Refused(ErrorCode.NOT_FOUND, f"There is no invitation {invitation_id}.")


async def release_seat(session: AsyncSession, row: InvitationRow, at: datetime) -> None:
    """Give back the seat that is reserved for the invitation, if any (INV-15).

    Whoever waits for a base license is served with it.
    """
    if row.seat_reserved:
        await locked_accounts(session, [row.account_id])
        pool = await base_licenses(session, row.account_id)
        pool.reserved -= 1
        row.seat_reserved = False
        await serve_waiting(session, row.account_id, at)
