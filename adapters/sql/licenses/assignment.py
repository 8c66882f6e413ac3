"""Assignment requests in the store, each carried out in one transaction (ASG)."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.change import record_changes
from adapters.sql.database.schema import (
    NO_CAPACITY,
    AssignmentRequestRow,
    AssignmentRow,
    LicensePoolRow,
    MembershipRow,
)
from adapters.sql.database.transaction import reading, writing
from adapters.sql.licenses.counter import pools_of
from adapters.sql.licenses.letter import as_result, queue_release_letters, rows_of
from adapters.sql.licenses.license import (
    addons_with,
    hosted_by,
    remove_license,
    users_of,
)
from adapters.sql.licenses.pool import (
    announce,
    assign_waiting,
    assign_waiting_row,
    end_waiting,
    holders,
    not_a_user_error,
    serve_waiting,
    waiting,
)
from adapters.sql.membership import require_account, require_admin, require_paid_account
from domain.assignment import (
    AssignLicenses,
    Assignment,
    AssignmentResult,
    AssignmentState,
)
from domain.error import ErrorCode, Refused
from domain.license import LicensePool, Sku, license_name, require_capacity
from domain.membership import require_paid


class SqlAssignments:
    """The `AssignmentStore`, and the requests that need no workflow."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def assign(self, request: AssignLicenses, at: datetime) -> Assignment:
        """Assign in one transaction, once per request id; return the present results."""
        async with writing(self._engine) as session:
            account = await require_account(session, request.account, lock=True)
            row = await session.get(AssignmentRequestRow, request.request_id)
            if row is None:
                await require_admin(session, request.account, request.by)
                require_paid(account)
                row = await _carry_out(session, request, at)
            return await _read_assignment(session, row)

    async def assignment(self, request_id: str) -> Assignment:
        """Return the request with its present results. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            row = await session.get(AssignmentRequestRow, request_id)
            if row is None:
                raise Refused(ErrorCode.NOT_FOUND, f"There is no request {request_id}.")
            return await _read_assignment(session, row)

    async def has(self, request_id: str) -> bool:
        """Return whether the request is stored."""
        async with reading(self._engine) as session:
            return await session.get(AssignmentRequestRow, request_id) is not None

    async def waiting_request(self, request_id: str) -> AssignLicenses | None:
        """Return the request if a user of it waits."""
        waits = (
            select(AssignmentRow.request_id)
            .where(AssignmentRow.state == AssignmentState.WAITING)
            .where(AssignmentRow.request_id == AssignmentRequestRow.request_id)
            .exists()
        )
        async with reading(self._engine) as session:
            return await session.scalar(
                select(AssignmentRequestRow.ordered).where(
                    AssignmentRequestRow.request_id == request_id, waits
                )
            )

    async def authorize(self, account: str, admin: str) -> None:
        """Check that the admin may assign licenses.

        Raises Refused: `not_found`, `not_authorized`, `target_not_paid`.
        """
        async with reading(self._engine) as session:
            await require_paid_account(session, account, admin)

    async def unassign(
        self,
        account: str,
        sku: Sku,
        emails: Sequence[str],
        by: str,
        at: datetime,
        *,
        cascade: bool = False,
        author: str | None = None,
    ) -> list[AssignmentResult]:
        """Release licenses of users; return a result for each, with what it affects.

        A user without a license is `released` too, and no longer waits for one. A person who
        is not on the account is `refused` (`not_found`), and so is a user who would lose the
        base license of an add-on (`dependency_violation`), unless `cascade` releases both
        (ASG-7). Waiting users are served with the freed licenses. Users who lose a license are
        notified. Raises Refused: `not_found`, `not_authorized`, `target_not_paid`.
        """
        async with writing(self._engine) as session:
            await require_paid_account(session, account, by, lock=True)
            users = await users_of(session, account, emails)
            holding = {email for email, user in users.items() if _holds(user, sku)}
            results: list[AssignmentResult] = []
            for email in emails:
                user = users.get(email)
                if user is None:
                    results.append(_refused(email, not_a_user_error(account, email).as_json()))
                else:
                    results.append(await _unassign(session, user, sku, at, cascade=cascade))
            released = [
                result
                for result in results
                if result.state is AssignmentState.RELEASED and result.email in holding
            ]
            await queue_release_letters(session, account, sku, released, by=by, at=at)
            await record_changes(
                session,
                "unassign",
                [
                    f"{sku}/membership/{users[result.email].id}"
                    for result in results
                    if result.state is AssignmentState.RELEASED
                ],
                by=author or by,
                at=at,
                account=account,
            )
            await assign_waiting(session, account, at)
            return results

    async def licenses(self, account: str) -> list[LicensePool]:
        """Return the account's pools, holders and waiting users. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            await require_account(session, account)
            pools = await pools_of(session, account)
            queues: dict[tuple[str, int], list[str]] = {key: [] for key in pools}
            for row in await waiting(session, account):
                queue = queues.setdefault((row.sku, row.capacity), [])
                if row.email not in queue:
                    queue.append(row.email)
            return [
                _as_pool(
                    # A user may wait for a license that the account never had.
                    pools.get(key) or _empty_pool(*key),
                    await holders(session, account, Sku(key[0]), key[1]),
                    queue,
                )
                for key, queue in queues.items()
            ]


async def _carry_out(
    session: AsyncSession, request: AssignLicenses, at: datetime
) -> AssignmentRequestRow:
    """Serve, refuse or queue every user of the request; an atomic one is all or nothing."""
    requested = _as_row(request, await _resolved_capacity(session, request), at)
    session.add(requested)
    rows = requested.assignments
    users = await users_of(session, request.account, request.emails)
    may_free_licenses = _may_free_licenses(request, users.values())
    pools = await pools_of(session, request.account)
    changed: set[AssignmentRow] = set()
    for row in rows:
        user = users.get(row.email)
        if user is None:
            end_waiting(row, AssignmentState.REFUSED, not_a_user_error(request.account, row.email))
        else:
            changed |= await assign_waiting_row(session, row, user, pools, at)
    if request.atomic:
        _require_all(rows)
    if may_free_licenses:
        changed |= await serve_waiting(session, request.account, at)
    waited = tuple(row.email for row in rows if row.waits)
    requested.ordered = request.model_copy(update={"waited": waited})
    await announce(session, changed, at, by=request.request_id)
    return requested


def _as_row(request: AssignLicenses, capacity: int, at: datetime) -> AssignmentRequestRow:
    return AssignmentRequestRow(
        request_id=request.request_id,
        account_id=request.account,
        requested_at=at,
        ordered=request,
        assignments=[
            AssignmentRow(
                account_id=request.account,
                email=email,
                sku=request.sku,
                capacity=capacity,
                gives_base_license=request.give_base_license,
                state=AssignmentState.REQUESTED,
            )
            for email in request.emails
        ],
    )


def _may_free_licenses(request: AssignLicenses, users: Iterable[MembershipRow]) -> bool:
    """Return whether the request may lead to licenses for users who wait.

    It may when it gives base licenses or replaces add-ons of `users`; otherwise the waiting
    users need not be read.
    """
    return (
        request.sku is Sku.WORKPLACE
        or request.give_base_license
        or any(user.addon_held(request.sku) for user in users)
    )


async def _resolved_capacity(session: AsyncSession, request: AssignLicenses) -> int:
    """Return the requested capacity, or the only one possible (ASG-2).

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
    capacities = ", ".join(str(pool.capacity) for pool in bought) or "none"
    raise Refused(
        ErrorCode.CAPACITY_REQUIRED,
        f"Name the capacity to assign; {request.account} has {capacities}.",
    )


def _require_all(rows: Sequence[AssignmentRow]) -> None:
    """Raise the refusal of the first user without a license, with all results (ASG-5)."""
    first = next((row.error for row in rows if row.error), None)
    if first is None:
        return
    results: list[JsonValue] = [
        _refused(row.email, row.error or first).model_dump(mode="json") for row in rows
    ]
    raise Refused(ErrorCode(str(first["code"])), str(first["message"]), results=results)


async def _unassign(
    session: AsyncSession, user: MembershipRow, sku: Sku, at: datetime, *, cascade: bool
) -> AssignmentResult:
    """Release the license of one user, and end their waiting for another."""
    hosted = {
        each: await hosted_by(session, user.email, each)
        for each in addons_with(sku)
        if user.addon_held(each)
    }
    meetings, webinars = hosted.get(Sku.LARGE_MEETING, ()), hosted.get(Sku.WEBINAR, ())
    if sku is Sku.WORKPLACE and hosted and not cascade:
        held = " and ".join(license_name(each, user.capacity_held(each)) for each in hosted)
        refused = Refused(
            ErrorCode.DEPENDENCY_VIOLATION,
            f"{user.email} holds {held}, which cannot be used without the base license.",
            meetings=[meeting.model_dump(mode="json") for meeting in meetings],
            webinars=[webinar.model_dump(mode="json") for webinar in webinars],
        )
        return _refused(user.email, refused.as_json())
    released = await remove_license(session, user, sku)
    ended = [
        row
        for row in await waiting(session, user.account_id, user.email)
        # A request with `gives_base_license` would assign the base license again at once.
        if row.sku == sku or (sku is Sku.WORKPLACE and row.gives_base_license)
    ]
    for row in ended:
        end_waiting(row, AssignmentState.RELEASED)
    await announce(session, set(ended), at)
    return AssignmentResult(
        email=user.email,
        state=AssignmentState.RELEASED,
        capacity=released.get(sku),
        meetings=tuple(meetings),
        webinars=tuple(webinars),
    )


def _refused(email: str, error: dict[str, JsonValue]) -> AssignmentResult:
    return AssignmentResult(email=email, state=AssignmentState.REFUSED, error=error)


async def _read_assignment(session: AsyncSession, row: AssignmentRequestRow) -> Assignment:
    return Assignment(
        request_id=row.request_id,
        workflow_id=row.ordered.workflow_id,
        account=row.account_id,
        sku=row.ordered.sku,
        results=tuple(as_result(user) for user in await rows_of(session, row.request_id)),
    )


def _holds(user: MembershipRow, sku: Sku) -> bool:
    return user.licensed if sku is Sku.WORKPLACE else user.addon_held(sku) is not None


def _empty_pool(sku: str, capacity: int) -> LicensePoolRow:
    return LicensePoolRow(sku=sku, capacity=capacity, bought=0, assigned=0, reserved=0)


def _as_pool(pool: LicensePoolRow, holding: Sequence[str], queue: Sequence[str]) -> LicensePool:
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
