"""The row of an invitation: its record, and the seat that is reserved for it."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from activities.invitation import KeptInvitation
from adapters.sql.database.schema import NO_CAPACITY, WORKPLACE, InvitationRow
from adapters.sql.licenses.counter import (
    assign_reserved,
    free_base_licenses,
    pools_of,
    release_reserved,
    reserve,
    take_free_license,
)
from adapters.sql.licenses.pool import assign_waiting
from adapters.sql.membership import locked_accounts
from adapters.sql.money.settlement import refund_of
from adapters.sql.outbox import signal_invitation
from domain.error import ErrorCode, Refused
from domain.invitation import Invitation, InvitationState, Invite, License, StoredInvitation
from domain.license import Sku, no_seats


def store_record(row: InvitationRow, invitation: Invitation) -> None:
    """Replace the record; the run that the invitation is bound to stays.

    Reminders that the invitee has ended stay ended: the workflow may not know it yet.
    """
    row.run_id = row.run_id or invitation.run_id or None
    ended = invitation.reminders_ended or (row.record is not None and row.record.reminders_ended)
    row.record = invitation.model_copy(
        update={"run_id": row.run_id or "", "reminders_ended": ended}
    )
    row.state = invitation.state
    row.deadline = invitation.expires_at
    row.quiet_since = invitation.quiet_since
    row.reminded_by = invitation.reminded_by
    row.ended_at = invitation.journal[-1].at if invitation.state.final else None


def stored_invitation(row: InvitationRow) -> StoredInvitation:
    """Return the invitation as the store keeps it."""
    return StoredInvitation(
        invitation_id=row.invitation_id,
        ordered=row.ordered,
        invitation=row.record,
        started=row.run_id is not None,
    )


async def kept_invitation(session: AsyncSession, row: InvitationRow) -> KeptInvitation:
    """Return the record, with the refund that its acceptance requested."""
    refund = None
    if row.record.settlement and row.record.settlement.refund_id:
        refund = await refund_of(session, row.invitation_id)
    return KeptInvitation(invitation=row.record, refund=refund)


async def locked_invitation(session: AsyncSession, invitation_id: str) -> InvitationRow:
    """Return the row, locked until this transaction ends. Raises Refused: `not_found`."""
    row = await session.get(InvitationRow, invitation_id, with_for_update=True)
    if row is None:
        raise unknown_invitation(invitation_id)
    return row


def unknown_invitation(invitation_id: str) -> Refused:
    """Return the refusal of a request about an invitation that the store does not keep."""
    return Refused(ErrorCode.NOT_FOUND, f"There is no invitation {invitation_id}.")


async def blocked_invitation(session: AsyncSession, invitation_id: str) -> InvitationRow:
    """Return the blocked invitation that other users are invited beside (BLK-6).

    Raises Refused: `not_found`, `conflict` (not blocked).
    """
    row = await session.get(InvitationRow, invitation_id)
    if row is None:
        raise unknown_invitation(invitation_id)
    if row.record.state is not InvitationState.BLOCKED:
        raise Refused(
            ErrorCode.CONFLICT,
            f"The invitation of {row.email} is {row.record.state.value}, not blocked.",
        )
    return row


def bind_run(session: AsyncSession, row: InvitationRow, run_id: str) -> None:
    """Bind the invitation to the first run of its workflow; later ones are ignored."""
    store_record(row, row.record.model_copy(update={"run_id": run_id}))
    if row.record.state.final:
        signal_invitation(session, row, row.record.journal[-1].at)


# Seats: base licenses of the target account, which is locked.


async def free_seats(session: AsyncSession, invite: Invite) -> int:
    """Return how many base licenses are free; 0 for an invitation that needs none (INV-15)."""
    if invite.license is not License.LICENSED:
        return 0
    return await free_base_licenses(session, invite.account)


async def reserve_seat(session: AsyncSession, invite: Invite) -> bool:
    """Reserve a seat if the invitation needs one; return whether it does (INV-15).

    Raises Refused: `no_seats`.
    """
    if invite.license is not License.LICENSED:
        return False
    if not await reserve(session, invite.account):
        raise await _no_seats(session, invite.account)
    return True


async def assign_seat(session: AsyncSession, row: InvitationRow) -> None:
    """Assign the seat that is reserved for the invitation, else a free one (INV-15).

    Raises Refused: `no_seats`.
    """
    if row.seat_reserved:
        await assign_reserved(session, row.account_id)
        row.seat_reserved = False
    elif not await take_free_license(session, row.account_id, Sku.WORKPLACE, NO_CAPACITY):
        raise await _no_seats(session, row.account_id)


async def release_seat(session: AsyncSession, row: InvitationRow, at: datetime) -> None:
    """Release the seat that is reserved for the invitation, if any (INV-15).

    A user who waits for a base license is served with it (ASG-5).
    """
    if row.seat_reserved:
        await locked_accounts(session, [row.account_id])
        await release_reserved(session, row.account_id)
        row.seat_reserved = False
        await assign_waiting(session, row.account_id, at)


async def release_claim(session: AsyncSession, row: InvitationRow, at: datetime) -> None:
    """Delete a claim whose workflow never started, and release its seat."""
    await release_seat(session, row, at)
    await session.delete(row)
    await session.flush()


async def _no_seats(session: AsyncSession, account: str) -> Refused:
    pool = (await pools_of(session, account))[WORKPLACE, NO_CAPACITY]
    return no_seats(account, assigned=pool.assigned, reserved=pool.reserved)
