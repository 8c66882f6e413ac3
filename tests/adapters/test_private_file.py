"""Files and folders that only their owner can read."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.private_file import make_folder_private, make_private_file, make_private_folder
from adapters.sql.database.engine import create_engine
from devstack.mailbox import MAILDIR, MailSink
from devstack.state_folder import locked, record_server


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes(folder: Path) -> dict[str, int]:
    """Return the mode of everything in the folder by its path there."""
    return {str(path.relative_to(folder)): mode(path) for path in folder.rglob("*")}


@pytest.fixture(params=[0o000, 0o277], ids=["a permissive umask", "a strict umask"], autouse=True)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_missing_parents_are_private_and_others_stay_as_they_are(tmp_path: Path) -> None:
    """The umask decides nothing."""
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path / "a" / "b")
    make_private_file(tmp_path / "a" / "file")
    make_private_file(tmp_path / "a" / "file")
    assert modes(tmp_path) == {"a": 0o700, "a/b": 0o700, "a/file": 0o600}
    assert mode(tmp_path) == 0o755


@pytest.mark.parametrize(("before", "after"), [(0o755, 0o700), (0o1777, 0o1777)])
def test_a_folder_becomes_private_unless_it_is_shared(
    tmp_path: Path, before: int, after: int
) -> None:
    """An older folder is closed to others; /tmp is not."""
    tmp_path.chmod(before)
    make_folder_private(tmp_path)
    assert mode(tmp_path) == after


async def test_every_part_of_the_state_is_private_whichever_is_created_first(
    tmp_path: Path,
) -> None:
    """`.seatflow/`: the database, the mailbox and the files of the stack, each alone."""
    engine = create_engine(f"sqlite+aiosqlite:///{tmp_path}/database/seatflow.db")
    async with engine.connect():
        assert modes(tmp_path / "database") == dict.fromkeys(("seatflow.db",), 0o600)
    await engine.dispose()
    sink = MailSink(tmp_path / "mail")
    sink._store(b"Subject: hello\n\nhello\n")
    letters = modes(tmp_path / "mail")
    assert {letters.pop(part) for part in MAILDIR} == {0o700}
    assert list(letters.values()) == [0o600]
    with locked(tmp_path, "here"):
        record_server(tmp_path, 1)
        stack = modes(tmp_path)
        assert {stack[name] for name in ("database", "mail")} == {0o700}
        assert {stack[name] for name in ("stack.lock", "temporal.pid")} == {0o600}
