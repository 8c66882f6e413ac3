"""E-mails as data, before rendering: the reader, the event and its facts."""

from typing import Annotated

from pydantic import Field

from domain.letter.attention import AttentionLetter
from domain.letter.credit import AboutCredit
from domain.letter.invitation import AboutInvitation
from domain.letter.license import AboutLicense
from domain.letter.order import AboutOrder
from domain.letter.refund import AboutRefund
from domain.letter.reminder import AboutReminder

Letter = Annotated[
    AboutInvitation
    | AboutReminder
    | AboutRefund
    | AboutCredit
    | AboutOrder
    | AboutLicense
    | AttentionLetter,
    Field(discriminator="event"),
]
