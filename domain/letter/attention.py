"""E-mails to the operators about cases on their list."""

from collections.abc import Iterable, Iterator
from typing import Literal

from domain.attention import AttentionCase
from domain.letter.base import BaseLetter, Reader


class AttentionLetter(BaseLetter):
    """E-mail to the operators: a new case on their list (REF-3, REF-4, TRF-1)."""

    event: Literal["attention"] = "attention"
    case: AttentionCase


def operator_letters(
    cases: Iterable[AttentionCase], account_name: str
) -> Iterator[AttentionLetter]:
    """Yield one e-mail in English for each case; its id is the same while the case is open.

    The operators' address is a setting, and is added when the letter is sent.
    """
    for case in cases:
        yield AttentionLetter(
            id=f"attention.{case.kind}.{case.since:%Y%m%d%H%M%S%f}.{case.id}",
            reader=Reader(email=""),
            account_name=account_name,
            case=case,
        )
