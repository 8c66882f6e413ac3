"""Accounts and memberships in the store, and the permissions that follow from them."""

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Final

from sqlalchemy import ColumnElement, Select, bindparam, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload, selectinload
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.orm.interfaces import ORMOption

from adapters.sql.database.schema import (
    AccountRow,
    InvitationRow,
    MembershipRow,
    PersonRow,
    SubscriptionRow,
)
from domain.account import Account, Plan, Role, unknown_account
from domain.error import ErrorCode, Refused
from domain.invitation import Invite
from domain.membership import Membership, require_paid

JOINABLE: Final = (
    (AccountRow.plan != Plan.FREE) & ~AccountRow.suspended & (AccountRow.state == "open")
)
"""Condition on accounts that can be joined, as `require_paid` checks it (INV-12)."""


async def require_account(session: AsyncSession, name: str, *, lock: bool = False) -> AccountRow:
    """Return the account. Raises Refused: `not_found`."""
    row = await session.get(AccountRow, name, with_for_update=lock or None)
    if row is None:
        raise unknown_account(name)
    return row


async def locked_accounts(session: AsyncSession, names: Iterable[str]) -> dict[str, AccountRow]:
    """Return the accounts, locked by id until this transaction ends."""
    return {name: await require_account(session, name, lock=True) for name in sorted(set(names))}


async def current_membership(session: AsyncSession, email: str) -> MembershipRow | None:
    """Return the membership that a person has now, if any."""
    return await session.scalar(
        select(MembershipRow).where(MembershipRow.email == email, MembershipRow.until.is_(None))
    )


async def ended_membership(session: AsyncSession, invitation_id: str) -> MembershipRow | None:
    """Return the membership that the acceptance of this invitation ended, if any."""
    return await session.scalar(
        select(MembershipRow).where(MembershipRow.leaving == f"invitation:{invitation_id}")
    )


async def is_admin(session: AsyncSession, account: str, email: str) -> bool:
    """Return whether the person is an owner or admin of the account (INV-1)."""
    membership = await current_membership(session, email)
    return (
        membership is not None
        and membership.account_id == account
        and Role(membership.role).administers
    )


async def require_admin(session: AsyncSession, account: str, admin: str) -> None:
    """Raise Refused(not_authorized) unless the person is an owner or admin (INV-1)."""
    if not await is_admin(session, account, admin):
        raise Refused(ErrorCode.NOT_AUTHORIZED, f"{admin} is neither owner nor admin of {account}.")


async def require_paid_account(
    session: AsyncSession, name: str, admin: str, *, lock: bool = False
) -> AccountRow:
    """Return a paid account of the admin.

    Raises Refused: `not_found`, `not_authorized`, `target_not_paid` (INV-1).
    """
    account = await require_account(session, name, lock=lock)
    await require_admin(session, name, admin)
    require_paid(account)
    return account


async def is_owner(session: AsyncSession, account: str, email: str) -> bool:
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
    """Return the invitee's current membership, for `require_invitable`."""
    if row is None:
        return None
    account = await session.get_one(AccountRow, row.account_id)
    return Membership(
        account=account.id,
        role=Role(row.role),
        paid=account.paid,
        follows_owner=await _follows_owner(session, invite, account.id),
        since=row.since,
    )


async def _follows_owner(session: AsyncSession, invite: Invite, source: str) -> bool:
    """Return whether `invite` was caused by an invitation of the owner of `source` (BLK-6).

    The owner's invitation must be to the same account, and open or accepted.
    """
    if invite.owner_invitation_id is None:
        return False
    row = await session.get(InvitationRow, invite.owner_invitation_id)
    return (
        row is not None
        and row.account_id == invite.account
        and (row.record.state.unanswered or row.record.state.accepted)
        and await is_owner(session, source, row.email)
    )


async def admins_of(session: AsyncSession, account: str) -> Sequence[PersonRow]:
    """Return the owner of an account, then its admins, the oldest membership first (CRD-2)."""
    found = await session.scalars(
        select(PersonRow)
        .join(MembershipRow, MembershipRow.email == PersonRow.email)
        .where(
            MembershipRow.account_id == account,
            MembershipRow.until.is_(None),
            MembershipRow.role.in_([role for role in Role if role.administers]),
        )
        .order_by(MembershipRow.role != Role.OWNER, MembershipRow.id)
    )
    return found.all()


async def user_or_owner(session: AsyncSession, account: str, email: str) -> MembershipRow | None:
    """Return the user with this address, else the owner; their person is loaded."""
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


_LISTS: Final = ("payment_methods", "rooms", "subscriptions", "invoices", "pools")
"""The lists of an account, besides its users."""


async def load_account(session: AsyncSession, account: str, *, only: str | None) -> Account:
    """Return the account as it is in this transaction, with that user only and without its rooms.

    With None it has no users. Large accounts have thousands of both.
    """
    row = await _load_row(session, account, MembershipRow.email == only)
    return Account.model_validate(row, from_attributes=True)


async def load_source(session: AsyncSession, membership: MembershipRow | None) -> Account | None:
    """Return the account that the person would leave, with that user only.

    Subscriptions that have ended are not listed: their payments are no longer prepaid (QUO-5).
    """
    if membership is None:
        return None
    row = await _load_row(session, membership.account_id, MembershipRow.email == membership.email)
    return as_listed(row)


async def load_whole_account(session: AsyncSession, account: str) -> Account:
    """Return the account as it is in this transaction, with all its users."""
    row = await _load_row(session, account, true(), rooms=True)
    return Account.model_validate(row, from_attributes=True)


def as_listed(row: AccountRow) -> Account:
    """Return the account as a file lists it; an open account without its ended subscriptions."""
    account = Account.model_validate(row, from_attributes=True)
    if row.state == "closed":
        return account
    ended = {line.id for line in row.subscriptions if line.ended is not None}
    lines = tuple(line for line in account.subscriptions if line.id not in ended)
    return account.model_copy(update={"subscriptions": lines}) if ended else account


async def _load_row(
    session: AsyncSession, account: str, wanted: ColumnElement[bool], *, rooms: bool = False
) -> AccountRow:
    """Return the account with the wanted users, and with its rooms if requested."""
    filled = await _filled_lists(session, account)
    if not rooms:
        filled.discard("rooms")
    row = (
        await session.scalars(
            select(AccountRow).where(AccountRow.id == account).options(*_list_options(filled))
        )
    ).one()
    person = joinedload(MembershipRow.person)
    found = await session.scalars(
        select(MembershipRow)
        .where(MembershipRow.account_id == account, MembershipRow.until.is_(None), wanted)
        .order_by(MembershipRow.id)
        .options(
            person.selectinload(PersonRow.meetings),
            person.selectinload(PersonRow.webinars),
            joinedload(MembershipRow.held),
        )
    )
    set_committed_value(row, "users", found.unique().all())
    for name in set(_LISTS).difference(filled):
        set_committed_value(row, name, [])
    return row


def whole_accounts() -> Select[AccountRow]:
    """Return the query of all accounts with everything that an import file has."""
    users = selectinload(AccountRow.users)
    person = users.joinedload(MembershipRow.person)
    return (
        select(AccountRow)
        .order_by(AccountRow.id)
        .options(
            person.selectinload(PersonRow.meetings),
            person.selectinload(PersonRow.webinars),
            users.joinedload(MembershipRow.held),
            *_list_options(_LISTS),
        )
    )


def _list_options(names: Collection[str]) -> Sequence[ORMOption]:
    many = {
        "payment_methods": selectinload(AccountRow.payment_methods),
        "rooms": selectinload(AccountRow.rooms),
        "subscriptions": selectinload(AccountRow.subscriptions).selectinload(
            SubscriptionRow.payments
        ),
        "invoices": selectinload(AccountRow.invoices),
        "pools": selectinload(AccountRow.pools),
    }
    # Single rows are joined to save a statement each: an acceptance loads two accounts.
    return (
        joinedload(AccountRow.base_licenses),
        joinedload(AccountRow.credit_balance),
        *(many[name] for name in names),
    )


async def _filled_lists(session: AsyncSession, account: str) -> set[str]:
    """Return the names of the lists that are not empty; loading each costs a statement."""
    filled = (await session.execute(_filled_lists_query(), {"account": account})).one()
    return {name for name, is_filled in zip(_LISTS, filled, strict=True) if is_filled}


@cache
def _filled_lists_query() -> Select[*tuple[bool, ...]]:
    lists = (getattr(AccountRow, name) for name in _LISTS)
    return select(*(each.any() for each in lists)).where(AccountRow.id == bindparam("account"))
