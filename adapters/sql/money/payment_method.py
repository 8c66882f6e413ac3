"""How an account pays in the built-in billing, which has cards that decline (ADD-4).

Whoever charges holds the lock of the account.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import PaymentMethodRow
from domain.charge import EXAMPLE_CARD


async def payment_methods(session: AsyncSession, account: str) -> Sequence[PaymentMethodRow]:
    """The account's payment methods in the order in which they are tried.

    Without any there is the example card, which is kept nowhere.
    """
    listed = await session.scalars(
        select(PaymentMethodRow)
        .where(PaymentMethodRow.account_id == account)
        .order_by(PaymentMethodRow.position)
    )
    example = PaymentMethodRow(
        account_id=account, id=EXAMPLE_CARD, position=0, kind="card", declines=0
    )
    return listed.all() or [example]


def takes_charge(method: PaymentMethodRow) -> bool:
    """Whether the method takes a charge now; each one that it declines is counted."""
    if not method.declines:
        return True
    method.declines -= 1
    return False


async def first_to_take_charge(session: AsyncSession, account: str) -> PaymentMethodRow | None:
    """The first of the account's methods that takes a charge; those before it declined."""
    methods = await payment_methods(session, account)
    return next((method for method in methods if takes_charge(method)), None)
