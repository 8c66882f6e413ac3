"""Durations in the notation of the command line."""

from datetime import timedelta

import pytest

from domain.error import ErrorCode, Refused
from domain.period import format_duration, parse_duration


@pytest.mark.parametrize(
    ("written", "span", "shown"),
    [
        ("1d", timedelta(days=1), "1d"),
        ("12h", timedelta(hours=12), "12h"),
        ("24h", timedelta(days=1), "1d"),
        ("90m", timedelta(minutes=90), "90m"),
        ("30s", timedelta(seconds=30), "30s"),
        ("2w", timedelta(days=14), "14d"),
    ],
)
def test_a_duration_is_parsed_and_formatted(written: str, span: timedelta, shown: str) -> None:
    """REM-1: the interval of the reminder schedule."""
    assert (parse_duration(written), format_duration(span)) == (span, shown)


@pytest.mark.parametrize("written", ["", "d", "0d", "-1d", "1.5h", "1 d", "1y", "1234567d", "1d2h"])
def test_an_invalid_duration_is_refused(written: str) -> None:
    """REM-1: the error code is `invalid_input`."""
    with pytest.raises(Refused) as refused:
        parse_duration(written)
    assert refused.value.code is ErrorCode.INVALID_INPUT
