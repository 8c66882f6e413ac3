"""The audit reports a wrong value in any column, except those that `docs/audit.md` lists (AUD)."""

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
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
SAMPLE = 3
"""The rows in which each column is corrupted: the first, the last and one between them."""

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
async def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AsyncEngine]:
    """Yield a database with rows in every table, whose ledger is not protected."""
    database: Database
    if request.param == "sqlite":
        file = tmp_path_factory.mktemp("whole") / "whole.db"
        database = await SqliteDatabase.filled(file, _fill)
    else:
        postgres = request.getfixturevalue("postgres")
        database = await PostgresDatabase.filled(postgres, "whole", _fill)
    yield await database.renewed()
    await database.close()


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
    """AUD: by the audit, or refused by a constraint; the documentation names the others."""
    store = SqlStore(whole)
    assert (await store.audit()).violations == ()
    missed = set[str]()
    sample = await _sample(whole, table)
    for name, several in sample.items():
        for corruption in several:
            if not await _is_found(store, corruption):
                missed.add(name.removeprefix(f"{table}."))
    assert (await store.audit()).violations == ()
    documented = _documented()[table]
    entries = {_entry_of(name, documented.not_found) or name for name in missed}
    assert entries == documented.not_found
    assert (len(sample), len(sample) - len(missed)) == (documented.corrupted, documented.found)


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
    return [several[number] for number in sorted({0, last // 2, last})][:SAMPLE]


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
