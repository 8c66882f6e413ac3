"""The signed links that invitees open."""

from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeSerializer
from pydantic import Field

from domain.error import ErrorCode, Refused
from domain.model import Value

PATH = "/i/"


class LinkClaim(Value):
    """What a link was signed for: one invitation, and one of its e-mails (INV-13)."""

    invitation_id: str = Field(alias="i")
    number: int = Field(alias="n")
    """Which invitation e-mail it came with, counted from 1; only the last one works (INV-9)."""


class LinkSigner:
    """Makes links and reads them. The first of `keys` signs, all of them verify."""

    def __init__(self, public_url: str, keys: Sequence[str]) -> None:
        if not keys or not all(keys):
            raise ValueError("a link needs a key to be signed with")
        self._base = public_url.rstrip("/") + PATH
        self._invitations = URLSafeSerializer(
            # The newest key comes last there.
            list(reversed(keys)),
            salt="invitation",
            signer_kwargs={"digest_method": sha256, "key_derivation": "hmac"},
        )

    def link(self, invitation_id: str, number: int) -> str:
        """The link of the `number`th invitation e-mail; the same for the same arguments."""
        claim = LinkClaim(invitation_id=invitation_id, number=number)
        token = self._invitations.dumps(claim.model_dump(by_alias=True))
        return f"{self._base}{token}"

    def read(self, link: str) -> LinkClaim:
        """What `link`, or its bare token, was signed for, wherever it was opened.

        Raises `Refused(not_found)` when it does not verify or was made for something else.
        """
        try:
            token = urlsplit(link.strip()).path.rpartition(PATH)[2]
            return LinkClaim.model_validate(self._invitations.loads(token))
        except (BadData, ValueError):
            raise Refused(ErrorCode.NOT_FOUND, "This link is not valid.") from None
