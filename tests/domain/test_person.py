"""A pseudonym takes the place of a person in texts and documents (OPS-9)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from domain.address import normalized
from domain.person import Redaction, disclosed, is_pseudonym, pseudonym

SAM = "sam@studio.example"
STAND_IN = pseudonym("00ff")
REDACTION = Redaction(
    pseudonym=STAND_IN,
    addresses=frozenset({SAM}),
    keys={"k" * 32: "r" * 32},
    names=frozenset({"Sam", "Sam & Co"}),
)


def test_a_pseudonym_is_an_address_that_nobody_can_have() -> None:
    """OPS-9: models that check addresses accept it; RFC 2606 reserves the domain."""
    assert normalized(STAND_IN) == STAND_IN
    assert is_pseudonym(STAND_IN)
    assert not is_pseudonym(SAM)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (SAM, STAND_IN),
        ("SAM@Studio.Example", STAND_IN),
        (f"550 <{SAM}>: unknown", f"550 <{STAND_IN}>: unknown"),
        (f"https://x.example/?to={SAM.replace('@', '%40')}", f"https://x.example/?to={STAND_IN}"),
        ("flotsam@studio.example", "flotsam@studio.example"),
        ("a.sam@studio.example", "a.sam@studio.example"),
        ("sam@studio.example.org", "sam@studio.example.org"),
        (f"Write to {SAM}.", f"Write to {STAND_IN}."),
        ("refused: s…@studio.example", "refused: f…@forgotten.invalid"),
        (f"invitation/acme/{'k' * 32}", f"invitation/acme/{'r' * 32}"),
        ("Sam", "forgotten-00ff"),
        ("sam", "sam"),
        ("Yours, SAM", "Yours, forgotten-00ff"),
        ("The same", "The same"),
        ("Sam & Co", "forgotten-00ff"),
        ("Europe/Paris", "Europe/Paris"),
    ],
)
def test_address_hash_and_name_are_replaced(text: str, redacted: str) -> None:
    """OPS-9: in any case, and only where the person is meant."""
    assert REDACTION.text(text) == redacted


def test_a_namesake_keeps_the_name() -> None:
    """OPS-9: in a list of people, only the forgotten one changes."""
    items: JsonValue = [
        {"id": SAM, "name": "Sam", "kind": "user"},
        {"id": "sam@other.example", "name": "Sam", "kind": "user"},
        {"id": "blue", "name": "Sam"},
    ]
    assert REDACTION.document(items) == [
        {"id": STAND_IN, "name": "forgotten-00ff", "kind": "user"},
        {"id": "sam@other.example", "name": "Sam", "kind": "user"},
        {"id": "blue", "name": "forgotten-00ff"},
    ]


def test_a_disclosed_document_hides_other_people() -> None:
    """OPS-9: an access request is about one person."""
    document: JsonValue = {
        "by": "adam@acme.example",
        "rows": [{"email": SAM, "name": "Sam"}, {"email": "pat@x.example", "name": "Pat"}],
    }
    assert disclosed(document, {SAM}) == {
        "by": "a…@acme.example",
        "rows": [{"email": SAM, "name": "Sam"}, {"email": "p…@x.example", "name": None}],
    }


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(f"to {SAM.upper()}, Sam"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(_JSON)
def test_any_document_keeps_its_shape(document: JsonValue) -> None:
    """OPS-9: nothing of the person is left, whatever the document; a repetition is the same."""
    redacted = REDACTION.document(document)
    assert SAM not in repr(redacted).lower()
    assert REDACTION.document(redacted) == redacted
    assert type(redacted) is type(document)
