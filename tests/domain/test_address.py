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
    ],
)
def test_an_address_has_one_normalized_form(given: str, kept: str) -> None:
    """INV-3: it is trimmed, case-folded and IDN-encoded."""
    assert normalized(given) == kept


@pytest.mark.parametrize(
    "given",
    ["", "jane", "jane@", "@example.com", "a b@example.com", "a@b", "a@b.c, d@e.f", "a@b..c"],
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
