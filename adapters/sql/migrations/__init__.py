"""Schema migrations, run by Alembic."""

from dataclasses import replace
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.engine import MIGRATING
from adapters.sql.database.transaction import set_limits
from domain.error import ErrorCode, Refused


async def upgrade(engine: AsyncEngine) -> None:
    """Upgrade the database to the newest revision; may be repeated, also concurrently.

    Raises `Refused(conflict)` for a database that this version cannot upgrade.
    """
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Another process may be migrating: this is no wait for a table.
        connection.execute(set_limits(replace(MIGRATING, lock=MIGRATING.statement)))
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext("upgrade"))))
        connection.execute(set_limits(MIGRATING))
    try:
        command.upgrade(alembic_config(connection), "head")
    except CommandError as error:
        raise Refused(
            ErrorCode.CONFLICT,
            "Another version of Seatflow has set up this database, and this version cannot "
            f"upgrade it ({error}). Set up a new database, and import the accounts that the other "
            "version exports.",
        ) from error


def alembic_config(connection: Connection | None = None) -> Config:
    """Return the configuration of Alembic: its revisions, and the connection they run on."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    return config
