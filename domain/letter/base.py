"""The common base of all e-mails."""

from typing import ClassVar, Literal

from domain.model import Value
from domain.text import OneLine

Guide = Literal["invitee", "admin"]
"""The guides of the portal that e-mails link."""


class Reader(Value):
    """The person who receives an e-mail."""

    email: str
    name: OneLine | None = None
    locale: str = "en"
    """The reader's own locale, else the invitation's, else English (TXT-1)."""
    time_zone: str = "UTC"
    """The zone in which times are shown to the reader."""

    @property
    def contact(self) -> "Contact":
        """Return the person as somebody who can help another reader."""
        return Contact(email=self.email, name=self.name)


class Contact(Value):
    """A person whom the reader can ask."""

    email: str
    name: OneLine | None = None

    @property
    def shown(self) -> str:
        """Return the name with the address, or the address alone."""
        return f"{self.name} ({self.email})" if self.name else self.email


class BaseLetter(Value):
    """The common fields of all e-mails."""

    replies_to_contact: ClassVar[bool] = False
    """True if a reply to the e-mail goes to `contact`."""

    opens_page: ClassVar[bool] = False
    """True if its `link` opens the invitee's page; it is added when the letter is sent."""

    guide: ClassVar[Guide | None] = None
    """The guide that helps its reader, if any."""

    untrue_after_changes: ClassVar[bool] = False
    """True if a later change of its subject makes the letter untrue (OPS-2)."""

    id: str
    """The business id: one e-mail is sent for each id, even if it is requested repeatedly."""
    reader: Reader
    account_name: OneLine
    contact: Contact | None = None
    """The person who can help with the subject of the e-mail, if it is not the reader."""

    @property
    def replies_to(self) -> Contact | None:
        """Return the person to whom a reply goes; None: it goes to the deployment's address."""
        # An address beyond ASCII would need SMTPUTF8, which some recipients do not accept.
        if self.contact and self.replies_to_contact and self.contact.email.isascii():
            return self.contact
        return None

    @property
    def commands(self) -> tuple[str, ...]:
        """Return the operators' commands for the actions that the e-mail offers, if any."""
        return ()


def contact_for(reader: Reader, *people: Reader) -> Contact | None:
    """Return the first of these people who is not the reader."""
    return next((each.contact for each in people if each.email != reader.email), None)
