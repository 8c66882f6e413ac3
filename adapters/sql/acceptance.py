"""The transaction that commits a membership, and all that must be true at once (INV-11)."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.invitation import AccountJoined, JoinAccount
from adapters.sql.directory import load_account
from adapters.sql.record import keep, locked_invitation
from adapters.sql.schema import AccountRow, InvitationRow, MembershipRow, PersonRow, SubscriptionRow
from adapters.sql.settlement import Settled, refund_of, settle
from adapters.sql.standing import (
    administers,
    base_licenses,
    home,
    locked_accounts,
    require_invitable,
    require_paid,
)
from adapters.sql.transaction import insert_missing
from domain.account import Account, Role
from domain.blocker import blockers
from domain.error import ErrorCode, Refused
from domain.invitation import Invitation, Invite, License

INVITER_GONE = "The inviter no longer administers the account."


async def commit_acceptance(session: AsyncSession, order: JoinAccount) -> AccountJoined:
    """Move the person, once, and settle their money; the record that is kept then.

    Raises Refused as `InvitationStore.join` says, in the order of the rules.
    """
    invite, at = order.invite, order.invitation.journal[-1].at
    row = await locked_invitation(session, invite.invitation_id)
    if not row.record.state.unanswered:
        refund = await refund_of(session, invite.invitation_id)
        return AccountJoined(invitation=row.record, refund=refund)
    await _lock_person(session, invite)
    source = await home(session, invite.email)
    accounts = await locked_accounts(
        session, {invite.account, source.account_id if source else invite.account}
    )
    require_paid(accounts[invite.account])
    await require_invitable(session, invite.account, invite.email)
    await _take_seat(session, row, invite)
    settled = await _leave(session, order, source, accounts, at) if source else Settled()
    _enter(session, invite, at)
    accepted = await _noting_the_inviter(session, invite, order.invitation)
    changes = {"choice": settled.choice, "settlement": settled.settlement}
    keep(row, accepted.model_copy(update=changes))
    return AccountJoined(invitation=row.record, refund=settled.refund)


async def _lock_person(session: AsyncSession, invite: Invite) -> None:
    """Two acceptances of one person happen one after the other, whichever accounts they join."""
    await insert_missing(session, PersonRow, [{"email": invite.email, "name": invite.name}])
    await session.get(PersonRow, invite.email, with_for_update=True)


async def _take_seat(session: AsyncSession, row: InvitationRow, invite: Invite) -> None:
    """The reserved seat becomes an assigned one (INV-15)."""
    if invite.license is not License.LICENSED:
        return
    pool = await base_licenses(session, invite.account)
    if row.seat_reserved:
        pool.reserved -= 1
    elif pool.free < 1:
        raise Refused(ErrorCode.NO_SEATS, f"{invite.account} has no free license.")
    pool.assigned += 1
    row.seat_reserved = False


async def _leave(
    session: AsyncSession,
    order: JoinAccount,
    membership: MembershipRow,
    accounts: Mapping[str, AccountRow],
    at: datetime,
) -> Settled:
    """Give back the seat held there; an owner closes the account behind them (SRC-2)."""
    settled = Settled()
    if membership.role == Role.OWNER:
        source = await load_account(session, membership.account_id)
        _require_free_to_close(source, membership.email)
        settled = await settle(session, order, source, accounts[order.invite.account], at)
        await _close(session, accounts[source.id], at)
    if membership.licensed:
        pool = await base_licenses(session, membership.account_id)
        pool.assigned -= 1
    membership.until = at
    membership.leaving = f"invitation:{order.invite.invitation_id}"
    # Before the new membership: a person is on one account at every moment.
    await session.flush()
    return settled


def _require_free_to_close(source: Account, owner: str) -> None:
    found = blockers(source, owner)
    if found:
        raise Refused(
            ErrorCode.BLOCKED,
            "Something stands in the way of leaving the present account.",
            blockers=[blocker.model_dump(mode="json") for blocker in found],
        )


async def _close(session: AsyncSession, source: AccountRow, at: datetime) -> None:
    source.state = "closed"
    lines = await session.scalars(
        select(SubscriptionRow).where(
            SubscriptionRow.account_id == source.id, SubscriptionRow.ended.is_(None)
        )
    )
    for line in lines:
        line.ended = at


def _enter(session: AsyncSession, invite: Invite, at: datetime) -> None:
    session.add(
        MembershipRow(
            account_id=invite.account,
            email=invite.email,
            role=Role.MEMBER,
            licensed=invite.license is License.LICENSED,
            origin="invitation",
            invitation_id=invite.invitation_id,
            since=at,
        )
    )


async def _noting_the_inviter(
    session: AsyncSession, invite: Invite, accepted: Invitation
) -> Invitation:
    """The journal says so when the inviter has gone meanwhile (INV-12)."""
    if await administers(session, invite.account, invite.invited_by):
        return accepted
    *before, last = accepted.journal
    note = f"{last.note} {INVITER_GONE}" if last.note else INVITER_GONE
    journal = (*before, last.model_copy(update={"note": note}))
    return accepted.model_copy(update={"journal": journal})
