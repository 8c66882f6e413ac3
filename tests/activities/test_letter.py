"""Tests of the delays between attempts to send a letter."""

from datetime import timedelta

import pytest

from activities.letter import retry_delay


@pytest.mark.parametrize(
    ("attempt", "waited", "delay"),
    [
        (1, 0, 2),
        (2, 2, 4),
        (3, 6, 8),
        (4, 14, 16),
        (5, 30, 30),
        (20, 480, 30),
        (25, 599, 30),
        (26, 660, 60),
        (27, 900, 300),
        (40, 7200, 900),
        (400, 90_000, 900),
    ],
)
def test_retry_delays_grow(attempt: int, waited: int, delay: int) -> None:
    """INV-4: 2, 4, 8 s, at most 30 s for ten minutes, at most 15 minutes afterwards."""
    assert retry_delay(attempt, timedelta(seconds=waited)) == timedelta(seconds=delay)
