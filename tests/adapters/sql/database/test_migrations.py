"""The migrated schema and the models."""

from dataclasses import replace
from datetime import timedelta
from unittest.mock import patch

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import migrations
from adapters.sql.database.engine import MIGRATING, create_engine
from adapters.sql.database.schema import REVISION, Base
from adapters.sql.database.transaction import writing
from adapters.sql.migrations import alembic_config, upgrade
from domain.error import ErrorCode, Refused
from tests.builders.account import NOON, account, directory
from tests.builders.assignment import LARGE, WEBINAR, assign, held_capacities, import_crew, pools
from tests.builders.invitation import StoreScenario
from tests.postgres import Postgres


async def test_models_and_migrations_agree(engine: AsyncEngine) -> None:
    """ADR 2: Alembic finds no difference between the migrated tables and the models."""
    async with engine.begin() as connection:
        assert await connection.run_sync(_differences) == []


async def test_constraints_and_partial_indexes_have_the_same_sql(engine: AsyncEngine) -> None:
    """ADR 2: a comparison by name would miss a difference in their SQL."""
    async with engine.begin() as connection:
        migrated = await connection.run_sync(_constraints)
        await connection.run_sync(_recreate_from_the_models)
        assert await connection.run_sync(_constraints) == migrated


async def test_upgrading_again_changes_nothing(engine: AsyncEngine) -> None:
    """ADR 2: a second upgrade leaves the schema as it is."""
    await upgrade(engine)
    async with engine.begin() as connection:
        assert await connection.run_sync(_differences) == []


async def test_a_database_of_an_unknown_revision_is_refused(engine: AsyncEngine) -> None:
    """A version before 0.2.0 has left it; the error says what to do."""
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '0099'"))
    with pytest.raises(Refused, match="Set up a new database") as refused:
        await upgrade(engine)
    assert refused.value.code is ErrorCode.CONFLICT


async def test_large_meeting_licenses_survive_a_downgrade_and_an_upgrade(
    scenario: StoreScenario,
) -> None:
    """ASG-8: the revision before had one add-on for each user; webinar licenses are dropped."""
    await import_crew(scenario, "ann", "ben", pools=[*pools(c500=2), *pools(WEBINAR, c500=2)])
    for sku in (LARGE, WEBINAR):
        await assign(scenario, "ann", "ben", sku=sku)
    async with scenario.engine.begin() as connection:
        await connection.run_sync(_downgrade, "0002")
    await upgrade(scenario.engine)
    async with scenario.engine.begin() as connection:
        assert await connection.run_sync(_differences) == []
    assert await held_capacities(scenario, "ben", LARGE) == ([500], {500})
    assert (await held_capacities(scenario, "ben", WEBINAR))[0] == []
    licenses = await scenario.store.assignments.licenses("crew")
    assert [(pool.sku.value, pool.assigned) for pool in licenses] == [
        ("workplace", 2),
        ("large-meeting", 2),
    ]


async def test_verified_domains_survive_a_downgrade_and_an_upgrade(
    scenario: StoreScenario,
) -> None:
    """INV-18: the revision before had only the lists of the accounts."""
    before = await _managed_before(scenario, "acme", "solo")
    await upgrade(scenario.engine)
    async with scenario.engine.begin() as connection:
        assert await connection.run_sync(_differences) == []
    for name, domains in before.items():
        listed = await scenario.store.managed_domains.list(name)
        assert {each.domain for each in listed if each.verified_at} == domains
    assert (await scenario.store.audit()).violations == ()


async def test_a_closed_account_loses_its_domains_in_an_upgrade(scenario: StoreScenario) -> None:
    """INV-18, SRC-2: the closing of an account releases them since this revision."""
    await scenario.store.directory.import_(
        directory(account("gone", state="closed", managed_domains=["gone.example"]))
    )
    await _managed_before(scenario, "acme")
    await upgrade(scenario.engine)
    assert await scenario.store.managed_domains.list("gone") == []
    assert (await scenario.account("gone")).managed_domains == ()


async def test_stored_vanity_urls_become_lower_case_in_an_upgrade(scenario: StoreScenario) -> None:
    """TRF-5: one that is no label stays, and the audit lists it."""
    await _managed_before(scenario, "acme")
    await _execute(
        scenario,
        "UPDATE accounts SET vanity_url = 'ACME' WHERE id = 'acme'",
        "UPDATE accounts SET vanity_url = 'https://Evil.example/x' WHERE id = 'solo'",
    )
    await upgrade(scenario.engine)
    assert (await scenario.account("acme")).vanity_url == "acme"
    assert [each.subject for each in (await scenario.store.audit()).violations] == ["solo"]


@pytest.mark.parametrize(
    ("member", "shared", "other"),
    [
        ("managed_domains", '["solo.example"]', "[]"),
        ("vanity_url", "solo", "acme"),
        ("vanity_url", "SOLO", "acme"),
    ],
)
async def test_an_upgrade_names_the_accounts_that_share_a_name(
    scenario: StoreScenario, member: str, shared: str, other: str
) -> None:
    """INV-18, TRF-5: an operator decides who has it; until then nothing is changed."""
    await _managed_before(scenario, "acme", "solo")
    await _execute(
        scenario,
        "UPDATE accounts SET vanity_url = 'solo' WHERE id = 'solo'",
        f"UPDATE accounts SET {member} = '{shared}' WHERE id = 'acme'",
    )
    with pytest.raises(Refused, match="acme, solo") as refused:
        await upgrade(scenario.engine)
    assert refused.value.code is ErrorCode.CONFLICT
    assert member in refused.value.message
    await _execute(scenario, f"UPDATE accounts SET {member} = '{other}' WHERE id = 'acme'")
    await upgrade(scenario.engine)
    assert (await scenario.store.audit()).violations == ()


async def _managed_before(scenario: StoreScenario, *names: str) -> dict[str, set[str]]:
    """Import a managed domain for each account, and return to the revision before they had rows."""
    domains = {name: {f"{name}.example"} for name in names}
    plans = {"acme": "business", "solo": "free"}
    await scenario.store.directory.import_(
        directory(
            *(
                account(name, plan=plans[name], managed_domains=managed)
                for name, managed in domains.items()
            )
        )
    )
    await scenario.store.managed_domains.add(names[0], "pending.example", NOON)
    async with scenario.engine.begin() as connection:
        await connection.run_sync(_downgrade, "0007-1")
    return domains


async def _execute(scenario: StoreScenario, *statements: str) -> None:
    async with scenario.engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def test_every_revision_can_be_undone(engine: AsyncEngine) -> None:
    """ADR 2: down by each revision to an empty database, and up again: the same schema."""
    async with engine.begin() as connection:
        migrated = await connection.run_sync(_schema)
    for revision in (*_revisions()[1:], "base"):
        async with engine.begin() as connection:
            await connection.run_sync(_downgrade, revision)
    async with engine.begin() as connection:
        assert set(await connection.run_sync(_schema)) == {"table alembic_version"}
    for revision in reversed(_revisions()):
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, revision)
    async with engine.begin() as connection:
        assert await connection.run_sync(_schema) == migrated


def test_the_tables_are_those_of_the_newest_revision() -> None:
    """Contract, processes: a process compares the revision of the database with this one."""
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [REVISION]


async def test_a_migration_does_not_wait_for_a_table_in_use(postgres: Postgres) -> None:
    """OPS-4: all other statements would queue behind it; nothing was changed."""
    url = postgres.create("table_in_use")
    engine, migrating = create_engine(url), create_engine(url)
    await upgrade(engine)
    async with engine.begin() as connection:
        await connection.run_sync(_downgrade, "0003")
    with patch.object(migrations, "MIGRATING", replace(MIGRATING, lock=timedelta(seconds=0.2))):
        async with writing(engine) as session:
            await session.execute(text("UPDATE meetings SET position = 0"))
            with pytest.raises(DBAPIError, match="lock timeout"):
                await upgrade(migrating)
    await upgrade(migrating)
    async with engine.begin() as connection:
        assert await connection.run_sync(_differences) == []
    for each in (engine, migrating):
        await each.dispose()


def _revisions() -> list[str]:
    """Return all revisions, the newest first."""
    return [
        script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()
    ]


def _downgrade(connection: Connection, to: str) -> None:
    command.downgrade(alembic_config(connection), to)


def _upgrade(connection: Connection, to: str) -> None:
    command.upgrade(alembic_config(connection), to)


def _schema(connection: Connection) -> dict[str, str]:
    """Return the definition of every table, index, constraint, trigger and function."""
    rows = connection.execute(text(_SCHEMA[connection.dialect.name]))
    # A table that was altered has its new columns last, its constraints in any order, and quotes
    # its name.
    return {
        name: " ".join(sorted(definition.replace('"', "").replace(",", " ").split()))
        for name, definition in rows
    }


_SCHEMA = {
    "sqlite": "SELECT type || ' ' || name, sql FROM sqlite_master WHERE sql IS NOT NULL"
    " AND name <> 'sqlite_sequence'",
    "postgresql": """
    SELECT 'column ' || table_name || '.' || column_name,
        concat_ws(' ', data_type, is_nullable, column_default, is_identity)
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name <> 'alembic_version'
    UNION SELECT 'table ' || table_name, table_name
        FROM information_schema.tables WHERE table_schema = 'public'
    UNION SELECT 'index ' || indexname, indexdef
        FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    UNION SELECT 'constraint ' || conname, conrelid::regclass || pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        AND conrelid::regclass::text <> 'alembic_version'
    UNION SELECT 'trigger ' || tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION SELECT 'function ' || proname, prosrc
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    """,
}


def _differences(connection: Connection) -> list[object]:
    return list(
        compare_metadata(
            MigrationContext.configure(
                connection,
                opts={
                    "autogenerate_plugins": [
                        "alembic.autogenerate.*",
                        "alembic.ext.checkconstraint_byname",
                    ]
                },
            ),
            Base.metadata,
        )
    )


def _recreate_from_the_models(connection: Connection) -> None:
    Base.metadata.drop_all(connection)
    Base.metadata.create_all(connection)


def _constraints(connection: Connection) -> dict[str, object]:
    inspector = inspect(connection)
    return {
        table: (
            sorted(
                (check["name"], check["sqltext"])
                for check in inspector.get_check_constraints(table)
            ),
            sorted(
                (index["name"], name, str(option))
                for index in inspector.get_indexes(table)
                for name, option in index.get("dialect_options", {}).items()
            ),
        )
        for table in Base.metadata.tables
    }
