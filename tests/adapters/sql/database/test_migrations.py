"""The migrated schema and the models."""

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import migrations
from adapters.sql.database.schema import Base
from adapters.sql.migrations import upgrade
from domain.error import ErrorCode, Refused
from tests.builders.account import NOON, account, directory
from tests.builders.assignment import LARGE, WEBINAR, assign, held_capacities, import_crew, pools
from tests.builders.invitation import StoreScenario


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
        await connection.execute(text("UPDATE alembic_version SET version_num = '0011'"))
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


def _downgrade(connection: Connection, revision: str) -> None:
    """Return to an earlier revision."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    command.downgrade(config, revision)


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
