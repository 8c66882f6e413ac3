"""The normalization of typed text to one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from adapters.letter.language import CATALOGS as letter_catalogs
from domain.text import LANGUAGES, code_span, one_line, printable, unknown_locale
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


@given(st.text() | st.text("`[]()!<>*_~:/.@ \n\\ah"))
def test_a_code_span_is_read_as_the_text_itself(text: str) -> None:
    """TXT-3: no link, image or HTML is recognized in it, whatever the text contains."""
    read = MarkdownIt().parseInline(f"- {code_span(text)} by")[0].children or []
    inside = [token for token in read if token.type != "text"]
    assert [(token.type, token.content) for token in inside] == (
        [("code_inline", one_line(text))] if one_line(text) else []
    )


@given(st.text())
def test_printable_text_controls_no_terminal(text: str) -> None:
    """TXT-3: lines stay, and every other control character becomes a space."""
    shown = printable(text)
    assert len(shown) == len(text)
    assert all(character == "\n" or ord(character) not in CONTROLS for character in shown)
    assert shown.count("\n") == text.count("\n")


CONTROLS = {*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F)}
