"""E-mails as data, before rendering: the reader, the event and its facts."""

from typing import Annotated

from pydantic import Field

from domain.letter.attention import AttentionLetter
from domain.letter.credit import AnyCreditLetter
from domain.letter.invitation import AnyInvitationLetter
from domain.letter.license import AnyLicenseLetter
from domain.letter.membership import RemovedLetter
from domain.letter.order import AnyOrderLetter
from domain.letter.refund import AnyRefundLetter
from domain.letter.reminder import AnyReminderLetter
from domain.letter.sign_in import SignInLetter

Letter = Annotated[
    AnyInvitationLetter
    | AnyReminderLetter
    | AnyRefundLetter
    | AnyCreditLetter
    | AnyOrderLetter
    | AnyLicenseLetter
    | RemovedLetter
    | SignInLetter
    | AttentionLetter,
    Field(discriminator="event"),
]
