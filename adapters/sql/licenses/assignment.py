"""Licenses given to users and taken from them, in one transaction for each request (ASG)."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import (
    NO_CAPACITY,
    AssignmentRequestRow,
    AssignmentRow,
    LicensePoolRow,
    MembershipRow,
    PersonRow,
)
from adapters.sql.database.transaction import batches, reading, writing
from adapters.sql.licenses.license import meetings_of, users_of
from adapters.sql.licenses.pool import (
    announce_freed,
    end_waiting,
    holders,
    not_a_user,
    pools_of,
    serve,
    serve_waiting,
    take,
    waiting,
)
from adapters.sql.membership import known_account, require_admin, require_paid
from domain.assignment import (
    AssignLicenses,
    Assignment,
    AssignmentResult,
    AssignmentState,
)
from domain.error import ErrorCode, Refused
from domain.letter.base import Reader
from domain.letter.license import HolderParties
from domain.license import LicensePool, Sku, require_capacity


class SqlAssignments:
    """The `AssignmentStore` of running assignments, and what is asked without one."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def assign(self, request: AssignLicenses, at: datetime) -> Assignment:
        """Assign in one transaction, once per request id; on repeat the request as it stands."""
        async with writing(self._engine) as session:
            account = await known_account(session, request.account, lock=True)
            row = await session.get(AssignmentRequestRow, request.request_id)
            if row is None:
                await require_admin(session, request.account, request.by)
                require_paid(account)
                row = await _carried_out(session, request, at)
            return await _as_it_stands(session, row)

    async def assignment(self, request_id: str) -> Assignment:
        """The request as it stands. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            row = await session.get(AssignmentRequestRow, request_id)
            if row is None:
                raise Refused(ErrorCode.NOT_FOUND, f"There is no request {request_id}.")
            return await _as_it_stands(session, row)

    async def unfinished(self) -> list[tuple[AssignLicenses, datetime]]:
        """The requests in which somebody waits, and when they were made; oldest first."""
        query = (
            select(AssignmentRequestRow)
            .where(
                AssignmentRequestRow.request_id.in_(
                    select(AssignmentRow.request_id).where(
                        AssignmentRow.state == AssignmentState.WAITING
                    )
                )
            )
            .order_by(AssignmentRequestRow.requested_at, AssignmentRequestRow.request_id)
        )
        async with reading(self._engine) as session:
            return [(row.ordered, row.requested_at) for row in await session.scalars(query)]

    async def holder_parties(
        self, account: str, emails: Sequence[str], asked_by: str
    ) -> HolderParties:
        """Whom an assignment concerns, as the directory knows them now (TXT-1)."""
        async with reading(self._engine) as session:
            row = await known_account(session, account)
            people: list[PersonRow] = []
            for some in batches([*emails, asked_by]):
                found = await session.scalars(select(PersonRow).where(PersonRow.email.in_(some)))
                people += found
            readers = {person.email: _reader(person, row.time_zone) for person in people}
            return HolderParties(
                account_name=row.name,
                holders=tuple(readers[email] for email in emails if email in readers),
                requested_by=readers.get(asked_by),
            )

    async def authorize(self, account: str, admin: str) -> None:
        """Raises Refused: `not_found`, `not_authorized`, `target_not_paid`."""
        async with reading(self._engine) as session:
            row = await known_account(session, account)
            await require_admin(session, account, admin)
            require_paid(row)

    async def unassign(
        self,
        account: str,
        sku: Sku,
        emails: Sequence[str],
        by: str,
        at: datetime,
        *,
        cascade: bool = False,
    ) -> list[AssignmentResult]:
        """Take licenses from users; a result each, with the meetings that this touches.

        Who holds none is `released` as well, and waits for none any more. `refused` is who
        is not on the account (`not_found`), and who would lose a base license beside an
        add-on (`dependency_violation`), unless `cascade` takes both (ASG-7). What comes
        free serves who waits. Raises Refused: `not_found`, `not_authorized`,
        `target_not_paid`.
        """
        async with writing(self._engine) as session:
            row = await known_account(session, account, lock=True)
            await require_admin(session, account, by)
            require_paid(row)
            users = await users_of(session, account, emails)
            results: list[AssignmentResult] = []
            for email in emails:
                user = users.get(email)
                if user is None:
                    results.append(_refused(email, not_a_user(account, email).as_json()))
                else:
                    results.append(await _unassigned(session, user, sku, at, cascade=cascade))
            await serve_waiting(session, account, at)
            return results

    async def licenses(self, account: str) -> list[LicensePool]:
        """The account's pools, with who holds and who waits. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            await known_account(session, account)
            pools = await pools_of(session, account)
            queues: dict[tuple[str, int], list[str]] = {key: [] for key in pools}
            for row in await waiting(session, account):
                queue = queues.setdefault((row.sku, row.capacity), [])
                if row.email not in queue:
                    queue.append(row.email)
            return [
                _reported(
                    # Somebody may wait for what the account never had.
                    pools.get(key) or _nothing_bought(*key),
                    await holders(session, account, Sku(key[0]), key[1]),
                    queue,
                )
                for key, queue in queues.items()
            ]


async def _carried_out(
    session: AsyncSession, request: AssignLicenses, at: datetime
) -> AssignmentRequestRow:
    """Every user of the request is assigned, waits or is refused; or nothing is changed."""
    capacity = await _capacity(session, request)
    ordered = AssignmentRequestRow(
        request_id=request.request_id,
        account_id=request.account,
        requested_at=at,
        ordered=request,
    )
    session.add(ordered)
    await session.flush()
    rows = [
        AssignmentRow(
            request_id=request.request_id,
            account_id=request.account,
            email=email,
            sku=request.sku,
            capacity=capacity,
            gives_base_license=request.give_base_license,
            state=AssignmentState.REQUESTED,
        )
        for email in request.emails
    ]
    session.add_all(rows)
    users = await users_of(session, request.account, request.emails)
    pools = await pools_of(session, request.account)
    changed: set[str] = set()
    for row in rows:
        user = users.get(row.email)
        if user is None:
            end_waiting(row, AssignmentState.REFUSED, not_a_user(request.account, row.email))
        else:
            changed |= await serve(session, row, user, pools, at)
    if request.atomic:
        _require_all(rows)
    announce_freed(session, request.account, changed - {request.request_id}, at)
    if _frees(request, users.values()):
        await serve_waiting(session, request.account, at)
    return ordered


def _frees(request: AssignLicenses, users: Iterable[MembershipRow]) -> bool:
    """Whether others may have waited for what it gives or returns.

    That is a base license, or one that is replaced; else there is no need to look at all
    who wait.
    """
    return (
        request.sku is Sku.WORKPLACE
        or request.give_base_license
        or any(user.held for user in users)
    )


async def _capacity(session: AsyncSession, request: AssignLicenses) -> int:
    """The one that is asked for, or the only one possible (ASG-2).

    Raises Refused: `invalid_capacity`, `capacity_required`.
    """
    if request.sku is Sku.WORKPLACE or request.capacity is not None:
        require_capacity(request.sku, request.capacity)
        return request.capacity or NO_CAPACITY
    pools = await pools_of(session, request.account)
    bought = [pool for pool in pools.values() if pool.sku == request.sku and pool.bought]
    for choices in (bought, [pool for pool in bought if pool.free]):
        if len(choices) == 1:
            return choices[0].capacity
    had = ", ".join(str(pool.capacity) for pool in bought) or "none"
    raise Refused(
        ErrorCode.CAPACITY_REQUIRED,
        f"Say which capacity is to be assigned; {request.account} has {had}.",
    )


def _require_all(rows: Sequence[AssignmentRow]) -> None:
    """Raises Refused as the first user who gets nothing, with what becomes of each (ASG-5)."""
    first = next((row.error for row in rows if row.error), None)
    if first is None:
        return
    results: list[JsonValue] = [
        _refused(row.email, row.error or first).model_dump(mode="json") for row in rows
    ]
    raise Refused(ErrorCode(str(first["code"])), str(first["message"]), results=results)


async def _unassigned(
    session: AsyncSession, user: MembershipRow, sku: Sku, at: datetime, *, cascade: bool
) -> AssignmentResult:
    """What becomes of the licenses of one user, and of what they wait for."""
    meetings = await meetings_of(session, user.email) if user.held else []
    if sku is Sku.WORKPLACE and user.held and not cascade:
        refused = Refused(
            ErrorCode.DEPENDENCY_VIOLATION,
            f"{user.email} holds a Large Meeting license, which needs the base license.",
            meetings=[meeting.model_dump(mode="json") for meeting in meetings],
        )
        return _refused(user.email, refused.as_json())
    capacity = user.held.capacity if user.held else None
    await take(session, user, sku)
    given_up = [
        row
        for row in await waiting(session, user.account_id, user.email)
        # It would give the base license back at once.
        if row.sku == sku or (sku is Sku.WORKPLACE and row.gives_base_license)
    ]
    for row in given_up:
        end_waiting(row, AssignmentState.RELEASED)
    announce_freed(session, user.account_id, {row.request_id for row in given_up}, at)
    return AssignmentResult(
        email=user.email,
        state=AssignmentState.RELEASED,
        capacity=capacity if sku is Sku.LARGE_MEETING else None,
        meetings=tuple(meetings),
    )


def _refused(email: str, error: dict[str, JsonValue]) -> AssignmentResult:
    return AssignmentResult(email=email, state=AssignmentState.REFUSED, error=error)


async def _as_it_stands(session: AsyncSession, row: AssignmentRequestRow) -> Assignment:
    await session.flush()
    users = await session.scalars(
        select(AssignmentRow)
        .where(AssignmentRow.request_id == row.request_id)
        .order_by(AssignmentRow.number)
    )
    return Assignment(
        request_id=row.request_id,
        workflow_id=row.ordered.workflow_id,
        account=row.account_id,
        sku=row.ordered.sku,
        results=tuple(_result(user) for user in users),
    )


def _result(row: AssignmentRow) -> AssignmentResult:
    refused = row.state == AssignmentState.REFUSED
    return AssignmentResult(
        email=row.email,
        state=AssignmentState(row.state),
        capacity=None if refused else row.capacity or None,
        error=row.error,
        held_before=row.held_before and row.state == AssignmentState.ASSIGNED,
    )


def _reader(person: PersonRow, time_zone: str) -> Reader:
    """The person, in their own language and zone as far as they are known (TXT-1)."""
    return Reader(
        email=person.email,
        name=person.name,
        locale=person.locale or "en",
        time_zone=person.time_zone or time_zone,
    )


def _nothing_bought(sku: str, capacity: int) -> LicensePoolRow:
    return LicensePoolRow(sku=sku, capacity=capacity, bought=0, assigned=0, reserved=0)


def _reported(pool: LicensePoolRow, holding: Sequence[str], queue: Sequence[str]) -> LicensePool:
    return LicensePool(
        sku=Sku(pool.sku),
        capacity=pool.capacity or None,
        bought=pool.bought,
        assigned=pool.assigned,
        reserved=pool.reserved,
        free=pool.free,
        holders=tuple(holding),
        waiting=tuple(queue),
    )
