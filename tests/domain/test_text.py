"""The normalization of typed text to one line."""

import pytest

from domain.text import one_line


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("A\r\nBcc: x@y.example", "A Bcc: x@y.example"),
        ("A\x00\x0b\x85\u2028B", "A B"),
        ("A \x00 B", "A B"),
        ("A\x00  \x01B", "A B"),
        ("  A  B\u2003C\n", "A  B\u2003C"),
        ("Jo\u0308rg", "Jörg"),
    ],
)
def test_control_characters_become_one_space(typed: str, written: str) -> None:
    """TXT-3: other blanks stay unchanged."""
    assert one_line(typed) == written


def test_a_long_gap_is_read_in_linear_time() -> None:
    """TXT-3: the time must not grow with the square of the length."""
    gap = " " * 1_000_000
    assert one_line(f"A{gap}B\n") == f"A{gap}B"
