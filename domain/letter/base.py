"""The common base of all e-mails."""

from typing import ClassVar

from domain.model import Value
from domain.text import OneLine


class Reader(Value):
    """The person who receives an e-mail."""

    email: str
    name: OneLine | None = None
    locale: str = "en"
    """The reader's own locale, else the invitation's, else English (TXT-1)."""
    time_zone: str = "UTC"
    """The zone in which times are shown to the reader."""


class BaseLetter(Value):
    """The common fields of all e-mails."""

    untrue_after_changes: ClassVar[bool] = False
    """True if a later change of its subject makes the letter untrue (OPS-2)."""

    id: str
    """The business id: one e-mail is sent for each id, even if it is requested repeatedly."""
    reader: Reader
    account_name: OneLine
