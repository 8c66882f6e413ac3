"""E-mails to users about their membership of an account (BLK)."""

from typing import Literal

from domain.letter.base import BaseLetter
from domain.remedy import Removal


class RemovedLetter(BaseLetter):
    """E-mail to a user who was removed from an account, with what became of their data (BLK-1)."""

    event: Literal["removed"] = "removed"
    how: Removal
