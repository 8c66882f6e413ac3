"""The tables that migrations make are those that the code expects."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.migrations import upgrade
from adapters.sql.schema import Base
from tests.adapters.sql.purse import balances, imported
from tests.adapters.sql.town import Town


async def test_models_and_migrations_agree(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        assert await connection.run_sync(_differences) == []


async def test_constraints_and_partial_indexes_agree_to_the_letter(engine: AsyncEngine) -> None:
    """What a comparison by name would miss: what each of them says."""
    async with engine.begin() as connection:
        migrated = await connection.run_sync(_constraints)
        await connection.run_sync(_made_from_the_models)
        assert await connection.run_sync(_constraints) == migrated


async def test_upgrading_again_changes_nothing(engine: AsyncEngine) -> None:
    await upgrade(engine)
    async with engine.begin() as connection:
        assert await connection.run_sync(_differences) == []


async def test_money_that_was_there_before_the_ledger_is_posted(town: Town) -> None:
    """CRD-4: payments of open accounts, and credit, as an import would have posted them."""
    await imported(town, credit="5.00")
    await imported(town, "gone", state="closed")
    now = await balances(town.engine)
    async with town.engine.begin() as connection:
        await connection.run_sync(_back_to_the_foundation)
    await upgrade(town.engine)
    assert await balances(town.engine) == now
    assert (await town.store.audit()).violations == ()


def _back_to_the_foundation(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("DROP FUNCTION refuse_to_change_the_ledger CASCADE"))
    made_since = (
        "bulk_rows",
        "bulk_batches",
        "moved_items",
        "announcements",
        "transfers",
        "balances",
        "settlements",
        "refunds",
        "provider_refunds",
    )
    for table in made_since:
        connection.execute(text(f"DROP TABLE {table}"))
    connection.execute(text("ALTER TABLE invoices DROP COLUMN amount_named"))
    connection.execute(text("ALTER TABLE memberships DROP COLUMN chat_before"))
    connection.execute(text("DROP INDEX invitations_by_invitee"))
    connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))


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


def _made_from_the_models(connection: Connection) -> None:
    Base.metadata.drop_all(connection)
    Base.metadata.create_all(connection)


def _constraints(connection: Connection) -> dict[str, object]:
    look = inspect(connection)
    return {
        table: (
            sorted(
                (check["name"], check["sqltext"]) for check in look.get_check_constraints(table)
            ),
            sorted(
                (index["name"], name, str(option))
                for index in look.get_indexes(table)
                for name, option in index.get("dialect_options", {}).items()
            ),
        )
        for table in Base.metadata.tables
    }
