"""The normalization of typed text to one line."""

import pytest

from adapters.letter.language import CATALOGS as letter_catalogs
from domain.text import LANGUAGES, one_line, unknown_locale
from portal.language import CATALOGS as page_catalogs


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


@pytest.mark.parametrize(
    ("locale", "known"),
    [("de", True), ("de-AT", True), ("SV_fi", True), ("xx", False), ("pt-BR", False), ("d", False)],
)
def test_a_locale_is_known_by_its_language(locale: str, known: bool) -> None:
    """TXT-1: the error names the languages."""
    reason = unknown_locale(locale)
    assert (reason is None) == known
    assert known or (reason and "en, de, fr, pl, nl or sv" in reason)


def test_letters_and_pages_are_written_in_every_language() -> None:
    """TXT-1."""
    for catalogs in (letter_catalogs, page_catalogs):
        assert {"en", *(each.name for each in catalogs.iterdir())} == {*LANGUAGES}
