"""The invitations and batches of an account, page by page, and reviews of requests to invite."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    JSON,
    ColumnElement,
    and_,
    case,
    exists,
    func,
    not_,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import aliased

from adapters.sql.database.schema import (
    NO_CAPACITY,
    WORKPLACE,
    AccountRow,
    BatchPersonRow,
    InvitationRow,
    LicensePoolRow,
    MembershipRow,
    PersonRow,
)
from adapters.sql.database.schema import BatchRow as StoredBatchRow
from adapters.sql.database.transaction import reading
from adapters.sql.invitations.claim import open_settlement
from adapters.sql.membership import require_account, require_paid_account
from domain.account import Plan, Role
from domain.batch import BatchProgress, RowResult
from domain.error import ErrorCode, Refused
from domain.invitation import REMINDABLE, Invitation, InvitationState, Invite, License
from domain.invitation_list import (
    BatchPage,
    BatchResult,
    InvitationCounts,
    InvitationFilter,
    InvitationPage,
    ListedBatch,
    ListedInvitation,
    Seats,
)
from domain.license import no_seats
from domain.membership import Membership, require_invitable
from domain.person import FORGOTTEN
from domain.search import PageRequest

_ADDRESSES_PER_QUERY: Final = 1000
_FEW_ADDRESSES: Final = 100

_ACCEPTED: Final = InvitationRow.state.in_([s for s in InvitationState if s.accepted])
_REPEATABLE: Final = [
    state for state in InvitationState if state.final and state is not InvitationState.COMPLETED
]

_GIVEN_NAME: Final = type_coerce(InvitationRow.ordered, JSON)["name"].as_string()
_NAME: Final = case((_ACCEPTED, func.coalesce(PersonRow.name, _GIVEN_NAME)), else_=_GIVEN_NAME)
"""The name that an admin sees: before the acceptance only what the inviter has written."""

_RECENT: Final = timedelta(days=1)
_RECENT_BATCHES: Final = 3

Known = Mapping[str, tuple[Membership | None, "_Live | None"]]
_Live = tuple[InvitationState, bool, Invitation | None]
"""State, whether a seat is reserved, and the record of one that was accepted."""


class SqlInvitationLists:
    """Reads for the pages of admins; nothing is changed, and Temporal is not needed."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self,
        account: str,
        wanted: InvitationFilter,
        part: PageRequest,
        *,
        quiet_before: datetime,
        at: datetime,
    ) -> InvitationPage:
        """Return a page of invitations with the counts of all, and the recent batches.

        The number of statements depends neither on the page nor on the number of invitations.
        Raises Refused: `not_found`.
        """
        async with reading(self._engine) as session:
            await require_account(session, account)
            rows, more = await _rows(session, account, wanted, part, quiet_before)
            return InvitationPage(
                invitations=rows,
                next_cursor=more,
                counts=await _counts(session, account, wanted.query, quiet_before),
                seats=await _seats(session, account),
                batches=await _batches(session, account, at),
            )

    async def rows(
        self,
        account: str,
        wanted: InvitationFilter,
        part: PageRequest,
        *,
        quiet_before: datetime,
    ) -> tuple[tuple[ListedInvitation, ...], str | None]:
        """Return the invitations of a page alone, and the cursor of the next one."""
        async with reading(self._engine) as session:
            return await _rows(session, account, wanted, part, quiet_before)

    async def review(
        self, account: str, admin: str, invites: Sequence[Invite]
    ) -> tuple[Seats, list[Refused | License | None]]:
        """Return what a claim of each would answer, in their order; nothing is written.

        None: it would be invited; a license: an open invitation with this license would be kept.
        Raises Refused: `not_found`, `not_authorized`, `target_not_paid` (INV-1).
        """
        async with reading(self._engine) as session:
            await require_paid_account(session, account, admin)
            pool = await _pool(session, account)
            seats = Seats(bought=pool.bought, free=pool.free)
            known = await _known(session, account, [invite.email for invite in invites])
        answers = list[Refused | License | None]()
        free = seats.free
        for invite in invites:
            answer = _answer(invite, known)
            if answer is None and invite.license is License.LICENSED:
                if free:
                    free -= 1
                else:
                    answer = no_seats(
                        account, assigned=pool.assigned, reserved=pool.bought - pool.assigned
                    )
            answers.append(answer)
        return seats, answers

    async def batch(
        self, account: str, batch_id: str, result: RowResult | None, limit: int, after: int | None
    ) -> BatchPage:
        """Return a page of the rows of a batch, in the order of the request.

        Raises Refused: `not_found`, also for a batch of another account.
        """
        async with reading(self._engine) as session:
            stored = await session.get(StoredBatchRow, batch_id)
            if stored is None or stored.ordered.account != account:
                raise Refused(ErrorCode.NOT_FOUND, f"There is no batch {batch_id}.")
            progress = (await _progress(session, [batch_id]))[batch_id]
            row, invitation = BatchPersonRow, InvitationRow
            query = (
                select(row, invitation.invitee_key, invitation.state)
                .outerjoin(invitation, invitation.invitation_id == row.invitation_id)
                .where(row.batch_id == batch_id)
                .where(row.result == result if result else true())
                .where(row.position > after if after is not None else true())
                .order_by(row.position)
                .limit(limit + 1)
            )
            found = (await session.execute(query)).all()
            return BatchPage(
                batch=stored.ordered,
                requested_at=stored.filed_at,
                progress=progress,
                rows=tuple(_batch_result(*each) for each in found[:limit]),
                next_cursor=found[limit - 1][0].position if len(found) > limit else None,
            )


# The list.


async def _rows(
    session: AsyncSession,
    account: str,
    wanted: InvitationFilter,
    part: PageRequest,
    quiet_before: datetime,
) -> tuple[tuple[ListedInvitation, ...], str | None]:
    row = InvitationRow
    conditions = [_of(account)]
    if wanted.query:
        conditions.append(_matches(wanted.query))
    if wanted.states:
        conditions.append(row.state.in_(wanted.states))
    elif not wanted.everything:
        conditions.append(row.ended_at.is_(None))
    if wanted.quiet_days is not None:
        conditions.append(_quiet(quiet_before))
    if part.after is not None:
        last = aliased(InvitationRow)
        since = (
            select(last.claimed_at)
            .where(last.invitation_id == part.after, last.account_id == account)
            .scalar_subquery()
        )
        conditions.append(tuple_(row.claimed_at, row.invitation_id) < tuple_(since, part.after))
    # Only the rows of the page are read with their documents.
    ids = (
        select(row.invitation_id)
        .outerjoin(PersonRow, PersonRow.email == row.email)
        .where(*conditions)
        .order_by(row.claimed_at.desc(), row.invitation_id.desc())
        .limit(part.limit + 1)
    )
    found = await session.execute(
        select(row, _NAME, _repeatable())
        .outerjoin(PersonRow, PersonRow.email == row.email)
        .where(row.invitation_id.in_(ids.scalar_subquery()))
        .order_by(row.claimed_at.desc(), row.invitation_id.desc())
    )
    rows = found.all()
    listed = tuple(_listed(*each) for each in rows[: part.limit])
    return listed, rows[part.limit - 1][0].invitation_id if len(rows) > part.limit else None


def _listed(row: InvitationRow, name: str | None, repeatable: bool) -> ListedInvitation:
    return ListedInvitation(
        key=row.invitee_key,
        name=name,
        locale=row.ordered.locale,
        invitation=row.record,
        repeatable=bool(repeatable),
    )


def _of(account: str) -> ColumnElement[bool]:
    # A claim is no invitation until its workflow has started.
    return (InvitationRow.account_id == account) & InvitationRow.run_id.is_not(None)


def _matches(query: str) -> ColumnElement[bool]:
    """Return whether the address or the name contains the query in any case.

    Databases fold the case of ASCII letters alone, depending on their collation. Each comparison
    parses the name's document once more.
    """
    typed = {query.lower()}
    if not query.isascii():
        typed |= {query, query.upper(), query.title()}
    return or_(
        InvitationRow.email.icontains(query.lower(), autoescape=True),
        *(_NAME.icontains(text, autoescape=True) for text in typed),
    )


def _quiet(before: datetime) -> ColumnElement[bool]:
    return and_(InvitationRow.state.in_(REMINDABLE), InvitationRow.quiet_since <= before)


def _repeatable() -> ColumnElement[bool]:
    """Return whether it was the person's last invitation and ended without a membership."""
    later = aliased(InvitationRow)
    return and_(
        InvitationRow.state.in_(_REPEATABLE),
        not_(InvitationRow.email.endswith(f"@{FORGOTTEN}", autoescape=True)),
        not_(
            exists().where(
                later.account_id == InvitationRow.account_id,
                later.email == InvitationRow.email,
                later.claimed_at > InvitationRow.claimed_at,
            )
        ),
        not_(
            exists().where(
                MembershipRow.email == InvitationRow.email,
                MembershipRow.account_id == InvitationRow.account_id,
                MembershipRow.until.is_(None),
            )
        ),
    )


async def _counts(
    session: AsyncSession, account: str, query: str | None, quiet_before: datetime
) -> InvitationCounts:
    matches = _matches(query) if query else true()
    counting = (
        select(
            InvitationRow.state,
            func.count(),
            func.sum(case((matches, 1), else_=0)),
            func.sum(case((and_(matches, _quiet(quiet_before)), 1), else_=0)),
        )
        .where(_of(account))
        .group_by(InvitationRow.state)
    )
    if query:
        counting = counting.outerjoin(PersonRow, PersonRow.email == InvitationRow.email)
    counted = [
        (InvitationState(state), total, found, quiet)
        for state, total, found, quiet in await session.execute(counting)
    ]
    return InvitationCounts(
        by_state={state: found for state, _, found, _ in counted if found},
        quiet=sum(quiet for *_, quiet in counted),
        unanswered=sum(total for state, total, *_ in counted if state.unanswered),
    )


async def _pool(session: AsyncSession, account: str) -> LicensePoolRow:
    return await session.get_one(LicensePoolRow, (account, WORKPLACE, NO_CAPACITY))


async def _seats(session: AsyncSession, account: str) -> Seats:
    pool = await _pool(session, account)
    return Seats(bought=pool.bought, free=pool.free)


# Batches.


async def _batches(session: AsyncSession, account: str, at: datetime) -> tuple[ListedBatch, ...]:
    """Return the batches of the last day, the latest first."""
    row = StoredBatchRow
    found = await session.execute(
        select(row.batch_id, row.filed_at)
        .where(
            row.filed_at > at - _RECENT,
            type_coerce(row.ordered, JSON)["account"].as_string() == account,
        )
        .order_by(row.filed_at.desc(), row.batch_id)
        .limit(_RECENT_BATCHES)
    )
    batches = found.all()
    if not batches:
        return ()
    progress = await _progress(session, [batch_id for batch_id, _ in batches])
    return tuple(
        ListedBatch(batch_id=batch_id, requested_at=filed_at, progress=progress[batch_id])
        for batch_id, filed_at in batches
    )


async def _progress(session: AsyncSession, ids: Sequence[str]) -> Mapping[str, BatchProgress]:
    row = BatchPersonRow
    counted = await session.execute(
        select(row.batch_id, row.result, func.count())
        .where(row.batch_id.in_(ids))
        .group_by(row.batch_id, row.result)
    )
    counts: dict[str, dict[str | None, int]] = {batch_id: {} for batch_id in ids}
    for batch_id, result, count in counted:
        counts[batch_id][result] = count
    return {
        batch_id: BatchProgress(
            total=sum(each.values()),
            invited=each.get("invited", 0),
            already_invited=each.get("already_invited", 0),
            refused=each.get("refused", 0),
        )
        for batch_id, each in counts.items()
    }


def _batch_result(row: BatchPersonRow, key: str | None, state: str | None) -> BatchResult:
    return BatchResult(
        position=row.position,
        email=row.person.email.strip(),
        name=row.person.name,
        result=row.result,
        error=row.error,
        key=key,
        state=InvitationState(state) if state else None,
    )


# The review.


async def _known(session: AsyncSession, account: str, emails: Sequence[str]) -> Known:
    """Return the memberships and live invitations of those who have one."""
    memberships: dict[str, Membership] = {}
    for start in range(0, len(emails), _ADDRESSES_PER_QUERY):
        some = emails[start : start + _ADDRESSES_PER_QUERY]
        for email, role, on, plan in await session.execute(
            select(MembershipRow.email, MembershipRow.role, AccountRow.id, AccountRow.plan)
            .join(AccountRow, AccountRow.id == MembershipRow.account_id)
            .where(MembershipRow.email.in_(some), MembershipRow.until.is_(None))
        ):
            memberships[email] = Membership(
                account=on, role=Role(role), paid=plan != Plan.FREE, follows_owner=False
            )
    # PostgreSQL compares each row with each of many addresses: it is faster to read all rows.
    named = InvitationRow.email.in_(emails) if len(emails) <= _FEW_ADDRESSES else true()
    record: Any = case((_ACCEPTED, InvitationRow.record))
    live: dict[str, _Live] = {}
    for email, state, seat, accepted in await session.execute(
        select(
            InvitationRow.email,
            InvitationRow.state,
            InvitationRow.seat_reserved,
            type_coerce(record, InvitationRow.record.type),
        ).where(InvitationRow.account_id == account, InvitationRow.ended_at.is_(None), named)
    ):
        live[email] = (InvitationState(state), seat, accepted)
    return {email: (memberships.get(email), live.get(email)) for email in memberships.keys() | live}


def _answer(invite: Invite, known: Known) -> Refused | License | None:
    """Return the refusal, the license of the live invitation, or None; seats are not counted."""
    membership, live = known.get(invite.email, (None, None))
    try:
        require_invitable(invite, membership)
    except Refused as refused:
        return refused
    if live is None:
        return None
    _, has_seat, accepted = live
    if accepted is not None:
        return open_settlement(accepted)
    return License.LICENSED if has_seat else License.BASIC
