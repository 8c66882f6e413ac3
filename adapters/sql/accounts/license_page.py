"""Reads of the page of users and licenses, each in a fixed number of statements."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import contains_eager, joinedload

from adapters.sql.accounts.search import contains
from adapters.sql.database.schema import (
    AccountRow,
    AssignmentRequestRow,
    AssignmentRow,
    LicensePoolRow,
    MeetingRow,
    MembershipRow,
    PersonRow,
    WebinarRow,
)
from adapters.sql.database.transaction import reading
from adapters.sql.licenses.counter import pools_of
from adapters.sql.membership import require_account
from domain.account import Plan, Role
from domain.assignment import AssignmentState
from domain.error import ErrorCode, Refused
from domain.license import Sku
from domain.license_page import (
    LISTED_WAITING,
    AccountLicenses,
    LicensePage,
    LicenseUser,
    PageOfUsers,
    PoolOverview,
    UserLicenses,
    UserOfResult,
    Wait,
    WaitingUser,
)
from domain.search import PAGE_SIZE

_WAITS: Final = AssignmentRow.state == AssignmentState.WAITING


class SqlLicensePages:
    """Reads what the page of users and licenses shows; changes nothing."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(self, account: str, part: PageOfUsers) -> LicensePage:
        """Return a page of users, sorted by address. Raises Refused: `not_found`."""
        users = _users(account)
        basic = users.where(MembershipRow.licensed.is_(False))
        wanted = basic if part.without_base_license else users
        if part.query:
            wanted = wanted.where(contains(part.query, PersonRow.email, PersonRow.name))
        async with reading(self._engine) as session:
            row = await require_account(session, account)
            total = await _count(session, wanted)
            if part.after is not None:
                last = select(MembershipRow.email).where(
                    MembershipRow.id == part.after, MembershipRow.account_id == account
                )
                wanted = wanted.where(MembershipRow.email > last.scalar_subquery())
            found = await _found(session, wanted.order_by(MembershipRow.email).limit(PAGE_SIZE + 1))
            shown = found[:PAGE_SIZE]
            waits = await _waits(session, account, [user.email for user in shown])
            return LicensePage(
                account=await _account(session, row),
                users=tuple(_user(user, waits[user.email]) for user in shown),
                total=total,
                without_base_license=await _count(session, basic),
                next_cursor=shown[-1].id if len(found) > PAGE_SIZE else None,
            )

    async def user(self, account: str, number: int) -> UserLicenses:
        """Return one user. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            row = await require_account(session, account)
            found = await _found(session, _users(account).where(MembershipRow.id == number))
            if not found:
                raise Refused(ErrorCode.NOT_FOUND, f"{account} has no user with number {number}.")
            [user] = found
            waits = await _waits(session, account, [user.email])
            hosted = [
                await session.scalar(
                    select(func.count()).select_from(kind).where(kind.host == user.email)
                )
                for kind in (MeetingRow, WebinarRow)
            ]
            return UserLicenses(
                account=await _account(session, row),
                user=_user(user, waits[user.email]),
                meetings=hosted[0] or 0,
                webinars=hosted[1] or 0,
            )

    async def named(
        self, account: str, *, emails: Collection[str] = (), numbers: Collection[int] = ()
    ) -> list[UserOfResult]:
        """Return the users with these addresses or numbers, the present and the former ones."""
        query = (
            select(MembershipRow.id, MembershipRow.email, PersonRow.name, MembershipRow.licensed)
            .join(MembershipRow.person)
            .where(
                MembershipRow.account_id == account,
                or_(
                    MembershipRow.id.in_(numbers),
                    MembershipRow.email.in_(emails) & MembershipRow.until.is_(None),
                ),
            )
        )
        async with reading(self._engine) as session:
            return [
                UserOfResult(number=number, email=email, name=name, licensed=licensed)
                for number, email, name, licensed in await session.execute(query)
            ]


def _users(account: str) -> Select[MembershipRow]:
    return (
        select(MembershipRow)
        .join(MembershipRow.person)
        .where(MembershipRow.account_id == account, MembershipRow.until.is_(None))
    )


async def _count(session: AsyncSession, users: Select[MembershipRow]) -> int:
    counted = users.with_only_columns(func.count(), maintain_column_froms=True)
    return (await session.execute(counted)).scalar_one()


async def _found(session: AsyncSession, users: Select[MembershipRow]) -> Sequence[MembershipRow]:
    loaded = users.options(contains_eager(MembershipRow.person), joinedload(MembershipRow.held))
    found: Sequence[MembershipRow] = (await session.scalars(loaded)).unique().all()
    return found


def _user(row: MembershipRow, waits: Sequence[Wait]) -> LicenseUser:
    return LicenseUser(
        number=row.id,
        email=row.email,
        name=row.name,
        role=Role(row.role),
        licensed=row.licensed,
        addons=row.addons,
        waits=tuple(waits),
    )


async def _waits(
    session: AsyncSession, account: str, emails: Sequence[str]
) -> Mapping[str, Sequence[Wait]]:
    """Return the licenses that each user waits for, each once, the oldest request first."""
    rows = await session.execute(
        select(AssignmentRow, AssignmentRequestRow.requested_at)
        .join(AssignmentRequestRow, AssignmentRequestRow.request_id == AssignmentRow.request_id)
        .where(AssignmentRow.account_id == account, _WAITS, AssignmentRow.email.in_(emails))
        .order_by(AssignmentRow.number)
    )
    found = defaultdict[str, dict[tuple[str, int], Wait]](dict)
    for row, since in rows:
        found[row.email].setdefault((row.sku, row.capacity), _wait(row, since))
    return defaultdict(
        tuple[Wait, ...], {email: tuple(waits.values()) for email, waits in found.items()}
    )


def _wait(row: AssignmentRow, since: datetime) -> Wait:
    code = (row.error or {}).get("code")
    return Wait(
        sku=Sku(row.sku),
        capacity=row.capacity or None,
        since=since,
        for_base_license=code == ErrorCode.BASE_LICENSE_REQUIRED,
    )


async def _account(session: AsyncSession, row: AccountRow) -> AccountLicenses:
    pools = dict(await pools_of(session, row.id))
    queues = defaultdict[tuple[str, int], list[WaitingUser]](list)
    lengths: dict[tuple[str, int], int] = {}
    for waiting, since, number, name, length in await _queues(session, row.id):
        key = waiting.sku, waiting.capacity
        lengths[key] = length
        wait = _wait(waiting, since)
        queues[key].append(WaitingUser(number=number, email=waiting.email, name=name, wait=wait))
    for sku, capacity in queues:
        # A user may wait for a license that the account never had.
        empty = LicensePoolRow(sku=sku, capacity=capacity, bought=0, assigned=0, reserved=0)
        pools.setdefault((sku, capacity), empty)
    return AccountLicenses(
        plan=Plan(row.plan),
        changeable=row.paid and not row.suspended and row.state == "open",
        pools=tuple(_pool(pool, lengths.get(key, 0), queues[key]) for key, pool in pools.items()),
    )


async def _queues(
    session: AsyncSession, account: str
) -> Sequence[tuple[AssignmentRow, datetime, int, str | None, int]]:
    """Return the first users who wait for each pool, with the number of all who wait for it."""
    users = (
        select(
            AssignmentRow.sku,
            AssignmentRow.capacity,
            func.min(AssignmentRow.number).label("number"),
        )
        .where(AssignmentRow.account_id == account, _WAITS)
        .group_by(AssignmentRow.sku, AssignmentRow.capacity, AssignmentRow.email)
        .subquery()
    )
    pool = (users.c.sku, users.c.capacity)
    ranked = select(
        users.c.number,
        func.row_number().over(partition_by=pool, order_by=users.c.number).label("place"),
        func.count().over(partition_by=pool).label("length"),
    ).subquery()
    rows = await session.execute(
        select(
            AssignmentRow,
            AssignmentRequestRow.requested_at,
            MembershipRow.id,
            PersonRow.name,
            ranked.c.length,
        )
        .join(ranked, ranked.c.number == AssignmentRow.number)
        .join(AssignmentRequestRow, AssignmentRequestRow.request_id == AssignmentRow.request_id)
        .join(
            MembershipRow,
            (MembershipRow.email == AssignmentRow.email) & MembershipRow.until.is_(None),
        )
        .join(PersonRow, PersonRow.email == AssignmentRow.email)
        .where(ranked.c.place <= LISTED_WAITING)
        .order_by(AssignmentRow.number)
    )
    return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]


def _pool(pool: LicensePoolRow, waiting: int, first: Sequence[WaitingUser]) -> PoolOverview:
    return PoolOverview(
        sku=Sku(pool.sku),
        capacity=pool.capacity or None,
        bought=pool.bought,
        assigned=pool.assigned,
        reserved=pool.reserved,
        free=pool.free,
        waiting=waiting,
        first_waiting=tuple(first),
    )
