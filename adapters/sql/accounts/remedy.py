"""Remedies for blockers, and their opposites, in the built-in directory and billing (BLK).

Every change inserts outbox rows in its own transaction, so that waiting invitations recheck.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ColumnElement, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.change import record_changes
from adapters.sql.database.schema import (
    AccountRow,
    LicensePoolRow,
    MeetingRow,
    MembershipRow,
    PersonRow,
    RoomRow,
    SubscriptionRow,
    WebinarRow,
)
from adapters.sql.database.transaction import writing
from adapters.sql.licenses.pool import leave
from adapters.sql.membership import admins_of, current_membership, require_account
from adapters.sql.outbox import queue_letters, signal_owners
from domain.account import Plan, Role
from domain.error import ErrorCode, Refused
from domain.journal import OPERATOR
from domain.letter.base import Reader, contact_for
from domain.letter.membership import RemovedLetter
from domain.outbox import QueuedLetter
from domain.remedy import Changed, Removal


class SqlRemedies:
    """Changes to accounts that an owner wants to leave.

    Each method returns its changes; a repetition changes nothing.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def remove_user(
        self, account: str, email: str, how: Removal, at: datetime, *, by: str = OPERATOR
    ) -> list[Changed]:
        """Remove a user from the account, and return their licenses to the pools.

        A user who has left before is no error. Raises Refused: `not_found`, `conflict` (the
        owner).
        """
        async with writing(self._engine) as session:
            person = await session.get(PersonRow, email, with_for_update=True)
            row = await require_account(session, account, lock=True)
            membership = await current_membership(session, email)
            if person is None or membership is None or membership.account_id != row.id:
                await _require_former_user(session, account, email)
                return []
            if membership.role == Role.OWNER:
                raise Refused(
                    ErrorCode.CONFLICT,
                    f"{email} owns {account}; an owner cannot be removed.",
                )
            reader = person.as_reader(row.time_zone)
            await _end_membership(session, membership, how, at)
            to = None
            match how:
                case Removal.UNLINK:
                    to = await _create_personal_account(session, person, row, at)
                case Removal.DELETE:
                    await _anonymize(session, person)
            await _queue_letter(session, row, membership, reader, how=how, at=at)
            subject = f"membership/{membership.id}"
            await record_changes(
                session, f"remove-user --{how}", [subject], by=by, at=at, account=row.id
            )
            await signal_owners(session, [row.id], at)
        return [Changed(kind="user", id=email, to=to)]

    async def remove_room(
        self, account: str, room: str, at: datetime, *, by: str = OPERATOR
    ) -> list[Changed]:
        """Delete a room. Raises Refused: `not_found`, also if it was deleted before."""
        async with writing(self._engine) as session:
            await require_account(session, account, lock=True)
            row = await session.get(RoomRow, {"account_id": account, "id": room})
            if row is None:
                raise Refused(ErrorCode.NOT_FOUND, f"{account} has no room {room}.")
            await session.delete(row)
            await record_changes(session, "remove-room", [room], by=by, at=at, account=account)
            await signal_owners(session, [account], at)
        return [Changed(kind="room", id=room)]

    async def reactivate(self, account: str, at: datetime, *, by: str = OPERATOR) -> list[Changed]:
        """Withdraw every requested cancellation. Raises Refused: `not_found`."""
        async with writing(self._engine) as session:
            await require_account(session, account, lock=True)
            lines = await _live_lines(
                session, account, SubscriptionRow.cancellation_pending.is_(True)
            )
            await record_changes(
                session, "reactivate", [line.id for line in lines], by=by, at=at, account=account
            )
            return await _set_cancellation(session, lines, at, pending=False)

    async def cancel_plan(self, account: str, at: datetime, *, by: str = OPERATOR) -> list[Changed]:
        """Request the cancellation of the plan.

        Raises Refused: `not_found`, `conflict` (there is no plan to cancel).
        """
        async with writing(self._engine) as session:
            await require_account(session, account, lock=True)
            lines = await _live_lines(session, account, SubscriptionRow.kind == "plan")
            if not lines:
                raise Refused(ErrorCode.CONFLICT, f"{account} has no plan to cancel.")
            renewing = [line for line in lines if not line.cancellation_pending]
            await record_changes(
                session,
                "cancel-plan",
                [line.id for line in renewing],
                by=by,
                at=at,
                account=account,
            )
            return await _set_cancellation(session, renewing, at, pending=True)


async def _require_former_user(session: AsyncSession, account: str, email: str) -> None:
    """Raise Refused(not_found) if the person never was a user of the account."""
    was_there = exists().where(MembershipRow.account_id == account, MembershipRow.email == email)
    if not await session.scalar(select(was_there)):
        raise Refused(ErrorCode.NOT_FOUND, f"{email} is not a user of {account}.")


async def _end_membership(
    session: AsyncSession, membership: MembershipRow, how: Removal, at: datetime
) -> None:
    await leave(session, membership, at)
    # At once, because the database refuses a second current membership even for a moment.
    await session.execute(
        update(MembershipRow).where(MembershipRow.id == membership.id).values(until=at, leaving=how)
    )


async def _queue_letter(
    session: AsyncSession,
    account: AccountRow,
    membership: MembershipRow,
    reader: Reader,
    *,
    how: Removal,
    at: datetime,
) -> None:
    """Queue the letter to the user who was removed (OPS-1)."""
    admins = await admins_of(session, account.id)
    letter = RemovedLetter(
        id=f"removed.{membership.id}.{account.id}",
        reader=reader,
        account_name=account.name,
        contact=contact_for(reader, *(each.as_reader(account.time_zone) for each in admins)),
        how=how,
    )
    await queue_letters(
        session, [QueuedLetter(letter=letter)], workflow_id="", account=account.id, at=at
    )


async def _create_personal_account(
    session: AsyncSession, person: PersonRow, left: AccountRow, at: datetime
) -> str:
    """Create a free account for a person who was unlinked; return its id.

    The id has no personal data. All chat messages belong to the person here (TRF-4).
    """
    account = AccountRow(
        id=f"personal-{secrets.token_hex(8)}",
        name=person.name or "Personal account",
        plan=Plan.FREE,
        currency=left.currency,
        time_zone=left.time_zone,
        country=left.country,
        collection="autopay",
        state="open",
        suspended=False,
        managed_domains=(),
        locked_settings={},
        credit_named=Decimal(0),
        base_licenses=LicensePoolRow(bought=0, assigned=0, reserved=0),
    )
    session.add(account)
    session.add(
        MembershipRow(
            account_id=account.id, email=person.email, role=Role.OWNER, origin="unlink", since=at
        )
    )
    return account.id


async def _anonymize(session: AsyncSession, person: PersonRow) -> None:
    """Delete all data of the person but the address, which past memberships refer to."""
    for hosted in (MeetingRow, WebinarRow):
        await session.execute(delete(hosted).where(hosted.host == person.email))
    person.name = person.locale = person.time_zone = None
    person.settings = {}
    person.recordings = person.contacts = person.chat_messages = 0


async def _live_lines(
    session: AsyncSession, account: str, wanted: ColumnElement[bool]
) -> Sequence[SubscriptionRow]:
    lines = await session.scalars(
        select(SubscriptionRow)
        .where(SubscriptionRow.account_id == account, SubscriptionRow.ended.is_(None), wanted)
        .order_by(SubscriptionRow.position)
    )
    return lines.all()


async def _set_cancellation(
    session: AsyncSession, lines: Sequence[SubscriptionRow], at: datetime, *, pending: bool
) -> list[Changed]:
    """Request or withdraw the cancellation of all `lines`, which belong to one account."""
    for line in lines:
        line.cancellation_pending = pending
    await signal_owners(session, {line.account_id for line in lines}, at)
    return [Changed(kind="subscription", id=line.id) for line in lines]
