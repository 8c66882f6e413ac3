"""The statuses, errors and help texts of all commands."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer import Typer
from typer.main import get_command

import starter
from commands.whole_number import whole_number
from domain.error import ErrorCode
from tests.commands.conftest import Run, environment

INVITE = ["invite", "acme", "jane@example.com", "--by", "owner@acme.example"]
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
    ["mail", "show", "01"],
    ["outbox", "retry", "1_0"],
    ["reconcile", "--settled", "+1"],
    ["list", "acme", "--stale-days", "07"],
    ["list", "acme", "--stale-days", " 7"],
    ["portal", "--port", "8_080"],
    ["portal", "--port", "65536"],
    [*INVITE, "--heads-up-days", "1_0"],
    [*INVITE, "--heads-up-days", "\uff11\uff10"],
    [*INVITE, "--heads-up-days", "+1"],
    [*INVITE, "--heads-up-days", "1.0"],
    [*INVITE, "--heads-up-days", "366"],
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


@pytest.mark.parametrize("number", ["0500", "+500", "5_00", " 500", "500 ", "\uff15\uff10\uff10"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["buy", "acme", "webinar", "--quantity", "1", "--cycle", "monthly"], "invalid_capacity"),
        (["assign", "acme", "webinar", "ann@acme.example"], "invalid_capacity"),
        (["buy", "acme", "workplace", "--cycle", "monthly"], "invalid_quantity"),
        (["order", "change", "or-1"], "invalid_quantity"),
    ],
)
def test_a_number_is_written_in_ascii_digits(
    number: str, arguments: list[str], code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """ADD-1: without underscores, signs, leading zeros, blanks or digits of other scripts."""
    option = "--capacity" if code == "invalid_capacity" else "--quantity"
    by = [] if arguments[0] == "order" else ["--by", "owner@acme.example"]
    assert starter.run(["--json", *arguments, option, number, *by]) == 1
    assert f'"code": "{code}"' in capfd.readouterr().err


def commands_of(typer_app: Typer) -> Iterator[Callable[..., object]]:
    """Yield the functions of all commands."""
    yield from (each.callback for each in typer_app.registered_commands if each.callback)
    for group in typer_app.registered_groups:
        if group.typer_instance:
            yield from commands_of(group.typer_instance)


def test_every_whole_number_has_the_strict_parser() -> None:
    """Options: the default parser accepts underscores, signs and digits of other scripts."""
    numbers = 0
    for command in commands_of(starter.app):
        names = vars(sys.modules[command.__module__])
        for name, hint in get_type_hints(command, names, include_extras=True).items():
            kind, *options = get_args(hint) if get_origin(hint) is Annotated else (hint,)
            if name != "return" and kind in {int, int | None}:
                numbers += 1
                assert options[0].parser.__module__ == whole_number.__module__, name
    assert numbers


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=str,
)
def test_every_locale_can_show_help_and_errors(variables: dict[str, str], run_cold: Run) -> None:
    """A character that the encoding lacks is written as an escape (status 0, not 3)."""
    ran = run_cold("invite", "--help", **variables)
    assert (ran.status, ran.err) == (0, "")
    assert "--heads-up-days" in ran.out
    ran = run_cold("--json", "import", "Ö.json", **variables)
    assert (ran.status, ran.error["mistakes"]) == (
        2,
        [{"path": "Ö.json", "reason": "No such file or directory"}],
    )


SUBCOMMANDS = {
    name: command
    for name, command in getattr(get_command(starter.app), "commands", {}).items()
    # These start servers, or draw.
    if name not in {"up", "demo", "portal", "diagram"}
}
WORDS = st.sampled_from(
    [
        *("acme", "ACME", "jane@example.com", "a@127.0.0.1", "strauß@example.com", "webinar"),
        *("", " ", "-", "--", "---", "--=", "-1", "0", "1_0", "10**9", "true", "../x", "/dev/null"),
        *("\x1b[2J", "\u202e", "\udcff", "a\nb", "[red]", "x" * 5000, "NaN", "\uff11", "%s"),
    ]
) | st.text(st.characters(exclude_characters="\0"), max_size=12)


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Draw a command with some of its options, in any order, with any values."""
    name = draw(st.sampled_from(sorted(SUBCOMMANDS)))
    command, words = SUBCOMMANDS[name], [name]
    if nested := getattr(command, "commands", None):
        words.append(draw(st.sampled_from(sorted(nested))))
        command = nested[words[-1]]
    options = [option for each in command.params for option in each.opts if option[0] == "-"]
    given_words = draw(st.lists(st.sampled_from([*options, "--help"]) | WORDS, max_size=8))
    return [*words, *(word for word in given_words if word not in {"-h", "--help"})]


@given(arguments=command_lines())
@settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_command_line_ends_with_a_result_or_one_error(
    arguments: list[str], capfd: pytest.CaptureFixture[str], nothing_set_up: Path
) -> None:
    """With `--json`: a status from 0 to 3, never a defect, and one document on one stream."""
    status = starter.run(["--json", *arguments])
    out, err = capfd.readouterr()
    assert 0 <= status <= 3
    if status:
        assert err.count("\n") == 1
        assert json.loads(err)["error"]["code"] in list(ErrorCode)
        assert "Seatflow failed" not in err
        assert out == ""
    else:
        json.loads(out)


@pytest.fixture
def nothing_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run commands in a folder without a database, with closed stdin."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", None)
    return tmp_path


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
