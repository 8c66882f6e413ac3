"""The ledger: transfers, each posted once, and the balances they change (CRD).

The caller has locked every account that the ledger accounts belong to, so that two
transactions never wait for each other's balances.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import bindparam, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.column import CountedAmount
from adapters.sql.database.schema import BalanceRow, TransferRow
from adapters.sql.database.transaction import insert_missing
from domain.invitation import Invite
from domain.ledger import Transfer, TransferKind, credit_of, credit_transfer_ids
from domain.money import Money, rounded

_BALANCES = BalanceRow.metadata.tables[BalanceRow.__tablename__]
_CHANGE_BALANCE = (
    update(_BALANCES)
    .where(
        _BALANCES.c.ledger_account == bindparam("changed_account"),
        _BALANCES.c.currency == bindparam("changed_currency"),
    )
    .values(amount=_BALANCES.c.amount + bindparam("change", type_=CountedAmount()))
)


async def post(session: AsyncSession, transfers: Sequence[Transfer], *, by: str) -> None:
    """Post the transfers, whose author is `by` (OPS-8).

    The database refuses an overdraft and a repeated id.
    """
    if not transfers:
        return
    changes: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for transfer in transfers:
        changes[transfer.debited, transfer.amount.currency] -= transfer.amount.amount
        changes[transfer.credited, transfer.amount.currency] += transfer.amount.amount
    await session.execute(
        insert(TransferRow), [_transfer_values(transfer, by) for transfer in transfers]
    )
    await insert_missing(
        session,
        BalanceRow,
        [
            {"ledger_account": account, "currency": currency, "amount": Decimal(0)}
            for account, currency in changes
        ],
    )
    connection = await session.connection()
    await connection.execute(
        _CHANGE_BALANCE,
        [
            {"changed_account": account, "changed_currency": currency, "change": change}
            for (account, currency), change in changes.items()
        ],
    )


async def balance(session: AsyncSession, ledger_account: str, currency: str) -> Money:
    """Return the balance of a ledger account."""
    amount = await session.scalar(
        select(BalanceRow.amount).where(
            BalanceRow.ledger_account == ledger_account, BalanceRow.currency == currency
        )
    )
    return rounded(amount or Decimal(0), currency)


async def posted(session: AsyncSession, ids: Iterable[str]) -> dict[str, Transfer]:
    """Return the transfers with these ids that were posted."""
    rows = await session.scalars(select(TransferRow).where(TransferRow.id.in_(list(ids))))
    return {row.id: as_transfer(row) for row in rows}


async def acceptance_credits(session: AsyncSession, invite: Invite) -> list[Transfer]:
    """Return the transfers by which the acceptance credited the target account."""
    entries = await posted(session, credit_transfer_ids(invite.invitation_id))
    receiver = credit_of(invite.account)
    return [entry for entry in entries.values() if entry.credited == receiver]


async def applied_at(session: AsyncSession, ledger_account: str, at: datetime) -> list[Transfer]:
    """Return the transfers of credit to invoices at a moment, in the order of posting."""
    rows = await session.scalars(
        select(TransferRow)
        .where(
            TransferRow.debited == ledger_account,
            TransferRow.kind == TransferKind.APPLIED,
            TransferRow.at == at,
        )
        .order_by(TransferRow.number)
    )
    return [as_transfer(row) for row in rows]


async def entries_of(session: AsyncSession, ledger_account: str, currency: str) -> list[Transfer]:
    """Return all transfers of a ledger account, in the order of posting."""
    rows = await session.scalars(
        select(TransferRow)
        .where(
            or_(TransferRow.debited == ledger_account, TransferRow.credited == ledger_account),
            TransferRow.currency == currency,
        )
        .order_by(TransferRow.number)
    )
    return [as_transfer(row) for row in rows]


async def count_entries(session: AsyncSession, *ledger_accounts: str) -> int:
    """Return the number of transfers of these ledger accounts, for the id of the next one."""
    found = await session.scalar(
        select(func.count())
        .select_from(TransferRow)
        .where(
            or_(
                TransferRow.debited.in_(ledger_accounts),
                TransferRow.credited.in_(ledger_accounts),
            )
        )
    )
    return found or 0


def as_transfer(row: TransferRow) -> Transfer:
    """Return the transfer as a domain value."""
    return Transfer.model_validate(
        {
            "id": row.id,
            "at": row.at,
            "kind": row.kind,
            "debited": row.debited,
            "credited": row.credited,
            "amount": rounded(row.amount, row.currency),
            "invoice": row.invoice,
            "by": row.by,
        }
    )


def _transfer_values(transfer: Transfer, by: str) -> dict[str, object]:
    return {
        **transfer.model_dump(exclude={"amount"}),
        "by": by,
        "currency": transfer.amount.currency,
        "amount": transfer.amount.amount,
    }
