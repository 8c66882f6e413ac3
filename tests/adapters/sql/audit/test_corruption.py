"""The audit reports a wrong value in any column, except those that `docs/audit.md` lists (AUD)."""

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.schema import Base
from adapters.sql.migrations import upgrade
from adapters.sql.store import SqlStore
from tests.adapters.sql.audit.corruption import Corruption, corruptions
from tests.builders import assignment, invitation, order
from tests.builders.invitation import StoreScenario
from tests.builders.whole_store import fill
from tests.database import Database, PostgresDatabase, SqliteDatabase

DOCS = Path(__file__).parents[4] / "docs" / "audit.md"
TABLES = sorted(table.name for table in Base.metadata.sorted_tables)

UNGUARDED = {
    "sqlite": ["DROP TRIGGER transfers_refuse_UPDATE"],
    "postgresql": ["DROP TRIGGER transfers_refuse_change ON transfers"],
}


@dataclass(frozen=True)
class Row:
    """A row of the table in the documentation."""

    corrupted: int
    found: int
    not_found: frozenset[str]
    """Columns, or members of documents; with all their members."""
    reasons: frozenset[str]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
async def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Database]:
    """Yield a database with rows in every table, whose ledger is not protected."""
    database: Database
    if request.param == "sqlite":
        file = tmp_path_factory.mktemp("whole") / "whole.db"
        database = await SqliteDatabase.filled(file, _fill)
    else:
        postgres = request.getfixturevalue("postgres")
        database = await PostgresDatabase.filled(postgres, "whole", _fill)
    await database.renewed()
    yield database
    await database.close()


@pytest.fixture
def whole(database: Database) -> AsyncEngine:
    return database.engine


async def _fill(engine: AsyncEngine) -> None:
    await upgrade(engine)
    scenario = StoreScenario(engine, SqlStore(engine))
    numbers = count(1)
    with ExitStack() as stack:
        # With other ids, the sample would have other rows in every run.
        for module in (assignment, invitation, order):
            stack.enter_context(patch.object(module, "uuid4", lambda: UUID(int=next(numbers))))
        await scenario.import_accounts()
        await fill(scenario)
    async with engine.begin() as connection:
        for statement in UNGUARDED[engine.dialect.name]:
            await connection.execute(text(statement))


@pytest.mark.parametrize("table", TABLES)
async def test_a_wrong_value_is_reported(whole: AsyncEngine, table: str) -> None:
    """AUD: in the first row of each column that the documentation does not except."""
    store, documented = SqlStore(whole), _documented()[table]
    sample = await _sample(whole, table)
    assert len(sample) == documented.corrupted
    expected = {
        name: several[:1]
        for name, several in sample.items()
        if not _entry_of(name.removeprefix(f"{table}."), documented.not_found)
    }
    assert len(expected) <= documented.found
    assert await _missed(store, expected) == set()
    assert (await store.audit()).violations == ()


@pytest.mark.full
@pytest.mark.parametrize("table", TABLES)
async def test_the_documentation_names_each_column_that_is_not_reported(
    whole: AsyncEngine, table: str
) -> None:
    """AUD: every column is corrupted, in the first and the last row and in one between them."""
    store, documented = SqlStore(whole), _documented()[table]
    sample = await _sample(whole, table)
    missed = {name.removeprefix(f"{table}.") for name in await _missed(store, sample)}
    assert (await store.audit()).violations == ()
    entries = {_entry_of(name, documented.not_found) or name for name in missed}
    assert entries == documented.not_found
    assert (len(sample), len(sample) - len(missed)) == (documented.corrupted, documented.found)


BROKEN: dict[str, tuple[str, str, str]] = {
    "a pool of licenses that nobody bought": (
        "ADD-5",
        "firm",
        "UPDATE license_pools SET bought = bought + 1 WHERE account_id = 'firm' AND capacity = 500",
    ),
    "prepaid value that is not the sum of its payments": (
        "QUO-1",
        "bill",
        "UPDATE payments SET amount = '61.00' WHERE account_id = 'bill' AND id = 'card-1'",
    ),
    "an invoice that is paid without an entry": (
        "CRD-3",
        "bill/i3",
        "UPDATE invoices SET status = 'paid', amount_due = '0.00'"
        " WHERE account_id = 'bill' AND id = 'i3'",
    ),
    "an invoice that is paid by an unknown charge": (
        "BLK-2",
        "bill/i1",
        "UPDATE invoices SET payment = 'ch_unknown' WHERE account_id = 'bill' AND id = 'i1'",
    ),
    "a charge for an invoice that was never booked": (
        "BLK-2",
        "ch_never",
        "INSERT INTO provider_charges SELECT 'invoice/bill/i1/2', 'ch_never', account_id, method,"
        " currency, amount, at, state, failure FROM provider_charges"
        " WHERE key = 'invoice/bill/i1/1'; UPDATE invoices SET charges = 3 WHERE id = 'i1'",
    ),
    "an order's invoice that is paid by an unknown charge": (
        "ADD-5",
        "{invoice}",
        "UPDATE order_invoices SET payment = 'ch_unknown' WHERE order_id = '{order}'"
        " AND number = 1",
    ),
    "a charge for an order that was never booked": (
        "ADD-5",
        "ch_never",
        "INSERT INTO provider_charges SELECT '{invoice}/9/' || method, 'ch_never', account_id,"
        " method, currency, amount, at, state, failure FROM provider_charges"
        " WHERE provider_id = '{charge}'",
    ),
    "an invitation whose row is not its record": (
        "INV-7",
        "{invitation}",
        "UPDATE invitations SET run_id = 'another' WHERE invitation_id = '{invitation}'",
    ),
    "a refund whose row is not its record": (
        "REF-5",
        "{refund}",
        "UPDATE refunds SET state = 'needs_attention' WHERE refund_id = '{refund}'",
    ),
    "a settled account that is open again": (
        "SRC-2",
        "given",
        "UPDATE accounts SET state = 'open' WHERE id = 'given'",
    ),
    "an account without an owner": (
        "AUD",
        "bill",
        "UPDATE memberships SET role = 'member' WHERE account_id = 'bill'",
    ),
    "an order whose line has another quantity": (
        "ADD-5",
        "{order}",
        "UPDATE subscriptions SET quantity = quantity + 1 WHERE id = '{order}'",
    ),
    "a returned refund of another amount": (
        "OPS-5",
        "{returned}",
        "UPDATE reversals SET amount = amount + 1 WHERE kind = 'refund'",
    ),
    "a dispute about the payment of another account": (
        "OPS-5",
        "du_1",
        "UPDATE reversals SET subject = '{charge}' WHERE reversal_id = 'du_1'",
    ),
    "a divergence with another key": (
        "OPS-6",
        "lost",
        "UPDATE divergences SET key = 'lost' WHERE number = 1",
    ),
}
"""Rule, subject and statement by what each breaks; `NAMES` are filled in."""

NAMES = {
    "order": "SELECT order_id FROM order_invoices WHERE payment IS NOT NULL AND number = 2",
    "invoice": "SELECT order_id || '/1' FROM order_invoices WHERE payment IS NOT NULL"
    " AND number = 2",
    "charge": "SELECT payment FROM order_invoices WHERE payment IS NOT NULL AND number = 2",
    "invitation": "SELECT min(invitation_id) FROM invitations WHERE state = 'pending'",
    "refund": "SELECT min(refund_id) FROM refunds",
    "returned": "SELECT reversal_id FROM reversals WHERE kind = 'refund'",
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_invariant_is_named(database: Database, broken: str) -> None:
    """AUD: with its rule and its subject; the statements are what an operator might run."""
    async with database.engine.begin() as connection:
        names = {name: await connection.scalar(text(query)) for name, query in NAMES.items()}
        rule, subject, statements = (each.format_map(names) for each in BROKEN[broken])
        for statement in statements.split("; "):
            await connection.execute(text(statement))
    found = (await SqlStore(database.engine).audit()).violations
    await database.renewed()
    assert (rule, subject) in {(each.rule, each.subject) for each in found}


def test_the_documentation_lists_every_table_and_explains_its_reasons() -> None:
    """AUD: each group of columns that is not found has one of the reasons above the table."""
    documented = _documented()
    assert sorted(documented) == TABLES
    explained = set(re.findall(r"^- \*\*(.+?)\*\*: ", DOCS.read_text(), re.MULTILINE))
    assert {reason for row in documented.values() for reason in row.reasons} == explained


async def _sample(engine: AsyncEngine, table: str) -> dict[str, Sequence[Corruption]]:
    async with engine.connect() as connection:
        found = await connection.run_sync(lambda sync: list(corruptions(sync, table)))
    by_name = defaultdict[str, list[Corruption]](list)
    for corruption in found:
        by_name[corruption.name].append(corruption)
    return {name: _spread(several) for name, several in by_name.items()}


def _spread(several: Sequence[Corruption]) -> Sequence[Corruption]:
    last = len(several) - 1
    return [several[number] for number in sorted({0, last // 2, last})]


async def _missed(store: SqlStore, sample: Mapping[str, Sequence[Corruption]]) -> set[str]:
    """Return the columns with a wrong value that neither a constraint nor the audit finds."""
    return {
        name
        for name, several in sample.items()
        for corruption in several
        if not await _is_found(store, corruption)
    }


async def _is_found(store: SqlStore, corruption: Corruption) -> bool:
    try:
        async with store.engine.begin() as connection:
            await connection.run_sync(corruption.apply)
    except IntegrityError:
        return True
    try:
        return bool((await store.audit()).violations)
    finally:
        async with store.engine.begin() as connection:
            await connection.run_sync(corruption.revert)


def _entry_of(name: str, entries: Iterable[str]) -> str | None:
    """Return the longest entry of the documentation that covers this column or member."""
    covering = (each for each in entries if f"{name}.".startswith(f"{each}."))
    return max(covering, key=len, default=None)


def _documented() -> dict[str, Row]:
    rows = re.findall(
        r"^\| `(\w+)` \| (\d+) \| (\d+) \| (.*) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {
        table: Row(
            int(corrupted),
            int(found),
            frozenset(re.findall(r"`(.+?)`", not_found)),
            frozenset(re.findall(r": ([^;`]+)", not_found)),
        )
        for table, corrupted, found, not_found in rows
    }
