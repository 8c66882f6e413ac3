"""The invitation of a file of people (REM-3)."""

import asyncio
import csv
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

import starter
from commands.batch import RESULT_COLUMNS, write_results
from commands.output import CommandOutput
from domain.invitation import InviteResult
from domain.text import one_line
from tests.commands.conftest import Ran, Run
from tests.world import ADMIN, JANE, MEMBER, World

HEADER = "email;license;locale;name\n"
GOOD = f'\ufeff{HEADER}ada@example.com;;de;"Ada\nLovelace"\n{JANE};;;\n ADA@example.com ;;;\n'
BAD = f"{GOOD}nobody;;;\nbob@example.com;gold;;\n;;?;\n"


def written(folder: Path, text: str) -> str:
    """Write the file; return its path."""
    file = folder / "people.csv"
    file.write_text(text, encoding="utf-8")
    return str(file)


def mistakes(ran: Ran) -> list[tuple[JsonValue, JsonValue]]:
    assert (ran.status, ran.out, ran.error["code"]) == (2, "", "invalid_input")
    listed = ran.error["mistakes"]
    assert isinstance(listed, list)
    return [(each["row"], each["column"]) for each in listed if isinstance(each, dict)]


def settings_of(world: World) -> dict[str, str]:
    return {
        "TEMPORAL_ADDRESS": world.temporal.client.service_client.config.target_host,
        "SEATFLOW_DATABASE_URL": world.settings.database_url.get_secret_value(),
        "SEATFLOW_TASK_QUEUE": world.settings.task_queue,
    }


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (BAD, [(5, "email"), (6, "license"), (7, "email"), (7, "locale")]),
        ("name\nAda\n", [(1, "email")]),
        ("email,role\nada@example.com,boss\n", [(1, "role")]),
        ("", [(1, None)]),
    ],
)
def test_every_mistake_of_a_file_of_people_is_named_without_a_backend(
    run: Run, tmp_path: Path, text: str, places: list[tuple[int, str | None]]
) -> None:
    """REM-3: the file is checked before the store and the server are opened."""
    invite = ("--json", "invite", "acme", "--file", written(tmp_path, text), "--by", ADMIN)
    assert mistakes(run(*invite)) == places


def test_rows_cannot_be_skipped_when_the_columns_are_wrong(run: Run, tmp_path: Path) -> None:
    """REM-3: `--skip-bad-rows` skips rows, never a wrong header."""
    file = written(tmp_path, "mail\nada@example.com\n")
    ran = run("--json", "invite", "acme", "--file", file, "--by", ADMIN, "--skip-bad-rows")
    assert mistakes(ran) == [(1, "email"), (1, "mail")]


def test_mistakes_are_lines_for_a_person(run: Run, tmp_path: Path) -> None:
    """REM-3: the line of a mistake names row, column and the allowed values."""
    ran = run("invite", "acme", "--file", written(tmp_path, BAD), "--by", ADMIN)
    assert (ran.status, ran.out) == (2, "")
    assert "\n  row 6, license: unknown license gold; use basic or licensed\n" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--file", "nowhere.csv"],
        ["ada@example.com", "--skip-bad-rows"],
        ["ada@example.com", "--batch", "one"],
        ["ada@example.com", "--results", "results.csv"],
        ["--file", "-", "--batch", "Ada's"],
        ["--file", "-", "--results", "nowhere/results.csv"],
    ],
    ids=" ".join,
)
def test_options_that_exclude_each_other_are_bad_usage(run: Run, arguments: list[str]) -> None:
    """REM-3: the options of a batch need `--file`, and their values are checked (status 2)."""
    ran = run("--json", "invite", "acme", *arguments, "--by", ADMIN, stdin="email\na@b.example\n")
    assert (ran.status, ran.out, ran.error["code"]) == (2, "", "invalid_input")


async def test_a_file_and_addresses_are_one_request(
    world_without_worker: World, run: Run, tmp_path: Path
) -> None:
    """INV-2: each person once, in the order given; bad rows have their mistakes."""
    world, results = world_without_worker, tmp_path / "results.csv"
    async with world.working():
        ran = await asyncio.to_thread(
            run,
            *("--json", "invite", world.account, JANE, MEMBER, "--by", ADMIN),
            *("--file", written(tmp_path, BAD), "--skip-bad-rows"),
            *("--results", str(results), "--wait"),
            **settings_of(world),
        )
    assert ran.status == 0
    rows = ran.at("invitations")
    assert isinstance(rows, list)
    assert [
        (row["email"], row["result"], row["state"]) for row in rows if isinstance(row, dict)
    ] == [
        (JANE, "invited", "pending"),
        (MEMBER, "refused", None),
        ("ada@example.com", "invited", "pending"),
        ("nobody", "refused", None),
        ("bob@example.com", "refused", None),
        ("", "refused", None),
    ]
    assert ran.at("invitations", 4, "error", "message") == (
        "row 6, license: unknown license gold; use basic or licensed"
    )
    assert ran.at("repeated") == [{"row": 4, "email": "ada@example.com", "first_row": 2}]
    written_rows = list(csv.DictReader(results.read_text(encoding="utf-8-sig").splitlines()))
    assert [(row["email"], row["result"], row["code"]) for row in written_rows][:3] == [
        (JANE, "invited", ""),
        (MEMBER, "refused", "already_member"),
        ("ada@example.com", "invited", ""),
    ]
    ada = world.mails(to="ada@example.com", event="invitation")
    assert [mail.language for mail in ada] == ["de"]


TEXTS = st.text(st.characters(codec="utf-8")) | st.from_regex(
    "[ ]*[=+@\t\r-\uff1d\uff0b\uff0d\uff20].*"
)


@given(email=TEXTS, message=TEXTS)
def test_no_cell_of_the_results_is_a_formula(
    email: str, message: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """TXT-3: spreadsheets run `=cmd…`; cells of one line that begin so are quoted as text."""
    results = tmp_path_factory.getbasetemp() / "fuzzed.csv"
    refused: dict[str, JsonValue] = {"code": "invalid_email", "message": message}
    write_results(results, [InviteResult(email=email, result="refused", error=refused)])
    with results.open(encoding="utf-8-sig", newline="") as file:
        _, row = csv.reader(file)
    assert len(row) == len(RESULT_COLUMNS)
    assert not [cell for cell in row if re.match("[=+@\t\r\uff1d\uff0b\uff0d\uff20-]", cell)]
    assert [cell.removeprefix("'") for cell in (row[0], row[-1])] == [
        one_line(text).removeprefix("'") for text in (email, message)
    ]


def test_a_people_file_that_is_too_large_is_refused_with_the_limit(
    run: Run, tmp_path: Path
) -> None:
    """REM-3: the error names the largest size; no more is read."""
    ran = run("--json", "invite", "acme", "--by", ADMIN, "--file", "/dev/zero")
    assert (ran.status, ran.error["code"]) == (2, "invalid_input")
    assert "more than 16 MiB" in str(ran.error["mistakes"])


async def test_without_a_worker_the_error_names_the_batch_to_repeat(
    world_without_worker: World, run: Run, tmp_path: Path
) -> None:
    """REM-3: the outcome is unknown (status 3); repeating the command resumes the batch."""
    world = world_without_worker
    invite = ("--json", "invite", world.account, "--by", ADMIN, "--batch", world.account)
    file = ("--file", written(tmp_path, "email\nada@example.com\n"))
    settings = {**settings_of(world), "SEATFLOW_WAIT_SECONDS": "1"}
    ran = await asyncio.to_thread(run, *invite, *file, **settings)
    assert (ran.status, ran.out, ran.error["outcome"]) == (3, "", "unknown")
    assert world.account in str(ran.error["message"])
    async with world.working():
        ran = await asyncio.to_thread(run, *invite, *file, **settings_of(world))
    assert (ran.status, ran.at("batch")) == (0, world.account)
    assert ran.at("invitations", 0, "result") == "invited"


def test_progress_is_a_bar_on_a_terminal_and_silent_in_json(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """REM-3: the bar is on stderr."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with CommandOutput(json=False).counting("Inviting") as watch:
        watch(40, 100)
        watch(100, 100)
    assert "100/100" in capfd.readouterr().err
    with CommandOutput(json=True).counting("Inviting") as watch:
        watch(1, 2)
    assert capfd.readouterr() == ("", "")


def test_the_help_has_an_example_of_a_file(capfd: pytest.CaptureFixture[str]) -> None:
    """REM-3: `invite --help` shows the invitation of a file of people."""
    assert starter.run(["invite", "--help"]) == 0
    assert "people.csv" in capfd.readouterr().out
