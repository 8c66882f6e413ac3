"""Signed links for invitees (INV-9, INV-13)."""

from hashlib import sha256

import pytest
from itsdangerous import URLSafeSerializer

from adapters.link import LinkClaim, LinkSigner
from domain.error import ErrorCode, Refused

SITE = "https://seatflow.example"
INVITATION = "0123456789abcdef0123456789abcdef"


def refusal_of(signer: LinkSigner, link: str) -> ErrorCode:
    with pytest.raises(Refused) as refused:
        signer.read(link)
    return refused.value.code


def test_a_link_holds_the_invitation_and_the_number_of_its_e_mail() -> None:
    """INV-9, INV-13: a link belongs to one run and one e-mail of an invitation."""
    signer = LinkSigner(SITE, ["key"])
    link = signer.link(INVITATION, 3)
    assert link.startswith(f"{SITE}/i/")
    assert signer.read(link) == LinkClaim(invitation_id=INVITATION, number=3)


def test_a_link_is_the_same_each_time_it_is_signed() -> None:
    """INV-9: `show` and the e-mail contain the same link."""
    assert LinkSigner(SITE, ["key"]).link(INVITATION, 1) == LinkSigner(SITE, ["key"]).link(
        INVITATION, 1
    )


def test_a_link_is_read_whatever_its_host_and_path() -> None:
    """INV-13: only the token counts."""
    signer = LinkSigner(f"{SITE}/app/", ["key"])
    link = signer.link(INVITATION, 1)
    assert link.startswith(f"{SITE}/app/i/")
    token = link.rpartition("/")[2]
    for opened in (f"http://localhost:8080/i/{token}", token, f" {link}\n", f"{link}?from=mail"):
        assert signer.read(opened).invitation_id == INVITATION


@pytest.mark.parametrize("left_behind", ["/", ".", ")", ">", ").", '">', ",", "/?utm=1"])
def test_a_link_works_with_what_mail_programs_leave_behind_it(left_behind: str) -> None:
    """INV-13: punctuation after a link is no part of its token."""
    signer = LinkSigner(SITE, ["key"])
    assert signer.read(signer.link(INVITATION, 1) + left_behind).number == 1
    unsubscribe = signer.unsubscribe_link(INVITATION) + left_behind
    assert signer.read_unsubscribe(unsubscribe) == INVITATION


def test_an_unsubscribe_link_has_one_purpose() -> None:
    """RFC 8058: it neither opens the invitation, nor does the invitation's link end reminders."""
    signer = LinkSigner(SITE, ["key"])
    unsubscribe = signer.unsubscribe_link(INVITATION)
    assert unsubscribe.startswith(f"{SITE}/unsubscribe/")
    token = unsubscribe.rpartition("/")[2]
    assert LinkSigner(SITE, ["new", "key"]).read_unsubscribe(token) == INVITATION
    assert refusal_of(signer, token) is ErrorCode.NOT_FOUND
    for other in (signer.link(INVITATION, 1), token[:-1], ""):
        with pytest.raises(Refused) as refused:
            signer.read_unsubscribe(other)
        assert refused.value.code is ErrorCode.NOT_FOUND


def test_the_first_key_signs_and_all_verify() -> None:
    """INV-13: links signed with the old key stay valid during a rotation."""
    old = LinkSigner(SITE, ["old"]).link(INVITATION, 1)
    rotated = LinkSigner(SITE, ["new", "old"])
    assert rotated.read(old).number == 1
    assert LinkSigner(SITE, ["new"]).read(rotated.link(INVITATION, 2)).number == 2
    assert refusal_of(LinkSigner(SITE, ["new"]), old) is ErrorCode.NOT_FOUND


def test_a_changed_link_is_not_found() -> None:
    """INV-13: a change of any character invalidates the signature."""
    signer = LinkSigner(SITE, ["key"])
    link = signer.link(INVITATION, 1)
    for position in range(len(f"{SITE}/i/"), len(link)):
        changed = "A" if link[position] != "A" else "Q"
        tampered = link[:position] + changed + link[position + 1 :]
        assert refusal_of(signer, tampered) is ErrorCode.NOT_FOUND


@pytest.mark.parametrize(
    "link",
    ["", "nonsense", f"{SITE}/i/", f"{SITE}/", "http://[/i/x", "ü", "\ud800", "a.b.c", ".eJw.x"],
)
def test_a_malformed_link_is_not_found(link: str) -> None:
    """INV-13: text that is not a link is refused like a wrong signature."""
    assert refusal_of(LinkSigner(SITE, ["key"]), link) is ErrorCode.NOT_FOUND


def test_a_token_for_another_purpose_is_not_found() -> None:
    """INV-13: the purpose is part of the signature."""
    signer = LinkSigner(SITE, ["key"])
    signing = {"digest_method": sha256, "key_derivation": "hmac"}
    invitation, session = (
        URLSafeSerializer("key", salt=salt, signer_kwargs=signing).dumps({"i": INVITATION, "n": 1})
        for salt in ("invitation", "session")
    )
    assert signer.read(f"{SITE}/i/{invitation!s}").number == 1
    assert refusal_of(signer, f"{SITE}/i/{session!s}") is ErrorCode.NOT_FOUND


@pytest.mark.parametrize("keys", [[], [""], ["key", ""]])
def test_a_signer_without_a_key_is_refused(keys: list[str]) -> None:
    """INV-13: an empty key would let anybody sign links."""
    with pytest.raises(ValueError):
        LinkSigner(SITE, keys)
