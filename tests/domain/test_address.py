"""Addresses: normalization, masking and keyed hashes."""

import pytest

from domain.address import invitee_key, mask_all, masked, normalized
from domain.error import ErrorCode, Refused


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  Jane.Doe@Example.COM ", "jane.doe@example.com"),
        ("jane@bücher.example", "jane@xn--bcher-kva.example"),
        ("JÜRGEN@Bücher.example", "jürgen@xn--bcher-kva.example"),
        ("strasse+tag@corp.test", "strasse+tag@corp.test"),
        ("Strauß@Example.com", "strauß@example.com"),
        ("ΟΔΟΣ@example.com", "οδος@example.com"),
        ("jane@straße.example", "jane@xn--strae-oqa.example"),
        (f"{'x' * 64}@example.com", f"{'x' * 64}@example.com"),
    ],
)
def test_an_address_has_one_normalized_form(given: str, kept: str) -> None:
    """INV-3: it is trimmed, in lower case and IDN-encoded."""
    assert normalized(given) == kept
    assert normalized(kept) == kept


def test_letters_are_not_folded() -> None:
    """INV-3: ß stays ß, so two mailboxes are two people."""
    assert normalized("STRAUß@example.com") != normalized("strauss@example.com")
    assert normalized("ﬀ@example.com") != normalized("ff@example.com")


@pytest.mark.parametrize(
    "given",
    [
        *("", "jane", "jane@", "@example.com", "a b@example.com", "a@b", "a@b.c, d@e.f", "a@b..c"),
        *("a@127.0.0.1", "a@[127.0.0.1]", "a@example.123", "a@example.\N{FULLWIDTH DIGIT ONE}"),
        f"{'x' * 65}@example.com",
        f"{'ü' * 33}@example.com",
        f"{'x' * 64}@{'.'.join(['y' * 60] * 3)}.example.com",
        "a@-example.com",
        "a\u202eb@example.com",
        "a\0@example.com",
    ],
)
def test_a_bad_address_is_refused(given: str) -> None:
    """INV-3: the error code is `invalid_email`."""
    with pytest.raises(Refused) as refused:
        normalized(given)
    assert refused.value.code is ErrorCode.INVALID_EMAIL


def test_a_mask_shows_one_letter_and_the_domain() -> None:
    """OPS-5: operators see a masked address only."""
    assert masked("jane@example.com") == "j…@example.com"
    assert mask_all("550 <jane@example.com>: no such user; ask bob@example.com") == (
        "550 <j…@example.com>: no such user; ask b…@example.com"
    )


def test_a_key_depends_on_address_and_secret() -> None:
    """INV-3: without the secret, an id does not reveal an address."""
    one, other = (invitee_key("jane@example.com", secret) for secret in (b"one", b"other"))
    assert one != other
    assert one == invitee_key("jane@example.com", b"one")
    assert len(one) == 32
    assert "jane" not in one


def test_a_long_text_is_masked_in_linear_time() -> None:
    """OPS-5: a quadratic pattern took an hour for this text."""
    text = "x" * 1_000_000
    assert mask_all(text) == text
    assert mask_all(f"{text} jane@example.com") == f"{text} j…@example.com"
    assert mask_all(f"{text}@example.com") == "x…@example.com"


@pytest.mark.parametrize("mark", ["\u0301\u0323", "a", "xn--", "\u1e9e"])
def test_a_long_address_is_refused_in_linear_time(mark: str) -> None:
    """INV-3: parsing it would take minutes."""
    for address in (f"{mark * 500_000}@a.example", f"x@{mark * 500_000}"):
        with pytest.raises(Refused, match="254 octets"):
            normalized(address)
