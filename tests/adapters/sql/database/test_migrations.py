"""The tables that migrations make are those that the code expects."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.schema import Base
from adapters.sql.migrations import upgrade
from domain.account import HeldAddon
from domain.license import Sku
from tests.adapters.sql.purse import balances, imported
from tests.adapters.sql.shop import Shop, an_order
from tests.adapters.sql.town import ADMIN, OWNER, Town


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


async def test_pools_and_addons_that_were_lists_become_rows(town: Town) -> None:
    """ASG-4: one each, for who has a base license, out of a pool that has enough."""
    await imported(town)
    async with town.engine.begin() as connection:
        await connection.run_sync(_before_add_ons_were_rows)
        for statement in (
            'UPDATE accounts SET pools = \'[{"sku": "large-meeting", "capacity": 500,'
            ' "bought": 3}, {"sku": "large-meeting", "capacity": 1000, "bought": 0}]\''
            " WHERE id = 'acme'",
            # Olga has a base license, Adam has none.
            'UPDATE memberships SET addons = \'[{"sku": "large-meeting", "capacity": 500},'
            ' {"sku": "large-meeting", "capacity": 1000}]\' WHERE account_id = \'acme\'',
            "UPDATE memberships SET addons = '[{\"capacity\": 500}]', leaving = 'unlink',"
            " until = '2026-01-01 00:00:00' WHERE account_id = 'paid'",
            f"INSERT INTO meetings (host, id, position, topic, starts_at) VALUES ('{OWNER}', 'm',"
            " 0, 'All hands', '2026-04-01 09:00:00')",
        ):
            # A text with colons would be taken for one with parameters.
            await connection.exec_driver_sql(statement)
    await upgrade(town.engine)
    acme = await town.account("acme")
    assert [(pool.capacity, pool.bought) for pool in acme.pools] == [(500, 3), (1000, 1)]
    assert {user.email: user.addons for user in acme.users} == {
        OWNER: (HeldAddon(capacity=1000),),
        ADMIN: (),
    }
    assert [meeting.capacity for meeting in acme.users[0].meetings] == [1000]
    async with town.engine.begin() as connection:
        left = await connection.execute(text("SELECT sum(addon_left) FROM memberships"))
        assert left.scalar_one() == 500
    assert (await town.store.audit()).violations == ()


async def test_what_no_order_has_bought_was_named_by_a_file(town: Town) -> None:
    """So that the same file again, after the upgrade, takes nothing away."""
    shop = Shop(town)
    await shop.open(licenses=6)
    await shop.bought()
    await shop.bought(an_order(sku=Sku.WORKPLACE, capacity=None, quantity=3))
    await shop.placed(an_order(sku=Sku.WORKPLACE, capacity=None, quantity=9))
    async with town.engine.begin() as connection:
        await connection.run_sync(_before_pools_were_named)
    await upgrade(town.engine)
    async with town.engine.begin() as connection:
        named = await connection.execute(
            text(
                "SELECT capacity, bought, bought_named FROM license_pools"
                " WHERE account_id = 'firm' ORDER BY capacity"
            )
        )
        assert [tuple(row) for row in named] == [(0, 9, 6), (500, 2, 0)]


def _before_batches(connection: Connection) -> None:
    for table in ("bulk_rows", "bulk_batches"):
        connection.execute(text(f"DROP TABLE {table}"))


def _before_pools_were_named(connection: Connection) -> None:
    for table, column in (
        ("assignments", "held_before"),
        ("orders", "reported_at"),
        ("license_pools", "bought_named"),
    ):
        connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
    connection.execute(text("UPDATE alembic_version SET version_num = '0009'"))


def _before_reminders(connection: Connection) -> None:
    _before_pools_were_named(connection)
    _before_batches(connection)
    connection.execute(text("DROP TABLE reminder_runs"))
    connection.execute(text("DROP INDEX invitations_by_reminder_run"))
    connection.execute(text("ALTER TABLE invitations DROP COLUMN reminded_by"))


def _before_add_ons_were_rows(connection: Connection) -> None:
    _before_reminders(connection)
    licenses = ("order_invoices", "orders", "assignments", "assignment_requests", "held_licenses")
    for table in licenses:
        connection.execute(text(f"DROP TABLE {table}"))
    for table, column in (
        ("announcements", "signal"),
        ("memberships", "licensed_at"),
        ("memberships", "addon_left"),
    ):
        connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
    for table, column in (("accounts", "pools"), ("memberships", "addons")):
        connection.execute(
            text(f"ALTER TABLE {table} ADD COLUMN {column} JSON NOT NULL DEFAULT '[]'")
        )
    connection.execute(text("DELETE FROM license_pools WHERE sku <> 'workplace'"))
    connection.execute(text("UPDATE alembic_version SET version_num = '0005'"))


def _back_to_the_foundation(connection: Connection) -> None:
    _before_add_ons_were_rows(connection)
    if connection.dialect.name == "postgresql":
        connection.execute(text("DROP FUNCTION refuse_to_change_the_ledger CASCADE"))
    made_since = (
        "moved_items",
        "announcements",
        "provider_charges",
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
    connection.execute(text("ALTER TABLE invitations DROP COLUMN ordered"))
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
