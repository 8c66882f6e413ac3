"""E-mails about an invitation, to the invitee and to the inviter."""

from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import AwareDatetime

from domain.account import HeldAddon
from domain.invitation import Blocker, Invitation, InvitationState, Invite, License
from domain.letter.base import BaseLetter, Reader
from domain.letter.credit import (
    AnyCreditLetter,
    CreditParties,
    TransferredLetter,
    credit_letters,
)
from domain.manifest import Change, Item, ItemStatus, Manifest, unfinished
from domain.money import Money
from domain.preview import Notice
from domain.text import OneLine


class InvitationParties(CreditParties):
    """Whom an invitation concerns, as the directory knows them now."""

    inviter: Reader
    """The inviter, or the owner of the target account when the inviter has left it."""
    invitee: Reader
    loses: tuple[Notice, ...] = ()
    """What the invitee gives up by accepting (INV-16)."""
    stays: tuple[Notice, ...] = ()
    """What does not move with the invitee, and what to do about it before accepting (TRF-3)."""
    licenses_left: tuple[HeldAddon, ...] = ()
    """The add-on licenses that the invitee held before joining, which stayed behind (TRF-3)."""
    credited: Money | None = None
    """What this acceptance credited to the target account, if anything."""


class InvitationLetter(BaseLetter):
    """To the invitee: the invitation with its link (INV-4)."""

    event: Literal["invitation"] = "invitation"
    inviter: OneLine
    """The inviter's name, or their address when they have none."""
    license: License
    link: str
    expires_at: AwareDatetime | None
    """None while the deadline is paused (BLK-5)."""
    loses: tuple[Notice, ...] = ()
    stays: tuple[Notice, ...] = ()


class HeadsUpLetter(BaseLetter):
    """To the invitee: an invitation will come, from whom and why (INV-17)."""

    event: Literal["heads_up"] = "heads_up"
    inviter: OneLine
    """The inviter's name, or their address when they have none."""
    goes_out_at: AwareDatetime
    managed: bool = False
    """Whether they may join without being asked (INV-18)."""


class BlockedLetter(BaseLetter):
    """To the invitee: what stands in the way, and the remedies (BLK-4)."""

    event: Literal["blocked"] = "blocked"
    blockers: tuple[Blocker, ...]
    expires_at: AwareDatetime | None
    """None while the deadline is paused (BLK-5)."""


class UnblockedLetter(BaseLetter):
    """To the invitee: nothing stands in the way any more; accept again (BLK-4)."""

    event: Literal["unblocked"] = "unblocked"
    link: str
    expires_at: AwareDatetime


class WelcomeLetter(BaseLetter):
    """To the invitee: they have joined."""

    event: Literal["welcome"] = "welcome"
    license: License
    managed: bool = False
    """Whether they were not asked, because their address is in a managed domain (INV-18)."""


class MovedLetter(BaseLetter):
    """To the invitee: new join links, settings that changed, what could not be moved (TRF)."""

    event: Literal["moved"] = "moved"
    links: tuple[Change, ...]
    settings: tuple[Change, ...]
    failed: tuple[Item, ...]


class LicensesLeftLetter(BaseLetter):
    """To the target's owner and admins: assign anew what did not move (TRF-3)."""

    event: Literal["licenses_left"] = "licenses_left"
    invitee: str
    licenses: tuple[HeldAddon, ...]


class SupersededLetter(BaseLetter):
    """To the inviter: the person has joined another account (INV-14)."""

    event: Literal["superseded"] = "superseded"
    invitee: str


class AcceptedLetter(BaseLetter):
    """To the inviter: the person has joined."""

    event: Literal["accepted"] = "accepted"
    invitee: str
    managed: bool = False
    """Whether the person was not asked (INV-18)."""


class DeclinedLetter(BaseLetter):
    """To the inviter: the person said no, perhaps with a reason (INV-7)."""

    event: Literal["declined"] = "declined"
    invitee: str
    reason: OneLine | None = None


class ExpiredLetter(BaseLetter):
    """To the inviter: nobody answered in time (INV-6)."""

    event: Literal["expired"] = "expired"
    invitee: str
    expired_at: AwareDatetime


class UndeliverableLetter(BaseLetter):
    """To the inviter: the mail server refused the address for good (INV-4)."""

    event: Literal["undeliverable"] = "undeliverable"
    invitee: str
    answer: OneLine
    """What the mail server said."""


AnyInvitationLetter = (
    InvitationLetter
    | HeadsUpLetter
    | BlockedLetter
    | UnblockedLetter
    | WelcomeLetter
    | MovedLetter
    | LicensesLeftLetter
    | SupersededLetter
    | AcceptedLetter
    | DeclinedLetter
    | ExpiredLetter
    | UndeliverableLetter
)


def heads_up_letter(
    invite: Invite, parties: InvitationParties, goes_out_at: AwareDatetime
) -> HeadsUpLetter:
    """The notice that the invitation itself goes out at `goes_out_at` (INV-17)."""
    return HeadsUpLetter(
        id=f"heads_up.{invite.invitation_id}",
        reader=parties.invitee,
        account_name=parties.account_name,
        inviter=parties.inviter.name or parties.inviter.email,
        goes_out_at=goes_out_at,
        managed=invite.managed,
    )


def invitation_letter(
    invite: Invite,
    parties: InvitationParties,
    *,
    number: int,
    link: str,
    expires_at: AwareDatetime | None,
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
        stays=parties.stays,
    )


def invitation_letters(
    invite: Invite, invitation: Invitation, parties: InvitationParties, link: str
) -> tuple[AnyInvitationLetter | AnyCreditLetter, ...]:
    """Who is told how it stands, and what; each letter has its id.

    `link` is the one that works now.
    """
    return tuple(_invitation_letters(invite, invitation, parties, link))


def _invitation_letters(
    invite: Invite, invitation: Invitation, parties: InvitationParties, link: str
) -> Iterator[AnyInvitationLetter | AnyCreditLetter]:
    run, name, last = invite.invitation_id, parties.account_name, invitation.journal[-1]
    # It may be blocked more than once: the letter about each time is one of its own.
    about = f"{len(invitation.journal)}.{run}"
    match invitation.state:
        case state if state.accepted:
            yield from _acceptance_letters(invite, invitation, parties)
        case InvitationState.BLOCKED:
            yield BlockedLetter(
                id=f"blocked.{about}",
                reader=parties.invitee,
                account_name=name,
                blockers=invitation.blockers,
                expires_at=invitation.expires_at,
            )
        case InvitationState.PENDING if last.event == "unblock":
            yield UnblockedLetter(
                id=f"unblocked.{about}",
                reader=parties.invitee,
                account_name=name,
                link=link,
                expires_at=invitation.deadline,
            )
        case InvitationState.DECLINED:
            yield DeclinedLetter(
                id=f"declined.{run}",
                reader=parties.inviter,
                account_name=name,
                invitee=invite.email,
                reason=last.note,
            )
        case InvitationState.EXPIRED:
            yield ExpiredLetter(
                id=f"expired.{run}",
                reader=parties.inviter,
                account_name=name,
                invitee=invite.email,
                expired_at=last.at,
            )
        case InvitationState.UNDELIVERABLE:
            yield UndeliverableLetter(
                id=f"undeliverable.{run}",
                reader=parties.inviter,
                account_name=name,
                invitee=invite.email,
                answer=last.note or "",
            )
        case InvitationState.SUPERSEDED:
            yield SupersededLetter(
                id=f"superseded.{run}",
                reader=parties.inviter,
                account_name=name,
                invitee=invite.email,
            )


def _acceptance_letters(
    invite: Invite, invitation: Invitation, parties: InvitationParties
) -> Iterator[AnyInvitationLetter | AnyCreditLetter]:
    run, name = invite.invitation_id, parties.account_name
    managed = any(entry.event == "join" for entry in invitation.journal)
    yield WelcomeLetter(
        id=f"welcome.{run}",
        reader=parties.invitee,
        account_name=name,
        license=invite.license,
        managed=managed,
    )
    yield AcceptedLetter(
        id=f"accepted.{run}",
        reader=parties.inviter,
        account_name=name,
        invitee=invite.email,
        managed=managed,
    )
    if parties.credited:
        yield TransferredLetter(
            id=f"transferred.{run}",
            reader=parties.invitee,
            account_name=name,
            amount=parties.credited,
        )
        yield from credit_letters(run, parties.credited, parties.invitee, parties)
    if parties.licenses_left:
        yield from _licenses_left_letters(invite, parties)
    if not unfinished(invitation.manifest):
        yield from _moved_letters(run, invitation.manifest, parties)


def _licenses_left_letters(
    invite: Invite, parties: InvitationParties
) -> Iterator[AnyInvitationLetter | AnyCreditLetter]:
    """To the target's owner and each admin: what has to be assigned anew (TRF-3)."""
    for number, admin in enumerate(parties.admins, start=1):
        yield LicensesLeftLetter(
            id=f"licenses_left.{number}.{invite.invitation_id}",
            reader=admin,
            account_name=parties.account_name,
            invitee=invite.email,
            licenses=parties.licenses_left,
        )


def _moved_letters(
    run: str, manifest: Manifest, parties: InvitationParties
) -> Iterator[AnyInvitationLetter | AnyCreditLetter]:
    """To the invitee, where anything is another than before, or was not moved (TRF)."""
    links = _changes_of(manifest, {Item.MEETINGS, Item.WEBINARS})
    settings = _changes_of(manifest, {Item.SETTINGS})
    failed = tuple(item.item for item in manifest if item.status is ItemStatus.FAILED)
    if links or settings or failed:
        yield MovedLetter(
            # Fewer are missing after a move that was run again: its links are told then.
            id=f"moved.{len(failed)}.{run}",
            reader=parties.invitee,
            account_name=parties.account_name,
            links=links,
            settings=settings,
            failed=failed,
        )


def _changes_of(manifest: Manifest, items: Iterable[Item]) -> tuple[Change, ...]:
    return tuple(change for item in manifest if item.item in items for change in item.changes)
