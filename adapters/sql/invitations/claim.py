"""Claims of invitations: rows that precede the start of their workflows (INV-2, INV-3, INV-15)."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import InvitationRow, MembershipRow
from adapters.sql.database.transaction import advisory_lock_on_invitee
from adapters.sql.invitations.record import (
    blocked_invitation,
    reserve_seat,
    store_record,
    stored_invitation,
)
from adapters.sql.membership import (
    current_membership,
    membership_of,
    require_paid_account,
)
from domain.error import ErrorCode, Refused
from domain.invitation import Invitation, Invite, StoredInvitation
from domain.journal import day_of
from domain.membership import require_invitable


async def claim_invitation(
    session: AsyncSession, invite: Invite, initial_record: Invitation, at: datetime
) -> StoredInvitation | None:
    """Claim one invitation, or return the live one."""
    await advisory_lock_on_invitee(session, invite.email)
    await require_paid_account(session, invite.account, invite.invited_by, lock=True)
    return await _claim(session, invite, initial_record, at)


async def claim_invitations(
    session: AsyncSession, claims: Sequence[tuple[Invite, Invitation]], at: datetime
) -> list[StoredInvitation | Refused | None]:
    """Claim the rows of one request in order; a refusal affects no other row (INV-2)."""
    for email in sorted({invite.email for invite, _ in claims}):
        await advisory_lock_on_invitee(session, email)
    own = await _rows_by_id(session, [invite.invitation_id for invite, _ in claims])
    refusal = await _refusal(session, claims[0][0])
    known = await _known(session, [invite for invite, _ in claims])
    results = list[StoredInvitation | Refused | None]()
    for invite, initial_record in claims:
        row = own.get(invite.invitation_id)
        if row and row.run_id is None:
            row.claimed_at = at
        if row or refusal:
            results.append(stored_invitation(row) if row else refusal)
            continue
        is_known = invite.email in known
        try:
            results.append(await _claim(session, invite, initial_record, at, known=is_known))
        except Refused as refused:
            results.append(refused)
    return results


async def _claim(
    session: AsyncSession,
    invite: Invite,
    initial_record: Invitation,
    at: datetime,
    *,
    known: bool = True,
) -> StoredInvitation | None:
    """Insert the invitation, or return the live one; the inviter has been authorized.

    Unless the person is `known`, there is nothing that could refuse them but the seats.
    Raises Refused with nothing changed.
    """
    live = await _find_live(session, invite) if known else None
    if live is None:
        await _insert(session, invite, initial_record, at)
    return live


async def _find_live(session: AsyncSession, invite: Invite) -> StoredInvitation | None:
    """Return the live invitation, if any; raise Refused if the person cannot be invited."""
    membership = await current_membership(session, invite.email)
    require_invitable(invite, await membership_of(session, invite, membership))
    live = await _live(session, invite)
    if live:
        return stored_invitation(live)
    if invite.owner_invitation_id:
        await blocked_invitation(session, invite.owner_invitation_id)
    return None


async def _insert(
    session: AsyncSession, invite: Invite, initial_record: Invitation, at: datetime
) -> None:
    """Insert the invitation, and reserve its seat. Raises Refused: `no_seats`."""
    row = InvitationRow(
        invitation_id=invite.invitation_id,
        account_id=invite.account,
        invitee_key=invite.key,
        email=invite.email,
        claimed_at=at,
        seat_reserved=await reserve_seat(session, invite),
        ordered=invite,
    )
    store_record(row, initial_record)
    session.add(row)


async def _known(session: AsyncSession, invites: Sequence[Invite]) -> set[str]:
    """Return the people who are on an account, or have a live invitation into this one.

    Most people of a batch are neither. Their rows need no further queries, which would delay
    every other transaction on SQLite.
    """
    emails = [invite.email for invite in invites]
    users = await session.scalars(
        select(MembershipRow.email).where(
            MembershipRow.email.in_(emails), MembershipRow.until.is_(None)
        )
    )
    invited = await session.scalars(
        select(InvitationRow.email).where(
            InvitationRow.account_id == invites[0].account,
            InvitationRow.email.in_(emails),
            InvitationRow.ended_at.is_(None),
        )
    )
    return {*users, *invited}


async def _refusal(session: AsyncSession, invite: Invite) -> Refused | None:
    """Return why the inviter cannot invite anybody into the account, if so (INV-1)."""
    try:
        await require_paid_account(session, invite.account, invite.invited_by, lock=True)
    except Refused as refused:
        return refused
    return None


async def _rows_by_id(session: AsyncSession, ids: Sequence[str]) -> dict[str, InvitationRow]:
    """Return the invitations that exist, locked in the order of their ids."""
    rows = await session.scalars(
        select(InvitationRow)
        .where(InvitationRow.invitation_id.in_(ids))
        .order_by(InvitationRow.invitation_id)
        .with_for_update()
    )
    return {row.invitation_id: row for row in rows}


async def _live(session: AsyncSession, invite: Invite) -> InvitationRow | None:
    """Return the live invitation of a person who is not on the account, if any.

    Raises Refused: `conflict`, if it was accepted and its settlement is still open (INV-8).
    """
    row = await session.scalar(
        select(InvitationRow).where(
            InvitationRow.account_id == invite.account,
            InvitationRow.email == invite.email,
            InvitationRow.ended_at.is_(None),
        )
    )
    if row and row.record.state.accepted:
        raise open_settlement(row.record)
    return row


def open_settlement(invitation: Invitation) -> Refused:
    """Return the refusal of another invitation while an accepted one is not completed (INV-8)."""
    accepted, settlement = invitation.accepted_at, invitation.settlement
    on_day = f" on {day_of(accepted)}" if accepted else ""
    waits_for = f"its {settlement.kind} is open" if settlement else "its move is open"
    if settlement and settlement.refund_id:
        waits_for = f"its refund {settlement.refund_id} is open"
    return Refused(
        ErrorCode.CONFLICT,
        f"{invitation.email} accepted an earlier invitation{on_day}, and {waits_for}; "
        "a new invitation is possible after that.",
        workflow_id=invitation.workflow_id,
        run_id=invitation.run_id,
    )
