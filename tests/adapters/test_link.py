from hashlib import sha256

import pytest
from itsdangerous import URLSafeSerializer

from adapters.link import LinkClaim, LinkSigner
from domain.error import ErrorCode, Refused

SITE = "https://seatflow.example"
INVITATION = "0123456789abcdef0123456789abcdef"


def refusal(signer: LinkSigner, link: str) -> ErrorCode:
    with pytest.raises(Refused) as refused:
        signer.read(link)
    return refused.value.code


def test_a_link_says_which_invitation_and_which_e_mail_it_came_with() -> None:
    """INV-13: a link is for one run of the invitation."""
    signer = LinkSigner(SITE, ["key"])
    link = signer.link(INVITATION, 3)
    assert link.startswith(f"{SITE}/i/")
    assert signer.read(link) == LinkClaim(invitation_id=INVITATION, number=3)


def test_a_link_is_the_same_whenever_it_is_made() -> None:
    assert LinkSigner(SITE, ["key"]).link(INVITATION, 1) == LinkSigner(SITE, ["key"]).link(
        INVITATION, 1
    )


def test_a_link_is_read_wherever_it_was_opened() -> None:
    signer = LinkSigner(f"{SITE}/app/", ["key"])
    link = signer.link(INVITATION, 1)
    assert link.startswith(f"{SITE}/app/i/")
    token = link.rpartition("/")[2]
    for opened in (f"http://localhost:8080/i/{token}", token, f" {link}\n", f"{link}?from=mail"):
        assert signer.read(opened).invitation_id == INVITATION


def test_the_first_key_signs_and_all_verify() -> None:
    old = LinkSigner(SITE, ["old"]).link(INVITATION, 1)
    rotated = LinkSigner(SITE, ["new", "old"])
    assert rotated.read(old).number == 1
    assert LinkSigner(SITE, ["new"]).read(rotated.link(INVITATION, 2)).number == 2
    assert refusal(LinkSigner(SITE, ["new"]), old) is ErrorCode.NOT_FOUND


def test_a_changed_link_is_not_found() -> None:
    signer = LinkSigner(SITE, ["key"])
    link = signer.link(INVITATION, 1)
    for position in range(len(f"{SITE}/i/"), len(link)):
        changed = "A" if link[position] != "A" else "Q"
        tampered = link[:position] + changed + link[position + 1 :]
        assert refusal(signer, tampered) is ErrorCode.NOT_FOUND


@pytest.mark.parametrize(
    "link",
    ["", "nonsense", f"{SITE}/i/", f"{SITE}/", "http://[/i/x", "ü", "\ud800", "a.b.c", ".eJw.x"],
)
def test_nonsense_is_not_found(link: str) -> None:
    assert refusal(LinkSigner(SITE, ["key"]), link) is ErrorCode.NOT_FOUND


def test_a_token_for_another_purpose_is_not_found() -> None:
    signer = LinkSigner(SITE, ["key"])
    signing = {"digest_method": sha256, "key_derivation": "hmac"}
    invitation, session = (
        URLSafeSerializer("key", salt=salt, signer_kwargs=signing).dumps({"i": INVITATION, "n": 1})
        for salt in ("invitation", "session")
    )
    assert signer.read(f"{SITE}/i/{invitation!s}").number == 1
    assert refusal(signer, f"{SITE}/i/{session!s}") is ErrorCode.NOT_FOUND


@pytest.mark.parametrize("keys", [[], [""], ["key", ""]])
def test_without_a_key_nothing_is_signed(keys: list[str]) -> None:
    with pytest.raises(ValueError):
        LinkSigner(SITE, keys)
