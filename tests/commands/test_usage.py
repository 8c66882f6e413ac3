"""The statuses, errors and help texts of all commands."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

import starter
from tests.commands.conftest import Run, environment

BAD_USAGE = [
    [],
    ["fly"],
    ["--fast"],
    ["show", "acme"],
    ["show", "acme", "jane@example.com", "--fast"],
    ["invite", "acme", "--by", "owner@acme.example"],
    ["invite", "acme", "jane@example.com"],
    ["invite", "acme", "jane@example.com", "--by", "owner@acme.example", "--license", "gold"],
    ["invite", "acme", "jane@example.com", "--by", "owner@acme.example", "--locale", "?"],
    ["invite-members", "acme", "jane@example.com", "--by", "owner@acme.example", "--locale", "?"],
    ["invite-members", "acme", "jane@example.com", "--by", "o@acme.example", "--license", "?"],
    ["accounts", "--limit", "0"],
    ["users", "acme", "--limit", "1001"],
    ["list", "acme", "--state", "asleep"],
    ["list", "acme", "--stale-days", "-1"],
    ["accept"],
    ["accept", "acme"],
    ["accept", "acme", "jane@example.com", "--link", "http://localhost/i/x"],
    ["accept", "acme", "jane@example.com", "--as", "jane@example.com"],
    ["accept", "acme", "jane@example.com", "--refund", "--transfer"],
    ["quote"],
    ["quote", "paula", "--unit", "week"],
    ["quote", "paula", "--change-day", "lost"],
    ["quote", "paula", "--at", "soon"],
    ["quote", "paula", "--at", ""],
    ["quote", "paula", "--at", "2026-04-21"],
    ["quote", "paula", "--at", "2026-04-21T10:00:00"],
    ["quote", "paula", "--at", "2026-02-30T10:00:00Z"],
    ["quote", "paula", "--at", "0001-01-01T00:00:00+14:00"],
    ["quote", "paula", "--at", "9999-12-31T23:59:59Z"],
    ["refund", "show"],
    ["refund", "list", "--state", "lost"],
    ["refund", "convert", "rf-1"],
    ["refund", "close", "rf-1"],
    ["refund", "close", "rf-1", "--reason", " "],
    ["credit", "apply"],
    ["buy", "acme"],
    ["buy", "acme", "phone", "--quantity", "1", "--cycle", "monthly", "--by", "a@acme.example"],
    ["buy", "acme", "workplace", "--quantity", "1", "--cycle", "monthly"],
    ["order", "change", "or-1"],
    ["remove-user", "acme"],
    ["remove-user", "acme", "jane@example.com", "--unlink", "--delete"],
    ["remove-room", "acme"],
    ["pay-invoice", "acme"],
    ["reactivate"],
    ["cancel-plan"],
    ["reminders"],
    ["reminders", "install", "--every", "daily"],
    ["reminders", "install", "--every", "0d"],
    ["reminders", "install", "--every", "-1d"],
    ["reminders", "install", "--every", "366d"],
    ["reminders", "install", "--every", "999999w"],
    ["mail", "show", "first"],
    ["domain", "add", "acme"],
    ["domain", "verify", "acme"],
    ["domain", "list"],
    ["show", "acme", "\udcff"],
]


@pytest.mark.parametrize("arguments", BAD_USAGE, ids=" ".join)
def test_bad_usage_is_one_json_error_and_status_2(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """With `--json`, stdout stays empty and stderr has only the error."""
    assert starter.run(["--json", *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith('{"error": {"code": "invalid_input", "message": ')
    assert err.count("\n") == 1


def test_bad_usage_is_one_line_for_a_person(run: Run) -> None:
    """Without `--json`, the line names the mistake and the help."""
    ran = run("show", "acme")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == "invalid_input: Missing argument 'EMAIL'. See `seatflow --help`.\n"


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    """Yield the end for writing of a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("arguments", [["--json", "export"], ["export"]], ids=" ".join)
def test_a_closed_pipe_is_no_failure(
    arguments: list[str], closed_pipe: int, tmp_path: Path, command_line: list[str]
) -> None:
    """`seatflow export | head` ends with status 0 and without a traceback."""
    ended = subprocess.run(
        [*command_line, *arguments],
        stdout=closed_pipe,
        stderr=subprocess.PIPE,
        env=environment(tmp_path),
        cwd=tmp_path,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("arguments", [["--json", "fly"], ["fly"]], ids=" ".join)
def test_the_status_is_the_same_when_stderr_is_closed(
    arguments: list[str], closed_pipe: int, tmp_path: Path, command_line: list[str]
) -> None:
    """Scripts read the exit status, even where no error can be written."""
    ended = subprocess.run(
        [*command_line, *arguments],
        stdout=closed_pipe,
        stderr=closed_pipe,
        env=environment(tmp_path),
        cwd=tmp_path,
        check=False,
    )
    assert ended.returncode == 2


def test_every_command_shows_an_example() -> None:
    """`--help` of each command ends with an example of that command."""

    def require_examples(command: object, name: str) -> None:
        for member, subcommand in getattr(command, "commands", {}).items():
            require_examples(subcommand, f"{name} {member}")
        if not hasattr(command, "commands"):
            epilog = getattr(command, "epilog", None) or ""
            assert f"{name}" in epilog.replace(" --json", ""), name

    require_examples(get_command(starter.app), "seatflow")


def test_help_and_diagrams_take_less_than_two_seconds(run_cold: Run) -> None:
    """The time is measured in processor time."""
    for arguments in (["--help"], ["diagram"]):
        started_at = processor_seconds()
        assert run_cold(*arguments).status == 0
        assert processor_seconds() - started_at < 2


def processor_seconds() -> float:
    """Return the processor seconds of all commands so far."""
    children = os.times()
    return children.children_user + children.children_system


def test_a_bad_setting_is_named(run: Run) -> None:
    """Settings: a bad value is bad input that names its variable (status 2)."""
    ran = run("--json", "export", SEATFLOW_WAIT_SECONDS="soon")
    assert ran.status == 2
    assert str(ran.error["message"]).startswith("SEATFLOW_WAIT_SECONDS: ")


def test_a_database_that_was_never_set_up_is_an_error_with_the_remedy(run: Run) -> None:
    """`setup` is named, and the status is 3."""
    ran = run("--json", "export")
    assert (ran.status, ran.out) == (3, "")
    assert ran.error["code"] == "backend_unavailable"
    assert "seatflow setup" in str(ran.error["message"])


def test_an_unreachable_database_is_reported_within_ten_seconds(run: Run) -> None:
    """The status is 3, and the password of the URL is not printed."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+asyncpg://u:hushhush@127.0.0.1:{silent.getsockname()[1]}/x"
        started_at = time.monotonic()
        ran = run("--json", "export", SEATFLOW_DATABASE_URL=url)
    assert time.monotonic() - started_at < 10
    assert (ran.status, ran.error["code"]) == (3, "backend_unavailable")
    assert "hushhush" not in ran.err


@pytest.mark.usefixtures("database")
def test_a_silent_temporal_is_reported_within_ten_seconds(run: Run) -> None:
    """The status is 3, and the error names the address."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        started_at = time.monotonic()
        ran = run("--json", "setup", TEMPORAL_ADDRESS=address)
    assert time.monotonic() - started_at < 10
    assert (ran.status, ran.out) == (3, "")
    assert ran.error["code"] == "backend_unavailable"
    assert address in str(ran.error["message"])


@pytest.mark.usefixtures("database")
def test_another_id_key_is_refused(run: Run) -> None:
    """SEATFLOW_ID_KEY: the database keeps its fingerprint (status 2)."""
    ran = run("--json", "list", "acme", SEATFLOW_SECRET_KEY="another key that is long enough too")
    assert (ran.status, ran.error["code"]) == (2, "invalid_input")


@pytest.mark.usefixtures("database")
def test_the_id_key_is_printed_so_that_the_secret_key_can_be_removed(run_in_process: Run) -> None:
    """SEATFLOW_ID_KEY: `keys show-id-key` prints the derived one as `hex:…`."""
    shown = run_in_process("--json", "keys", "show-id-key").at("id_key")
    assert str(shown).startswith("hex:")
    assert run_in_process("keys", "show-id-key").out == f"{shown}\n"
    new = {"SEATFLOW_SECRET_KEY": "another key that is long enough too"}
    for command in (("keys", "show-id-key"), ("list", "acme")):
        refused = run_in_process("--json", *command, **new)
        assert (refused.status, refused.error["code"]) == (2, "invalid_input")
    new["SEATFLOW_ID_KEY"] = str(shown)
    assert run_in_process("--json", "keys", "show-id-key", **new).at("id_key") == shown
    assert run_in_process("--json", "list", "acme", **new).error["code"] == "not_found"


def test_the_id_key_is_printed_before_the_database_is_set_up(run_in_process: Run) -> None:
    """SEATFLOW_ID_KEY: `keys show-id-key` needs the settings alone."""
    assert str(run_in_process("--json", "keys", "show-id-key").at("id_key")).startswith("hex:")


def test_a_short_secret_key_is_refused(run_in_process: Run) -> None:
    """SEATFLOW_SECRET_KEY: at least 32 characters."""
    ran = run_in_process("--json", "list", "acme", SEATFLOW_SECRET_KEY=31 * "x")
    assert (ran.status, ran.error["code"]) == (2, "invalid_input")
    assert "write at least 32" in str(ran.error["message"])


def test_a_misspelt_setting_is_refused(run_in_process: Run) -> None:
    """An unknown `SEATFLOW_…` name is an error (status 2)."""
    ran = run_in_process("--json", "list", "acme", SEATFLOW_POLICY__INVITATION_TTL_DAY="3")
    assert (ran.status, ran.error["code"]) == (2, "invalid_input")
    assert "SEATFLOW_POLICY__INVITATION_TTL_DAYS?" in str(ran.error["message"])
