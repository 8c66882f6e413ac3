"""Signed links in e-mails."""

from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeSerializer
from pydantic import Field

from domain.error import ErrorCode, Refused
from domain.model import Value

PATH = "/i/"
UNSUBSCRIBE_PATH = "/unsubscribe/"
SIGN_IN_PATH = "/sign-in/"

TRAILING = "/.,;:!?)>]}'\"*"
"""Characters that mail programs leave behind a link; no token ends with one."""


class LinkClaim(Value):
    """The content of a link: one invitation and one of its e-mails (INV-13)."""

    invitation_id: str = Field(alias="i")
    number: int = Field(alias="n")
    """Number of the invitation e-mail that holds the link, from 1; only the last works (INV-9)."""


class LinkSigner:
    """Signer and verifier of links. The first of `keys` signs, all of them verify."""

    def __init__(self, public_url: str, keys: Sequence[str]) -> None:
        if not keys or not all(keys):
            raise ValueError("Signing links needs at least one key, and none may be empty.")
        self._base = public_url.rstrip("/")
        self._invitations = _serializer("invitation", keys)
        self._unsubscriptions = _serializer("unsubscribe", keys)
        self._sign_ins = _serializer("sign-in", keys)

    def link(self, invitation_id: str, number: int) -> str:
        """Return the link of the `number`th invitation e-mail; the same for the same arguments."""
        claim = LinkClaim(invitation_id=invitation_id, number=number)
        token = self._invitations.dumps(claim.model_dump(by_alias=True))
        return f"{self._base}{PATH}{token}"

    def read(self, link: str) -> LinkClaim:
        """Return the claim of `link` or of its bare token; the host of the link is ignored.

        Raises `Refused(not_found)` when it does not verify or was signed for another purpose.
        """
        try:
            return LinkClaim.model_validate(self._invitations.loads(token_of(link, PATH)))
        except (BadData, ValueError):
            raise _invalid() from None

    def unsubscribe_link(self, invitation_id: str) -> str:
        """Return the link that ends the reminders of an invitation, the same in each reminder."""
        return f"{self._base}{UNSUBSCRIBE_PATH}{self._unsubscriptions.dumps(invitation_id)}"

    def read_unsubscribe(self, link: str) -> str:
        """Return the invitation's id of an unsubscribe link or of its bare token.

        Raises `Refused(not_found)` when it does not verify or was signed for another purpose.
        """
        try:
            return str(self._unsubscriptions.loads(token_of(link, UNSUBSCRIBE_PATH)))
        except (BadData, ValueError):
            raise _invalid() from None

    def sign_in_link(self, link_id: str) -> str:
        """Return the link that signs a person in; the same for the same id."""
        return f"{self._base}{SIGN_IN_PATH}{self._sign_ins.dumps(link_id)}"

    def read_sign_in(self, link: str) -> str:
        """Return the id of a sign-in link or of its bare token.

        Raises `Refused(not_found)` when it does not verify or was signed for another purpose.
        """
        try:
            return str(self._sign_ins.loads(token_of(link, SIGN_IN_PATH)))
        except (BadData, ValueError):
            raise _invalid() from None


def _serializer(purpose: str, keys: Sequence[str]) -> URLSafeSerializer:
    return URLSafeSerializer(
        # itsdangerous signs with the last key of its list.
        list(reversed(keys)),
        # A token signed for another purpose has another salt and does not verify here.
        salt=purpose,
        signer_kwargs={"digest_method": sha256, "key_derivation": "hmac"},
    )


def token_of(link: str, path: str) -> str:
    """Return the token of a link, or a bare token, without what a mail program left behind it."""
    return urlsplit(link.strip()).path.rstrip(TRAILING).rpartition(path)[2]


def _invalid() -> Refused:
    return Refused(ErrorCode.NOT_FOUND, "This link is not valid.")
