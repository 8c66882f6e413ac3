"""The letters about an order, queued in the transaction that changes it (OPS-1)."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import AccountRow, OrderRow, PersonRow
from adapters.sql.membership import admins_of, user_or_owner
from adapters.sql.outbox import queue_letters
from domain.letter.order import OrderParties, order_letters
from domain.order import Order
from domain.outbox import RecordKind, RecordVersion, queued_letter


async def queue_order_letters(
    session: AsyncSession, account: AccountRow, row: OrderRow, released: Sequence[str] = ()
) -> None:
    """Queue the letters about the last event of the order, and to users who lost a license."""
    order = row.record
    version = RecordVersion(kind=RecordKind.ORDER, id=order.order_id, entries=len(order.journal))
    parties = await _parties(session, account, order, released)
    await queue_letters(
        session,
        (queued_letter(letter, version) for letter in order_letters(order, parties)),
        workflow_id=order.workflow_id,
        account=account.id,
        at=order.journal[-1].at,
    )


async def _parties(
    session: AsyncSession, account: AccountRow, order: Order, released: Sequence[str]
) -> OrderParties:
    """Return the people to notify of the order, as the directory has them."""
    membership = await user_or_owner(session, account.id, order.bought_by)
    # A closed account has no users.
    buyer = membership.email if membership else order.bought_by
    people = [await session.get_one(PersonRow, email) for email in released]
    return OrderParties(
        account_name=account.name,
        buyer=(await session.get_one(PersonRow, buyer)).as_reader(account.time_zone),
        holders=tuple(person.as_reader(account.time_zone) for person in people),
        admins=tuple(
            admin.as_reader(account.time_zone) for admin in await admins_of(session, account.id)
        ),
    )
