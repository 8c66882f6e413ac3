"""The ledger in the database: immutable, never overdrawn, nothing posted twice (CRD)."""

from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.transaction import StatementFailed, reading, writing
from adapters.sql.money.ledger import balance, post, posted
from domain.journal import ENGINE
from domain.ledger import Transfer, TransferKind, credit_of, opening_of, revenue_of
from domain.money import Money
from tests.builders.account import NOON
from tests.world import refusal_of


def a_transfer(amount: str, id: str = "t1", currency: str = "EUR", **more: object) -> Transfer:
    return Transfer(
        id=id,
        at=NOON,
        kind=TransferKind.OPENING,
        debited=opening_of("acme"),
        credited=credit_of("acme"),
        amount=Money(amount=Decimal(amount), currency=currency),
    ).model_copy(update=more)


async def done(engine: AsyncEngine, *transfers: Transfer) -> None:
    async with writing(engine) as session:
        await post(session, transfers, by=ENGINE)


async def credit(engine: AsyncEngine, currency: str = "EUR") -> str:
    async with reading(engine) as session:
        return f"{(await balance(session, credit_of('acme'), currency)).amount:f}"


@pytest.mark.parametrize(
    ("amount", "currency"),
    [("999999999999.99", "EUR"), ("5", "JPY"), ("0.001", "KWD"), ("0.0001", "CLF")],
)
async def test_amounts_are_exact_in_every_currency(
    engine: AsyncEngine, amount: str, currency: str
) -> None:
    """CRD-4: up to four decimals."""
    await done(engine, a_transfer(amount, currency=currency))
    assert await credit(engine, currency) == amount
    async with reading(engine) as session:
        kept = await posted(session, ["t1", "t2"])
    assert kept == {"t1": a_transfer(amount, currency=currency, by=ENGINE)}


async def test_an_amount_with_more_decimals_than_any_currency_is_refused(
    engine: AsyncEngine,
) -> None:
    """CRD-4: no amount is rounded."""
    with pytest.raises(StatementFailed, match="more than 4 decimals"):
        await done(engine, a_transfer("0.00001"))


async def test_each_currency_has_its_own_balance(engine: AsyncEngine) -> None:
    """CRD-4: an entry changes the balances of its currency only."""
    await done(engine, a_transfer("5.00"), a_transfer("7.00", "t2", "USD"))
    assert (await credit(engine), await credit(engine, "USD")) == ("5.00", "7.00")


async def test_an_entry_is_posted_once(engine: AsyncEngine) -> None:
    """CRD-1: a repeated id fails, together with all other entries of its transaction."""
    await done(engine, a_transfer("5.00"))
    repeated = done(engine, a_transfer("5.00", "t2"), a_transfer("5.00"))
    assert await refusal_of(repeated) == "invariant_broken"
    assert await credit(engine) == "5.00"


async def test_credit_is_never_overdrawn(engine: AsyncEngine) -> None:
    """CRD-1: the database checks it."""
    spent = {"debited": credit_of("acme"), "credited": revenue_of("acme")}
    await done(engine, a_transfer("5.00"))
    assert await refusal_of(done(engine, a_transfer("5.01", "t2", **spent))) == "invariant_broken"
    await done(engine, a_transfer("5.00", "t2", **spent))
    assert await credit(engine) == "0.00"


@pytest.mark.parametrize(
    "statement", ["UPDATE transfers SET amount = 1", "DELETE FROM transfers", "TRUNCATE transfers"]
)
async def test_an_entry_cannot_be_changed_or_deleted(engine: AsyncEngine, statement: str) -> None:
    """CRD-1: only another entry can reverse it."""
    if statement.startswith("TRUNCATE") and engine.dialect.name == "sqlite":
        statement = "DELETE FROM transfers WHERE number > 0"
    await done(engine, a_transfer("5.00"))
    with pytest.raises(IntegrityError, match="immutable"):
        async with engine.begin() as connection:
            await connection.execute(text(statement))
    assert await credit(engine) == "5.00"


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
@pytest.mark.parametrize("key", ["number", "id"])
async def test_an_entry_cannot_be_replaced(engine: AsyncEngine, key: str) -> None:
    """CRD-1: SQLite would delete the present entry without firing the trigger of deletes."""
    await done(engine, a_transfer("5.00"))
    columns = ("number", "id", "at", "kind", "debited", "credited", "currency", "amount")
    values = [f"'a new {name}'" if name in {"number", "id"} - {key} else name for name in columns]
    replaced = ", ".join(values).replace("'a new number'", "99").replace("amount", "1")
    with pytest.raises(IntegrityError, match="immutable"):
        async with engine.begin() as connection:
            await connection.execute(
                text(
                    f"INSERT OR REPLACE INTO transfers ({', '.join(columns)})"
                    f" SELECT {replaced} FROM transfers"
                )
            )
    assert await credit(engine) == "5.00"
