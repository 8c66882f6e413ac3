"""Searches of operators: pages of accounts and users, and everything about one person."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, contains_eager, joinedload

from adapters.sql.database.schema import (
    AccountRow,
    AssignmentRequestRow,
    AssignmentRow,
    InvitationRow,
    MembershipRow,
    PersonRow,
    RefundRow,
)
from adapters.sql.database.transaction import reading
from adapters.sql.membership import require_account
from adapters.sql.money.credit import balances_owed
from domain.account import Plan, Role
from domain.address import domain_of
from domain.assignment import AssignmentState
from domain.error import ErrorCode, Refused
from domain.invitation import Invitation
from domain.license import Sku
from domain.money import Money, rounded
from domain.refund import Refund
from domain.search import (
    NEAR_MATCHES,
    AccountPage,
    FoundAccount,
    FoundLicense,
    FoundMembership,
    FoundPerson,
    FoundUser,
    LicenseCount,
    PageRequest,
    SoughtLicense,
    UserPage,
    did_you_mean,
    near_matches,
)

_CANDIDATES: Final = 5_000
"""The maximum number of names that a mistyped one is compared with."""
_TYPED_TOO_MANY: Final = 3
"""The characters that a mistyped name may have too many or too few."""

Text = InstrumentedAttribute[str] | InstrumentedAttribute[str | None]


class SqlSearch:
    """Reads for operators; nothing is changed, and Temporal is not needed."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def accounts(self, query: str | None, part: PageRequest) -> AccountPage:
        """Return the accounts whose id, name or owner's address contains `query`."""
        wanted = _has_owner_or_name(query) if query else None
        async with reading(self._engine) as session:
            rows, total, more = await _page(
                session, select(AccountRow), wanted, AccountRow.id, part
            )
            return AccountPage(
                accounts=tuple(await _found_accounts(session, rows)),
                total=total,
                next_cursor=rows[-1].id if more else None,
            )

    async def users(self, account: str, query: str | None, part: PageRequest) -> UserPage:
        """Return the users whose address or name contains `query`, with their licenses.

        Raises Refused: `not_found`.
        """
        wanted = contains(query, PersonRow.email, PersonRow.name) if query else None
        users = (
            select(MembershipRow)
            .join(MembershipRow.person)
            .where(MembershipRow.account_id == account, MembershipRow.until.is_(None))
            .options(contains_eager(MembershipRow.person), joinedload(MembershipRow.held))
        )
        async with reading(self._engine) as session:
            await require_account(session, account)
            rows, total, more = await _page(session, users, wanted, MembershipRow.email, part)
            waiting = await _waiting(session, [row.email for row in rows], account)
            return UserPage(
                account=account,
                users=tuple(_found_user(row, waiting[row.email]) for row in rows),
                total=total,
                next_cursor=rows[-1].email if more else None,
            )

    async def find(self, email: str) -> FoundPerson:
        """Return every account, invitation, refund and license of a person.

        Raises Refused: `not_found`, with near matches.
        """
        async with reading(self._engine) as session:
            person = await session.get(PersonRow, email)
            memberships = await _memberships(session, email)
            waiting = (await _waiting(session, [email]))[email]
            requested = await _requested_at(session, waiting)
            found = FoundPerson(
                email=email,
                name=person.name if person else None,
                locale=person.locale if person else None,
                accounts=tuple(_found_membership(row, name) for row, name in memberships),
                invitations=tuple(await _invitations(session, email)),
                refunds=tuple(await _refunds(session, email)),
                licenses=(
                    *_held_licenses([row for row, _ in memberships]),
                    *(_waiting_license(row, requested[row.request_id]) for row in waiting),
                ),
            )
            if person or found.invitations or found.licenses:
                return found
            near = near_matches(email, await _similar_people(session, email))
        raise Refused(
            ErrorCode.NOT_FOUND,
            f"Nobody with the address {email} is known.{did_you_mean(near)}",
            near_matches=[*near],
        )

    async def near_accounts(self, name: str) -> list[str]:
        """Return the ids of the accounts that a mistyped id most likely meant."""
        about = func.length(AccountRow.id).between(
            len(name) - _TYPED_TOO_MANY, len(name) + _TYPED_TOO_MANY
        )
        async with reading(self._engine) as session:
            ids = await session.scalars(
                select(AccountRow.id)
                .where(about)
                # The first letters are mistyped least often.
                .order_by(AccountRow.id.istartswith(name[:2], autoescape=True).desc())
                .limit(_CANDIDATES)
            )
            near = near_matches(name, ids)
            # The name of the account, or a part of it, may have been typed instead of its id.
            named = await session.scalars(
                select(AccountRow.id)
                .where(contains(name, AccountRow.id, AccountRow.name))
                .order_by(func.length(AccountRow.id), AccountRow.id)
                .limit(NEAR_MATCHES)
            )
            return [*dict.fromkeys([*near, *named])][:NEAR_MATCHES] if name.strip() else []


async def _page(
    session: AsyncSession,
    rows: Select[Any],
    wanted: ColumnElement[bool] | None,
    key: InstrumentedAttribute[str],
    part: PageRequest,
) -> tuple[Sequence[Any], int, bool]:
    """Return the rows of the page, the number of all, and whether more follow."""
    if wanted is not None:
        rows = rows.where(wanted)
    counted = rows.options().with_only_columns(func.count(), maintain_column_froms=True)
    total = (await session.execute(counted.order_by(None))).scalar_one()
    if part.after is not None:
        rows = rows.where(key > part.after)
    # One more than the page shows that another page follows.
    found = (await session.scalars(rows.order_by(key).limit(part.limit + 1))).unique().all()
    return found[: part.limit], total, len(found) > part.limit


def contains(query: str, *columns: Text) -> ColumnElement[bool]:
    """Return whether a column contains the query in any case.

    Databases fold the case of ASCII letters alone, depending on their collation.
    """
    typed = {query, query.lower(), query.upper(), query.title()}
    return or_(*(column.icontains(text, autoescape=True) for column in columns for text in typed))


def _has_owner_or_name(query: str) -> ColumnElement[bool]:
    owned = select(MembershipRow.account_id).where(
        MembershipRow.until.is_(None),
        MembershipRow.role == Role.OWNER,
        contains(query, MembershipRow.email),
    )
    return contains(query, AccountRow.id, AccountRow.name) | AccountRow.id.in_(owned)


async def _found_accounts(
    session: AsyncSession, rows: Sequence[AccountRow]
) -> Sequence[FoundAccount]:
    ids = [row.id for row in rows]
    detailed = await session.scalars(
        select(AccountRow)
        .where(AccountRow.id.in_(ids))
        .options(joinedload(AccountRow.base_licenses), joinedload(AccountRow.credit_balance))
        .order_by(AccountRow.id)
        .execution_options(populate_existing=True)
    )
    users = await _counts(session, MembershipRow.account_id, ids, MembershipRow.until.is_(None))
    invitations = await _counts(
        session,
        InvitationRow.account_id,
        ids,
        InvitationRow.ended_at.is_(None) & InvitationRow.run_id.is_not(None),
    )
    owners = await session.execute(
        select(MembershipRow.account_id, MembershipRow.email).where(
            MembershipRow.account_id.in_(ids),
            MembershipRow.until.is_(None),
            MembershipRow.role == Role.OWNER,
        )
    )
    owner_of = {account: email for account, email in owners}
    owed = await balances_owed(session, ids)
    return [
        FoundAccount(
            id=row.id,
            name=row.name,
            plan=Plan(row.plan),
            state=row.state,
            suspended=row.suspended,
            owner=owner_of.get(row.id),
            users=users.get(row.id, 0),
            open_invitations=invitations.get(row.id, 0),
            base_licenses=LicenseCount(
                bought=row.base_licenses.bought, free=row.base_licenses.free
            ),
            balance_owed=rounded(owed.get(row.id, Decimal()), row.currency),
            credit=Money(amount=row.credit, currency=row.currency),
        )
        for row in detailed
    ]


async def _counts(
    session: AsyncSession,
    account: InstrumentedAttribute[str],
    ids: Sequence[str],
    wanted: ColumnElement[bool],
) -> Mapping[str, int]:
    rows = await session.execute(
        select(account, func.count()).where(account.in_(ids), wanted).group_by(account)
    )
    return {name: count for name, count in rows}


async def _waiting(
    session: AsyncSession, emails: Sequence[str], account: str | None = None
) -> Mapping[str, Sequence[AssignmentRow]]:
    """Return the waiting assignments of each person, the oldest first."""
    query = select(AssignmentRow).where(
        AssignmentRow.state == AssignmentState.WAITING, AssignmentRow.email.in_(emails)
    )
    if account is not None:
        query = query.where(AssignmentRow.account_id == account)
    found = defaultdict[str, list[AssignmentRow]](list)
    for row in await session.scalars(query.order_by(AssignmentRow.number)):
        found[row.email].append(row)
    return found


def _found_user(row: MembershipRow, waiting: Sequence[AssignmentRow]) -> FoundUser:
    return FoundUser(
        email=row.email,
        name=row.name,
        role=Role(row.role),
        licensed=row.licensed,
        addons=row.addons,
        waiting=tuple(
            SoughtLicense(sku=Sku(each.sku), capacity=each.capacity or None) for each in waiting
        ),
        since=row.since,
    )


async def _memberships(session: AsyncSession, email: str) -> Sequence[tuple[MembershipRow, str]]:
    """Return the memberships with the names of their accounts, the present one last."""
    rows = await session.execute(
        select(MembershipRow, AccountRow.name)
        .join(AccountRow, AccountRow.id == MembershipRow.account_id)
        .where(MembershipRow.email == email)
        .options(joinedload(MembershipRow.held))
        .order_by(MembershipRow.until.is_(None), MembershipRow.id)
    )
    return [(row, name) for row, name in rows.unique()]


def _found_membership(row: MembershipRow, name: str) -> FoundMembership:
    return FoundMembership(
        account=row.account_id,
        name=name,
        role=Role(row.role),
        since=row.since,
        until=row.until,
        left_by=row.leaving.partition(":")[0] if row.leaving else None,
    )


def _held_licenses(memberships: Sequence[MembershipRow]) -> Sequence[FoundLicense]:
    held: list[FoundLicense] = []
    for row in memberships:
        if row.licensed and row.until is None:
            held.append(
                FoundLicense(
                    account=row.account_id,
                    sku=Sku.WORKPLACE,
                    capacity=None,
                    state="assigned",
                    since=row.licensed_at,
                )
            )
        held += [
            FoundLicense(
                account=row.account_id,
                sku=Sku(addon.sku),
                capacity=addon.capacity,
                state="assigned",
                since=addon.assigned_at,
            )
            for addon in row.held
        ]
    return held


async def _requested_at(
    session: AsyncSession, rows: Sequence[AssignmentRow]
) -> Mapping[str, datetime]:
    found = await session.execute(
        select(AssignmentRequestRow.request_id, AssignmentRequestRow.requested_at).where(
            AssignmentRequestRow.request_id.in_([row.request_id for row in rows])
        )
    )
    return {request_id: at for request_id, at in found}


def _waiting_license(row: AssignmentRow, since: datetime) -> FoundLicense:
    return FoundLicense(
        account=row.account_id,
        sku=Sku(row.sku),
        capacity=row.capacity or None,
        state="waiting",
        since=since,
    )


async def _invitations(session: AsyncSession, email: str) -> Sequence[Invitation]:
    rows = await session.scalars(
        select(InvitationRow)
        # A claim is no invitation until its workflow has started.
        .where(InvitationRow.email == email, InvitationRow.run_id.is_not(None))
        .order_by(InvitationRow.claimed_at, InvitationRow.invitation_id)
    )
    return [row.record for row in rows]


async def _refunds(session: AsyncSession, email: str) -> Sequence[Refund]:
    rows = await session.scalars(
        select(RefundRow)
        .join(InvitationRow, InvitationRow.invitation_id == RefundRow.invitation_id)
        .where(InvitationRow.email == email)
        .order_by(RefundRow.requested_at)
    )
    return [row.record for row in rows]


async def _similar_people(session: AsyncSession, email: str) -> Sequence[str]:
    """Return the addresses of the same domain or with the same name before the @."""
    local, _, _ = email.rpartition("@")
    found: list[str] = []
    for column in (PersonRow.email, InvitationRow.email):
        similar = column.endswith(f"@{domain_of(email)}", autoescape=True) | column.startswith(
            f"{local}@", autoescape=True
        )
        found += await session.scalars(select(column).where(similar).limit(_CANDIDATES))
    return list(dict.fromkeys(found))
