"""E-mails with which people sign in."""

from typing import ClassVar, Literal

from domain.letter.base import BaseLetter, Guide


class SignInLetter(BaseLetter):
    """E-mail with the link that signs an owner, admin or operator in, once."""

    guide: ClassVar[Guide | None] = "admin"
    event: Literal["sign_in"] = "sign_in"
    account_name: str = ""
    """Added when the letter is sent; empty for an operator who administers no account."""
    link: str = ""
    """Added when the letter is sent: links are not stored."""
