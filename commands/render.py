"""The rendering of facts, tables, states, times and amounts."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from enum import StrEnum

from rich.table import Table
from rich.text import Text

from domain.journal import JournalEntry
from domain.money import Money
from domain.text import one_line

_COLOURS = {
    "green": {
        "accepted",
        "completed",
        "settled",
        "succeeded",
        "moved",
        "active",
        "paid",
        "assigned",
        "verified",
    },
    "yellow": {"blocked", "overdue", "converted", "review", "waiting"},
    "red": {
        "declined",
        "revoked",
        "expired",
        "undeliverable",
        "superseded",
        "failed",
        "canceled",
        "cancelled",
        "closed",
        "ended",
        "payment_failed",
        "refused",
    },
}


def facts(title: str, *named: tuple[str, str | Text | None]) -> Text:
    """Render a line per fact, unwrapped so that a link can be copied; omit empty facts."""
    lines = Text(no_wrap=True, overflow="ignore")
    lines.append(one_line(title), style="bold")
    for name, fact in named:
        if fact:
            lines.append(f"\n  {name:15} ", style="dim")
            lines.append(one_line(fact) if isinstance(fact, str) else fact)
    return lines


def table(*columns: str) -> Table:
    """Return a table without borders that folds long cells."""
    empty = Table(box=None, header_style="dim", pad_edge=False)
    for column in columns:
        empty.add_column(column, overflow="fold")
    return empty


def journal(entries: Iterable[JournalEntry]) -> Table:
    """Render every transition of a lifecycle."""
    filled = table("at", "event", "state", "by", "note")
    for entry in entries:
        filled.add_row(
            time(entry.at),
            entry.event,
            state(entry.to_state),
            text(entry.by),
            text(entry.note or ""),
        )
    return filled


def state(name: StrEnum | str) -> Text:
    """Render a state in its colour."""
    return Text(
        name, style=next((colour for colour, names in _COLOURS.items() if name in names), "cyan")
    )


def text(typed: str) -> Text:
    """Render text from users without markup and control characters (TXT-3)."""
    return Text(one_line(typed))


def time(at: datetime | None) -> str:
    """Format a time to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at else ""


def money(amount: Money) -> str:
    """Format an exact amount with its currency."""
    return f"{amount.amount:f} {amount.currency}"


def between(days: tuple[date, date] | None) -> str:
    """Format a range of days."""
    return f"{days[0]} and {days[1]}" if days else ""
