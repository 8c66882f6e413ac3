"""What all e-mails have in common before they are put into words."""

from domain.model import Value
from domain.text import OneLine


class Reader(Value):
    """The person a letter goes to."""

    email: str
    name: OneLine | None = None
    locale: str = "en"
    """Their own locale, else the invitation's, else English (TXT-1)."""
    time_zone: str = "UTC"
    """The zone in which times are shown to them."""


class BaseLetter(Value):
    """Who reads it, and about which account."""

    id: str
    """The business id: a letter is sent once for each, however often it is asked for."""
    reader: Reader
    account_name: OneLine
