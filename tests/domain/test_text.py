"""The normalization of typed text to one line."""

import unicodedata

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
    "marks", ["\u0301\u0323" * 200_000, "\u0301" * 200_000 + "\u0323" * 200_000]
)
def test_many_marks_on_a_letter_are_read_in_linear_time(marks: str) -> None:
    """TXT-3: sorting them would take an hour; a second time changes nothing."""
    written = one_line(f"A{marks}B")
    assert one_line(written) == written
    assert 399_000 < len(written.replace("\u034f", "")) <= 400_002


def test_the_marks_of_languages_are_composed() -> None:
    """TXT-3: thirty of them are sorted as one run."""
    marks = "\u0301\u0323" * 15
    assert one_line(f"a{marks}") == unicodedata.normalize("NFC", f"a{marks}")
    assert "\u034f" not in one_line("Nguye\u0302\u0303n " * 100)


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
