"""The migrated schema and the models."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.schema import Base
from adapters.sql.migrations import upgrade
from domain.error import ErrorCode, Refused


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
