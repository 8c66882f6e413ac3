"""Header fields of e-mails, read by three decoders (TXT-1, TXT-3)."""

import base64
import email
import quopri
import re
from email import policy
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.utils import getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mail_header import address_field, text_field
from domain.text import one_line

SCRIPTS = {
    "Latin": "AZaz\u00c0\u017f",
    "Greek": "\u0391\u03a9\u03b1\u03c9",
    "Cyrillic": "\u0410\u042f\u0430\u044f",
    "Hebrew": "\u05d0\u05ea",
    "Arabic": "\u0621\u064a",
    "Devanagari": "\u0904\u0939\u093e\u094d",
    "Thai": "\u0e01\u0e3a",
    "Kana": "\u3041\u3096\u30a1\u30fa",
    "Han": "\u4e00\u9fff",
    "Hangul": "\uac00\ud7a3",
    "Emoji": "\U0001f600\U0001f64f",
}
"""First and last character of ranges, in pairs."""

PUNCTUATION = " .,-–&'()\"\\<>@:;?=_!/+"
ENCODED_WORD = re.compile(r"=\?utf-8\?([qb])\?([!->@-~]+)\?=")

ALPHABETS = [
    st.characters(min_codepoint=ord(first), max_codepoint=ord(last))
    for ranges in SCRIPTS.values()
    for first, last in zip(ranges[::2], ranges[1::2], strict=True)
]
NAMES = st.one_of(
    *(
        st.text(st.one_of(letters, st.sampled_from(PUNCTUATION)), max_size=120)
        for letters in ALPHABETS
    ),
    st.text(st.sampled_from("aZ09" + PUNCTUATION), max_size=200),
    st.text(max_size=120),
).filter(lambda text: one_line(text) != "" and text.isprintable())

EXAMPLES = [
    "Acme",
    "Hausverwaltung Gesellschaft Österreich",
    "Ålesund Næringsforening – Møre",
    "Hausverwaltungs- und Immobilien AG Ö1",
    "Kancelaria Żółć i Wspólnicy Sp. z o.o.",
    "Zażółć gęślą jaźń " * 8,
    "株式会社日本イベント企画 東京本社",
    "مؤسسة الفعاليات الدولية للاجتماعات",
    "Müller, Söhne & Co. <x@y.example>; 日本",
    "=?utf-8?q?A=0D=0AB?=",
    "Two  spaces, and a 🎉 at the end 🎉",
    "A" * 200,
]
SENDERS = ["Förderverein für Veranstaltungen München", "ö" * 40, 'O\'Neil "Ed" \\ Co.', *EXAMPLES]


def strictly_read(field: str) -> str:
    """Return the text of a field; fail at a line that a strict server refuses."""
    name, _, first = field.partition(": ")
    first, *others = first.split("\r\n")
    lines = [first, *first_spaces_removed(others)]
    text, after_encoded_word = "", False
    for line, used in zip(lines, [len(name) + 2, *[1] * len(lines)], strict=False):
        assert line == line.strip() != "" and line.isascii() and line.isprintable()
        encoded = "=?utf-8?" in line
        assert used + len(line) <= (76 if encoded else 77) or " " not in line, line
        for word in line.split(" "):
            found = ENCODED_WORD.fullmatch(word)
            if found:
                assert len(word) <= 75, word
                text += " " if text and not after_encoded_word else ""
                text += encoded_text(*found.groups())
            else:
                assert "=?utf-8?" not in word, word
                text += f" {word}" if text else word
            after_encoded_word = found is not None
    return text


def first_spaces_removed(lines: list[str]) -> list[str]:
    assert all(line[0] == " " != line[1] for line in lines)
    return [line[1:] for line in lines]


def encoded_text(form: str, payload: str) -> str:
    """Return the text of one encoded word; no character is split, so it is UTF-8 by itself."""
    if form == "b":
        return base64.b64decode(payload, validate=True).decode()
    return quopri.decodestring(payload.encode(), header=True).decode()


def parsed(field: str, name: str) -> str:
    """Return the value of a field as the parser of the email package reads it."""
    message = email.message_from_string(f"{field}\r\n\r\n", policy=policy.default)
    assert not message[name].defects
    return str(message[name])


def decoded(field: str) -> str:
    """Return the value of a field as the older decoder of the email package reads it."""
    return str(make_header(decode_header(unfolded(field))))


def unfolded(field: str) -> str:
    return field.replace("\r\n ", " ").partition(": ")[2]


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_subject_is_read_as_it_was_written(text: str) -> None:
    """TXT-1: no space is lost or doubled, and every line is valid."""
    check_text(f"You are invited to join {text}")


@given(NAMES)
def test_a_subject_in_any_script_is_read_as_it_was_written(text: str) -> None:
    """TXT-1: names in eleven scripts, with punctuation."""
    check_text(text)


def check_text(text: str) -> None:
    field, expected = text_field("Subject", text), one_line(text)
    assert strictly_read(field) == expected
    assert parsed(field, "Subject") == expected
    assert decoded(field) == expected


@pytest.mark.parametrize("name", SENDERS)
def test_a_sender_s_name_is_read_as_it_was_written(name: str) -> None:
    """TXT-1: names with 40 letters and more, quotes and commas."""
    check_name(name)


@given(NAMES)
def test_a_sender_s_name_in_any_script_is_read_as_it_was_written(name: str) -> None:
    """TXT-1: names in eleven scripts, with punctuation."""
    check_name(name)


def check_name(name: str) -> None:
    expected = one_line(name)
    field = address_field("From", Address(name, "no-reply", "seatflow.example"))
    shown, space, address = strictly_read(field).rpartition(" ")
    assert (space, address) == (" ", "<no-reply@seatflow.example>")
    assert shown in {expected, f'"{expected}"'}
    # The parser of the email package would keep the space between two encoded words of a name.
    assert decoded(field) in {f"{shown} {address}", f"{expected} {address}"}
    [(_, found)] = getaddresses([unfolded(field)])
    assert found == "no-reply@seatflow.example"


def test_plain_text_is_not_encoded() -> None:
    """TXT-1: a reader of the source can read it."""
    assert text_field("Subject", "You are invited to join Acme") == (
        "Subject: You are invited to join Acme"
    )
    assert text_field("Subject", "word " * 20) == (
        "Subject: word word word word word word word word word word word word word\r\n"
        " word word word word word word word"
    )
    assert address_field("From", Address("Seats, flowing", "a", "b.example")) == (
        'From: "Seats, flowing" <a@b.example>'
    )
    assert address_field("To", Address(username="a", domain="b.example")) == "To: a@b.example"


def test_the_shorter_of_both_encodings_is_used() -> None:
    """TXT-1: Q for mostly Latin text, B for other scripts."""
    assert text_field("Subject", "Møre AS") == "Subject: =?utf-8?q?M=C3=B8re_AS?="
    assert text_field("Subject", "日本") == "Subject: =?utf-8?b?5pel5pys?="


def test_a_control_character_cannot_begin_another_field() -> None:
    """TXT-3: control characters become spaces."""
    assert text_field("Subject", "A\r\nBcc: x@y.example") == "Subject: A Bcc: x@y.example"
