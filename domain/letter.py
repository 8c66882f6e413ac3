"""E-mails before they are put into words: who reads, what happened, which facts."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from domain.invitation import Invitation, InvitationState, Invite, License
from domain.model import Value
from domain.preview import Notice
from domain.text import OneLine


class Reader(Value):
    """The person a letter goes to."""

    email: str
    name: OneLine | None = None
    locale: str = "en"
    """Their own locale, else the invitation's, else English (TXT-1)."""
    time_zone: str = "UTC"
    """The zone in which times are shown to them."""


class Parties(Value):
    """Whom an invitation concerns, as the directory knows them now."""

    account_name: OneLine
    """The name of the target account."""
    inviter: Reader
    """The inviter, or the owner of the target account when the inviter has left it."""
    invitee: Reader
    loses: tuple[Notice, ...] = ()
    """What the invitee gives up by accepting (INV-16)."""


class _Letter(Value):
    id: str
    """The business id: a letter is sent once for each, however often it is asked for."""
    reader: Reader
    account_name: OneLine


class InvitationLetter(_Letter):
    """To the invitee: the invitation with its link (INV-4)."""

    event: Literal["invitation"] = "invitation"
    inviter: OneLine
    """The inviter's name, or their address when they have none."""
    license: License
    link: str
    expires_at: AwareDatetime
    loses: tuple[Notice, ...] = ()


class WelcomeLetter(_Letter):
    """To the invitee: they have joined."""

    event: Literal["welcome"] = "welcome"
    license: License


class AcceptedLetter(_Letter):
    """To the inviter: the person has joined."""

    event: Literal["accepted"] = "accepted"
    invitee: str


class DeclinedLetter(_Letter):
    """To the inviter: the person said no, perhaps with a reason (INV-7)."""

    event: Literal["declined"] = "declined"
    invitee: str
    reason: OneLine | None = None


class ExpiredLetter(_Letter):
    """To the inviter: nobody answered in time (INV-6)."""

    event: Literal["expired"] = "expired"
    invitee: str
    expired_at: AwareDatetime


class UndeliverableLetter(_Letter):
    """To the inviter: the mail server refused the address for good (INV-4)."""

    event: Literal["undeliverable"] = "undeliverable"
    invitee: str
    answer: OneLine
    """What the mail server said."""


Letter = Annotated[
    InvitationLetter
    | WelcomeLetter
    | AcceptedLetter
    | DeclinedLetter
    | ExpiredLetter
    | UndeliverableLetter,
    Field(discriminator="event"),
]


def invitation_letter(
    invite: Invite, parties: Parties, *, number: int, link: str, expires_at: AwareDatetime
) -> InvitationLetter:
    """The `number`th invitation e-mail of this invitation, counted from 1."""
    return InvitationLetter(
        id=f"invitation.{number}.{invite.invitation_id}",
        reader=parties.invitee,
        account_name=parties.account_name,
        inviter=parties.inviter.name or parties.inviter.email,
        license=invite.license,
        link=link,
        expires_at=expires_at,
        loses=parties.loses,
    )


def letters_about_the_end(
    invite: Invite, invitation: Invitation, parties: Parties
) -> tuple[Letter, ...]:
    """Who is told how the invitation ended, and what."""
    run, name, last = invite.invitation_id, parties.account_name, invitation.journal[-1]
    match invitation.state:
        case InvitationState.COMPLETED:
            return (
                WelcomeLetter(
                    id=f"welcome.{run}",
                    reader=parties.invitee,
                    account_name=name,
                    license=invite.license,
                ),
                AcceptedLetter(
                    id=f"accepted.{run}",
                    reader=parties.inviter,
                    account_name=name,
                    invitee=invite.email,
                ),
            )
        case InvitationState.DECLINED:
            return (
                DeclinedLetter(
                    id=f"declined.{run}",
                    reader=parties.inviter,
                    account_name=name,
                    invitee=invite.email,
                    reason=last.note,
                ),
            )
        case InvitationState.EXPIRED:
            return (
                ExpiredLetter(
                    id=f"expired.{run}",
                    reader=parties.inviter,
                    account_name=name,
                    invitee=invite.email,
                    expired_at=last.at,
                ),
            )
        case InvitationState.UNDELIVERABLE:
            return (
                UndeliverableLetter(
                    id=f"undeliverable.{run}",
                    reader=parties.inviter,
                    account_name=name,
                    invitee=invite.email,
                    answer=last.note or "",
                ),
            )
        case _:
            return ()
