"""Text from people and other systems on a terminal (TXT-3)."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.table import Table

import starter
from commands.output import CommandOutput
from domain.audit import AuditReport, Violation
from domain.error import ErrorCode, Refused, Unavailable
from domain.text import printable
from tests.commands.conftest import stub_answer

CODES = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\x08\u202eevil"


def assert_harmless(shown: str) -> None:
    """Raise AssertionError when a terminal would be controlled."""
    assert printable(shown) == shown


@given(text=st.text())
@example(text=CODES)
@example(text="[red]Ann[/red] [link=https://evil.example]x[/link] :bomb: [/]")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_controls_the_terminal(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """TXT-3: cells, lines and errors are harmless, and markup is text."""
    table = Table("name", box=None, pad_edge=False)
    table.add_row(text)
    output = CommandOutput(json=False)
    output.print({}, lambda: table)
    output.print({}, lambda: text)
    output.print_error(
        Refused(ErrorCode.INVALID_INPUT, text, mistakes=[{"path": text, "reason": text}])
    )
    output.print_error(Unavailable(text))
    shown = capsys.readouterr()
    assert_harmless(shown.out)
    assert_harmless(shown.err)
    if text.isascii() and text.isprintable() and len(text) < 100:
        assert text.split() == shown.out.split()[1 : 1 + len(text.split())]


def test_the_subjects_of_an_audit_are_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUD, TXT-3: a subject is an id or a name from an imported file."""
    violation = Violation(rule="AUD", subject=f"[b]{CODES}[/b]", message=CODES)
    stub_answer(monkeypatch, "account", AuditReport(checked={}, violations=(violation,)))
    assert starter.run(["audit"]) == 1
    shown = capsys.readouterr()
    assert_harmless(shown.out)
    # A narrow terminal wraps the rest.
    assert "[b]" in shown.out


def test_a_traceback_is_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TXT-3: the message of a defect may quote a text from outside."""

    def fail(*_: object) -> None:
        raise RuntimeError(CODES)

    monkeypatch.setattr("commands.account.with_clients", fail)
    assert starter.run(["audit"]) == 3
    shown = capsys.readouterr()
    assert "Traceback" in shown.err
    assert_harmless(shown.err)
