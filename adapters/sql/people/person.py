"""People in the store: access requests, and the removal of those who have left (OPS-9)."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Select, or_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import (
    BatchPersonRow,
    BatchRow,
    InvitationRow,
    MembershipRow,
    PersonRow,
)
from adapters.sql.database.transaction import reading, writing
from adapters.sql.people.forgetting import forget_person
from adapters.sql.people.trace import rows_about, trace_of, written_as
from domain.error import ErrorCode, Refused
from domain.person import FORGOTTEN, Forgotten, PersonalData, disclosed, is_pseudonym


class SqlPeople:
    """Everything that the store has about a person."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def forget(self, email: str, at: datetime, *, by: str) -> Forgotten:
        """Put a pseudonym in the place of a person, everywhere, in one transaction.

        Amounts, dates and states stay. Letters to the person that wait are deleted. Workflows that
        run for other people and know this one are replaced. A repetition changes nothing. Raises
        Refused: `conflict` (on an account, invited, owed money, or named by a running batch).
        """
        async with writing(self._engine) as session:
            return await forget_person(session, email, at, by=by)

    async def export(self, email: str) -> PersonalData:
        """Return everything about the person. Raises Refused: `not_found`."""
        async with reading(self._engine) as session:
            trace = await trace_of(session, email)
            rows = await rows_about(session, trace)
        found = {
            table.name: [
                {name: _disclosed(value, trace.addresses) for name, value in row.items()}
                for row in some.values()
            ]
            for table, some in rows.items()
            if some
        }
        if not found:
            raise Refused(ErrorCode.NOT_FOUND, f"The store has nothing about {email}.")
        return PersonalData(email=email, records=found)

    async def forgettable(self, before: datetime) -> list[str]:
        """Return the people whose records have all ended before that."""
        async with reading(self._engine) as session:
            found = {*await session.scalars(_left(before))}
            return sorted(found | await _refused(session, before))


def _disclosed(value: Any, addresses: set[str]) -> Any:
    return disclosed(value, addresses) if isinstance(value, str | list | dict) else value


def _left(before: datetime) -> Select[str]:
    """Return the query of people with an ended record, and none that is open or more recent."""
    left = select(MembershipRow.email).where(MembershipRow.until < before)
    invited = select(InvitationRow.email).where(InvitationRow.ended_at < before)
    email = left.union(invited).subquery().c.email
    on_an_account = or_(MembershipRow.until.is_(None), MembershipRow.until >= before)
    is_invited = or_(InvitationRow.ended_at.is_(None), InvitationRow.ended_at >= before)
    return select(email).where(
        email.not_like(f"%@{FORGOTTEN}"),
        email.not_in(select(MembershipRow.email).where(on_an_account)),
        email.not_in(select(InvitationRow.email).where(is_invited)),
    )


async def _refused(session: AsyncSession, before: datetime) -> set[str]:
    """Return the people of old batches who were refused, and who have no other record."""
    written = type_coerce(BatchPersonRow.person, JSON)["email"].as_string()
    rows = await session.scalars(
        select(written)
        .distinct()
        .join(BatchRow, BatchRow.batch_id == BatchPersonRow.batch_id)
        .where(BatchRow.filed_at < before, BatchPersonRow.result == "refused")
    )
    found = {written_as(each) for each in rows}
    for known in (PersonRow.email, InvitationRow.email):
        found -= {*await session.scalars(select(known))}
    return {each for each in found if each and not is_pseudonym(each)}
