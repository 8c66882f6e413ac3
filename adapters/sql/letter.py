"""Letters: those that wait in the outbox, and those that the mail server has accepted."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import (
    AccountRow,
    InvitationRow,
    LetterRow,
    MembershipRow,
    OrderRow,
    OutboxRow,
    PersonRow,
    RefundRow,
    SignInLinkRow,
)
from adapters.sql.database.transaction import insert_missing, reading, writing
from domain.account import Role
from domain.letter.base import Reader
from domain.outbox import QueuedLetter, RecordKind, RecordVersion, still_current
from domain.session import RequestedSignIn


class SqlLetters:
    """The `LetterQueue`, and the ids of accepted letters, so that none is sent twice."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def queued(self, letter_id: str) -> QueuedLetter | None:
        """Return a letter that waits to be sent; None if it was sent or dropped."""
        async with reading(self._engine) as session:
            row = await session.scalar(select(OutboxRow).where(OutboxRow.key == letter_id))
            return row.letter if row else None

    async def is_current(self, version: RecordVersion) -> bool:
        """Return whether the record has not changed since in a way that outdates a letter."""
        async with reading(self._engine) as session:
            row = await _record(session, version)
            return row is not None and still_current(version, row.record.journal)

    async def requested_sign_in(self, link_id: str) -> RequestedSignIn | None:
        """Return the person who may sign in by this link now; None if nobody may.

        The link must be unused and in time, and the person an operator, an owner or an admin.
        """
        async with reading(self._engine) as session:
            link = await session.get(SignInLinkRow, link_id)
            if link is None or link.used_at is not None or link.expires_at <= datetime.now(UTC):
                return None
            person = await session.get(PersonRow, link.email)
            administered = (
                await session.execute(
                    select(AccountRow.name, AccountRow.time_zone)
                    .join(MembershipRow, MembershipRow.account_id == AccountRow.id)
                    .where(
                        MembershipRow.email == link.email,
                        MembershipRow.until.is_(None),
                        MembershipRow.role.in_([role for role in Role if role.administers]),
                    )
                )
            ).one_or_none()
            if administered is None and not link.operator:
                return None
            time_zone = administered.time_zone if administered else "UTC"
            return RequestedSignIn(
                reader=person.as_reader(time_zone) if person else Reader(email=link.email),
                account_name=administered.name if administered else None,
            )

    async def drop(self, letter_id: str) -> None:
        """Delete a letter that is no longer true."""
        async with writing(self._engine) as session:
            await _delete(session, letter_id)

    async def release(self, letter_ids: Sequence[str]) -> None:
        """Make the letters due now."""
        async with writing(self._engine) as session:
            await session.execute(
                update(OutboxRow)
                .where(OutboxRow.key.in_(letter_ids), OutboxRow.attempts == 0)
                .values(due_at=datetime.now(UTC))
            )

    async def record_failure(self, letter_id: str, failure: str, *, final: bool) -> None:
        """Record why the letter was not sent; a `final` failure leaves it to an operator."""
        async with writing(self._engine) as session:
            await session.execute(
                update(OutboxRow)
                .where(OutboxRow.key == letter_id)
                .values(failure=failure, given_up=final)
            )

    async def is_sent(self, letter_id: str) -> bool:
        """Return whether the mail server has accepted this letter."""
        async with reading(self._engine) as session:
            return await session.get(LetterRow, letter_id) is not None

    async def record_sent(self, letter_id: str, at: datetime) -> None:
        """Record that the mail server accepted the letter at `at`, and delete its row."""
        async with writing(self._engine) as session:
            letter = {"letter_id": letter_id, "taken_at": at}
            await insert_missing(session, LetterRow, [letter])
            await _delete(session, letter_id)


async def _delete(session: AsyncSession, letter_id: str) -> None:
    await session.execute(delete(OutboxRow).where(OutboxRow.key == letter_id))


async def _record(
    session: AsyncSession, version: RecordVersion
) -> InvitationRow | RefundRow | OrderRow | None:
    match version.kind:
        case RecordKind.INVITATION:
            return await session.get(InvitationRow, version.id)
        case RecordKind.REFUND:
            return await session.get(RefundRow, version.id)
        case RecordKind.ORDER:
            return await session.get(OrderRow, version.id)
