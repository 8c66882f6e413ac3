"""Payment methods of the built-in billing, some of which decline (ADD-4).

The caller has locked the account.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import PaymentMethodRow
from domain.charge import EXAMPLE_CARD


async def payment_methods(session: AsyncSession, account: str) -> Sequence[PaymentMethodRow]:
    """Return the account's payment methods in the order of use.

    An account without any has the example card, which is not stored.
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


def try_charge(method: PaymentMethodRow) -> bool:
    """Return whether the method accepts a charge; count a decline."""
    if not method.declines:
        return True
    method.declines -= 1
    return False
