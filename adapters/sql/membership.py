"""Accounts and memberships in the store, and the permissions that follow from them."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from adapters.sql.database.schema import (
    AccountRow,
    InvitationRow,
    MembershipRow,
    PersonRow,
)
from domain.account import Role
from domain.error import ErrorCode, Refused
from domain.invitation import Invite
from domain.membership import Membership


async def known_account(session: AsyncSession, name: str, *, lock: bool = False) -> AccountRow:
    """Return the account. Raises Refused: `not_found`."""
    row = await session.get(AccountRow, name, with_for_update=lock or None)
    if row is None:
        raise Refused(ErrorCode.NOT_FOUND, f"There is no account {name}.")
    return row


async def locked_accounts(session: AsyncSession, names: Iterable[str]) -> dict[str, AccountRow]:
    """Return the accounts, locked by id until this transaction ends."""
    return {name: await known_account(session, name, lock=True) for name in sorted(set(names))}


async def current_membership(session: AsyncSession, email: str) -> MembershipRow | None:
    """Return the membership that a person has now, if any."""
    return await session.scalar(
        select(MembershipRow).where(MembershipRow.email == email, MembershipRow.until.is_(None))
    )


async def left_behind(session: AsyncSession, invitation_id: str) -> MembershipRow | None:
    """Return the membership that the acceptance of this invitation ended, if any."""
    return await session.scalar(
        select(MembershipRow).where(MembershipRow.leaving == f"invitation:{invitation_id}")
    )


async def administers(session: AsyncSession, account: str, email: str) -> bool:
    """Return whether the person is an owner or admin of the account (INV-1)."""
    membership = await current_membership(session, email)
    return (
        membership is not None
        and membership.account_id == account
        and Role(membership.role).administers
    )


async def require_admin(session: AsyncSession, account: str, admin: str) -> None:
    """Raise Refused(not_authorized) unless the person is an owner or admin (INV-1)."""
    if not await administers(session, account, admin):
        raise Refused(ErrorCode.NOT_AUTHORIZED, f"{admin} is neither owner nor admin of {account}.")


async def owns(session: AsyncSession, account: str, email: str) -> bool:
    """Return whether the person is the owner of the account."""
    membership = await current_membership(session, email)
    return (
        membership is not None
        and membership.account_id == account
        and membership.role == Role.OWNER
    )


async def membership_of(
    session: AsyncSession, invite: Invite, row: MembershipRow | None
) -> Membership | None:
    """Return the invitee's current membership as `require_invitable` judges it."""
    if row is None:
        return None
    account = await session.get_one(AccountRow, row.account_id)
    return Membership(
        account=account.id,
        role=Role(row.role),
        paid=account.paid,
        follows_owner=await _follows_owner(session, invite, account.id),
    )


async def _follows_owner(session: AsyncSession, invite: Invite, source: str) -> bool:
    """Return whether the owner of `source` has the invitation that `invite` goes beside (BLK-6).

    It leads into the same account, and is open or accepted.
    """
    if invite.beside is None:
        return False
    row = await session.get(InvitationRow, invite.beside)
    return (
        row is not None
        and row.account_id == invite.account
        and (row.record.state.unanswered or row.record.state.accepted)
        and await owns(session, source, row.email)
    )


async def admins_of(session: AsyncSession, account: str) -> Sequence[PersonRow]:
    """Return the owner and admins of an account, the oldest membership first (CRD-2)."""
    found = await session.scalars(
        select(PersonRow)
        .join(MembershipRow, MembershipRow.email == PersonRow.email)
        .where(
            MembershipRow.account_id == account,
            MembershipRow.until.is_(None),
            MembershipRow.role.in_([role for role in Role if role.administers]),
        )
        .order_by(MembershipRow.id)
    )
    return found.all()


async def user_or_owner(session: AsyncSession, account: str, email: str) -> MembershipRow | None:
    """Return the user of that address, with their person; the owner if there is none."""
    found = await session.scalars(
        select(MembershipRow)
        .where(
            MembershipRow.account_id == account,
            MembershipRow.until.is_(None),
            (MembershipRow.email == email) | (MembershipRow.role == Role.OWNER),
        )
        .options(joinedload(MembershipRow.person))
    )
    return min(found, key=lambda user: user.email != email, default=None)
