"""The commands for sessions."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from runtime.settings import Settings
from runtime.store import open_store
from tests.commands.conftest import Run

ADA = "ada@example.com"


async def _sign_in(database: Settings) -> None:
    async with open_store(database) as store:
        for number in (1, 2):
            await store.sessions.open(f"session-{number}", ADA, datetime.now(UTC))
        await store.sessions.open("other", "bob@example.com", datetime.now(UTC))


def test_all_sessions_of_a_person_are_listed_and_revoked(
    database: Settings, run_in_process: Run
) -> None:
    """Those of others stay open."""
    asyncio.run(_sign_in(database))
    assert _ids(run_in_process, ADA.upper()) == {"session-1", "session-2"}
    assert "last use" in run_in_process("session", "list", ADA).out
    assert run_in_process("--json", "session", "revoke", ADA).document == {"revoked": 2}
    assert run_in_process("--json", "session", "revoke", ADA).document == {"revoked": 0}
    assert "No session is open." in run_in_process("session", "list", ADA).out
    assert _ids(run_in_process, "bob@example.com") == {"other"}


def _ids(run_in_process: Run, email: str) -> set[str]:
    document: Any = run_in_process("--json", "session", "list", email).document
    return {each["id"] for each in document["sessions"]}
