"""E-mails about an invitation, to the invitee, the inviter and the admins."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Final, Literal

from pydantic import AwareDatetime

from domain.account import HeldAddon
from domain.attention import command
from domain.invitation import Blocker, Invitation, InvitationState, Invite, License
from domain.letter.base import BaseLetter, Contact, Guide, Reader, contact_for
from domain.letter.credit import (
    AnyCreditLetter,
    CreditParties,
    TransferredLetter,
    credit_letters,
)
from domain.manifest import Change, Item, ItemStatus, Manifest
from domain.model import Value
from domain.money import Money
from domain.preview import Notice, Preview, TransferOffer
from domain.text import Lines, OneLine

LISTED_CHANGES: Final = 200
"""The changes of each kind that a letter lists; it counts the others (OPS-7)."""


LISTED_LINES: Final = 10
"""The subscriptions that an estimate lists; its total has all of them (OPS-7)."""


class Hosted(Value):
    """A meeting or webinar, as its host knows it."""

    topic: OneLine
    starts_at: AwareDatetime


class LeftAccount(Value):
    """The account that the invitee would leave by accepting."""

    name: OneLine
    owned: bool
    """True if the invitee owns it, so that it closes (SRC-2)."""
    products: Mapping[str, OneLine] = {}
    """The names of the paid subscriptions that end with it, by id."""


class EstimatedLine(Value):
    """The estimated value of one subscription's unused time."""

    product: OneLine
    amount: Money


class Estimate(Value):
    """The amounts of a refund or a transfer, if the invitee accepted now (QUO-4)."""

    lines: tuple[EstimatedLine, ...]
    """The first `LISTED_LINES` subscriptions with unused time."""
    total: Money
    refund: Money
    """The amount returned to payment methods."""
    arrives_between: tuple[date, date] | None
    """The dates for accepting today; None when no payment method gets a refund."""
    transferable: bool
    """False if the target account has another currency (QUO-6)."""

    @property
    def becomes_credit(self) -> Money | None:
        """Return the amount that becomes credit with any choice, if any (QUO-3)."""
        amount = self.total.amount - self.refund.amount
        return Money(amount=amount, currency=self.total.currency) if amount else None


def estimate_of(found: Preview, left: LeftAccount | None) -> Estimate | None:
    """Return the estimate that a preview shows; None if there is nothing to choose (QUO-4)."""
    if left is None or found.valid_until is None or found.refund is None or found.amount is None:
        return None
    lines = [
        EstimatedLine(product=left.products[line.subscription], amount=line.unused)
        for line in found.lines
        if line.unused.amount and line.subscription in left.products
    ]
    return Estimate(
        lines=tuple(lines[:LISTED_LINES]),
        total=found.amount,
        refund=found.refund.amount,
        arrives_between=found.refund.arrives_between,
        transferable=isinstance(found.transfer, TransferOffer),
    )


class InvitationParties(CreditParties):
    """The people and facts of an invitation's e-mails, as the directory has them now."""

    inviter: Reader
    """The inviter, or the owner of the target account when the inviter has left it."""
    invitee: Reader
    loses: tuple[Notice, ...] = ()
    """The features and licenses that the invitee loses by accepting (INV-16)."""
    moves: tuple[Item, ...] = ()
    """The data that moves with the invitee (TRF-1)."""
    stays: tuple[Notice, ...] = ()
    """The data and licenses that do not move with the invitee (TRF-3)."""
    left: LeftAccount | None = None
    """The account that the invitee would leave, if any."""
    licenses_left: tuple[HeldAddon, ...] = ()
    """The add-on licenses that the invitee held before joining and that did not move (TRF-3)."""
    credited: Money | None = None
    """The amount that this acceptance credited to the target account, if any."""
    credited_balance: Money | None = None
    """The part of it that was the credit balance of the former account, if any."""
    former_account: OneLine | None = None
    """The name of the account that the invitee has left by accepting."""
    changes: Mapping[Item, tuple[Change, ...]] = {}
    """The first changes of each item that has moved (TRF-2, TRF-5)."""
    hosted: Mapping[str, Hosted] = {}
    """The meetings and webinars whose links have changed, by id."""


class InvitationLetter(BaseLetter):
    """E-mail to the invitee: the invitation with its link (INV-4)."""

    replies_to_contact: ClassVar[bool] = True
    guide: ClassVar[Guide | None] = "invitee"
    event: Literal["invitation"] = "invitation"
    inviter: OneLine
    """The inviter's name, or their address when they have none."""
    license: License
    link: str
    expires_at: AwareDatetime | None
    """None while the deadline is paused (BLK-5)."""
    note: Lines | None = None
    """The inviter's words to the invitee, in plain text."""
    loses: tuple[Notice, ...] = ()
    moves: tuple[Item, ...] = ()
    stays: tuple[Notice, ...] = ()
    left: LeftAccount | None = None
    """The account that the invitee would leave, if any."""
    estimate: Estimate | None = None
    """None unless there is something to choose (QUO-4)."""


class HeadsUpLetter(BaseLetter):
    """E-mail to the invitee: an invitation will come, from whom and why (INV-17)."""

    replies_to_contact: ClassVar[bool] = True
    guide: ClassVar[Guide | None] = "invitee"
    event: Literal["heads_up"] = "heads_up"
    inviter: OneLine
    """The inviter's name, or their address when they have none."""
    goes_out_at: AwareDatetime
    managed: bool = False
    """True if the person may join without an answer (INV-18)."""


class BlockedLetter(BaseLetter):
    """E-mail to the invitee: the blockers and their remedies (BLK-4)."""

    opens_page: ClassVar[bool] = True
    untrue_after_changes: ClassVar[bool] = True
    guide: ClassVar[Guide | None] = "invitee"
    event: Literal["blocked"] = "blocked"
    link: str = ""
    blockers: tuple[Blocker, ...]
    expires_at: AwareDatetime | None
    """None while the deadline is paused (BLK-5)."""


class UnblockedLetter(BaseLetter):
    """E-mail to the invitee: all blockers are cleared; accept again (BLK-4)."""

    opens_page: ClassVar[bool] = True
    untrue_after_changes: ClassVar[bool] = True
    event: Literal["unblocked"] = "unblocked"
    link: str = ""
    expires_at: AwareDatetime


class WelcomeLetter(BaseLetter):
    """E-mail to the invitee: they have joined."""

    event: Literal["welcome"] = "welcome"
    license: License
    managed: bool = False
    """True if they joined without an answer, through a managed domain (INV-18)."""


class MovedLetter(BaseLetter):
    """E-mail to the invitee: new join links, changed settings and failed items (TRF)."""

    event: Literal["moved"] = "moved"
    links: tuple[Change, ...]
    settings: tuple[Change, ...]
    failed: tuple[Item, ...]
    more_links: int = 0
    """The number of changed links that are not in `links`."""
    hosted: Mapping[str, Hosted] = {}
    """The meetings and webinars of `links`, by id; those deleted meanwhile are missing."""


class LicensesLeftLetter(BaseLetter):
    """E-mail to the target's owner and admins: licenses that have to be assigned again (TRF-3)."""

    guide: ClassVar[Guide | None] = "admin"
    event: Literal["licenses_left"] = "licenses_left"
    account: str
    """The id of the account, for the operators' command."""
    invitee: str
    licenses: tuple[HeldAddon, ...]

    @property
    def commands(self) -> tuple[str, ...]:
        """Return the commands that assign the licenses again."""
        return tuple(
            command(
                *("seatflow", "assign", self.account, license.sku, self.invitee),
                *("--capacity", str(license.capacity), "--by", self.reader.email),
            )
            for license in self.licenses
        )


class SupersededLetter(BaseLetter):
    """E-mail to the inviter: the person has joined another account (INV-14)."""

    guide: ClassVar[Guide | None] = "admin"
    event: Literal["superseded"] = "superseded"
    invitee: str


class AcceptedLetter(BaseLetter):
    """E-mail to the inviter: the person has joined."""

    guide: ClassVar[Guide | None] = "admin"
    event: Literal["accepted"] = "accepted"
    invitee: str
    managed: bool = False
    """True if the person joined without an answer (INV-18)."""


class DeclinedLetter(BaseLetter):
    """E-mail to the inviter: the person declined, optionally with a reason (INV-7)."""

    guide: ClassVar[Guide | None] = "admin"
    event: Literal["declined"] = "declined"
    invitee: str
    reason: OneLine | None = None


class ExpiredLetter(BaseLetter):
    """E-mail to the inviter: the invitation expired without an answer (INV-6)."""

    guide: ClassVar[Guide | None] = "admin"
    event: Literal["expired"] = "expired"
    invitee: str
    expired_at: AwareDatetime


class RevokedLetter(BaseLetter):
    """E-mail to the invitee: the invitation was withdrawn, and its link no longer works (INV-7)."""

    event: Literal["revoked"] = "revoked"
    invited: bool = True
    """False if only the heads-up had been sent (INV-17)."""


class UndeliverableLetter(BaseLetter):
    """E-mail to the inviter: the mail server permanently rejected the address (INV-4)."""

    guide: ClassVar[Guide | None] = "admin"
    event: Literal["undeliverable"] = "undeliverable"
    invitee: str
    answer: OneLine
    """The mail server's reply."""


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
    | RevokedLetter
    | UndeliverableLetter
)


def heads_up_letter(
    invite: Invite, parties: InvitationParties, goes_out_at: AwareDatetime
) -> HeadsUpLetter:
    """Return the notice that the invitation will be sent at `goes_out_at` (INV-17)."""
    return HeadsUpLetter(
        id=f"heads_up.{invite.invitation_id}",
        reader=parties.invitee,
        account_name=parties.account_name,
        contact=parties.inviter.contact,
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
    previewed: Preview | None = None,
) -> InvitationLetter:
    """Return the invitation e-mail with this number, counted from 1."""
    return InvitationLetter(
        id=f"invitation.{number}.{invite.invitation_id}",
        reader=parties.invitee,
        account_name=parties.account_name,
        contact=parties.inviter.contact,
        inviter=parties.inviter.name or parties.inviter.email,
        license=invite.license,
        link=link,
        expires_at=expires_at,
        note=invite.note,
        loses=parties.loses,
        moves=parties.moves,
        stays=_each_once(parties.stays),
        left=parties.left,
        estimate=estimate_of(previewed, parties.left) if previewed else None,
    )


def _each_once(stays: Sequence[Notice]) -> tuple[Notice, ...]:
    """Return the notices without repeated names: a held license and its subscription are one."""
    first = {notice.name or notice.message: notice for notice in reversed(stays)}
    return tuple(notice for notice in stays if first[notice.name or notice.message] is notice)


def invitation_letters(
    invite: Invite, invitation: Invitation, parties: InvitationParties
) -> Iterator[AnyInvitationLetter | AnyCreditLetter]:
    """Yield the e-mails about the last transition of the invitation."""
    letters = _InvitationLetters(invite, invitation, parties)
    match invitation.state:
        case state if state.accepted:
            yield from _acceptance_letters(letters)
        case InvitationState.BLOCKED:
            yield letters.blocked()
        case InvitationState.PENDING if invitation.journal[-1].event == "unblock":
            yield letters.unblocked()
        case InvitationState.DECLINED:
            yield letters.declined()
        case InvitationState.EXPIRED:
            yield letters.expired()
        case InvitationState.UNDELIVERABLE:
            yield letters.undeliverable()
        case InvitationState.REVOKED if letters.reached_invitee or invite.heads_up_days:
            yield letters.revoked()
        case InvitationState.SUPERSEDED:
            yield letters.superseded()


@dataclass(frozen=True)
class _InvitationLetters:
    """The possible e-mails about the last transition of an invitation."""

    invite: Invite
    invitation: Invitation
    parties: InvitationParties

    @property
    def about(self) -> str:
        """Return the transition: an invitation may be blocked again, with another e-mail."""
        return f"{len(self.invitation.journal)}.{self.invite.invitation_id}"

    @property
    def invitee(self) -> Contact:
        """Return the invitee as the inviter knows them."""
        return Contact(email=self.invite.mail_to or self.invite.email, name=self.invite.name)

    @property
    def managed(self) -> bool:
        """Return whether the person joined without an answer (INV-18)."""
        return any(entry.event == "join" for entry in self.invitation.journal)

    def blocked(self) -> BlockedLetter:
        return BlockedLetter(
            id=f"blocked.{self.about}",
            reader=self.parties.invitee,
            account_name=self.parties.account_name,
            contact=self.parties.inviter.contact,
            blockers=self.invitation.blockers,
            expires_at=self.invitation.expires_at,
        )

    def unblocked(self) -> UnblockedLetter:
        return UnblockedLetter(
            id=f"unblocked.{self.about}",
            reader=self.parties.invitee,
            account_name=self.parties.account_name,
            contact=self.parties.inviter.contact,
            expires_at=self.invitation.deadline,
        )

    def declined(self) -> DeclinedLetter:
        return DeclinedLetter(
            id=f"declined.{self.invite.invitation_id}",
            reader=self.parties.inviter,
            account_name=self.parties.account_name,
            contact=self.invitee,
            invitee=self.invite.email,
            reason=self.invitation.journal[-1].note,
        )

    def expired(self) -> ExpiredLetter:
        return ExpiredLetter(
            id=f"expired.{self.invite.invitation_id}",
            reader=self.parties.inviter,
            account_name=self.parties.account_name,
            contact=contact_for(self.parties.inviter, *self.parties.admins),
            invitee=self.invite.email,
            expired_at=self.invitation.journal[-1].at,
        )

    def undeliverable(self) -> UndeliverableLetter:
        return UndeliverableLetter(
            id=f"undeliverable.{self.invite.invitation_id}",
            reader=self.parties.inviter,
            account_name=self.parties.account_name,
            contact=contact_for(self.parties.inviter, *self.parties.admins),
            invitee=self.invite.email,
            answer=self.invitation.journal[-1].note or "",
        )

    @property
    def reached_invitee(self) -> bool:
        """Return whether the invitation e-mail was delivered before."""
        return any(entry.event == "deliver" for entry in self.invitation.journal)

    def revoked(self) -> RevokedLetter:
        return RevokedLetter(
            id=f"revoked.{self.invite.invitation_id}",
            reader=self.parties.invitee,
            account_name=self.parties.account_name,
            contact=self.parties.inviter.contact,
            invited=self.reached_invitee,
        )

    def superseded(self) -> SupersededLetter:
        return SupersededLetter(
            id=f"superseded.{self.invite.invitation_id}",
            reader=self.parties.inviter,
            account_name=self.parties.account_name,
            contact=self.invitee,
            invitee=self.invite.email,
        )

    def welcome(self) -> WelcomeLetter:
        return WelcomeLetter(
            id=f"welcome.{self.invite.invitation_id}",
            reader=self.parties.invitee,
            account_name=self.parties.account_name,
            contact=self.parties.inviter.contact,
            license=self.invite.license,
            managed=self.managed,
        )

    def accepted(self) -> AcceptedLetter:
        return AcceptedLetter(
            id=f"accepted.{self.invite.invitation_id}",
            reader=self.parties.inviter,
            account_name=self.parties.account_name,
            contact=self.invitee,
            invitee=self.invite.email,
            managed=self.managed,
        )

    def transferred(self, amount: Money) -> TransferredLetter:
        return TransferredLetter(
            id=f"transferred.{self.invite.invitation_id}",
            reader=self.parties.invitee,
            account_name=self.parties.account_name,
            contact=self.parties.inviter.contact,
            amount=amount,
            balance=self.parties.credited_balance,
            source=self.parties.former_account,
            invoices=self.parties.paid_invoices,
        )


def _acceptance_letters(
    letters: _InvitationLetters,
) -> Iterator[AnyInvitationLetter | AnyCreditLetter]:
    invite, parties = letters.invite, letters.parties
    yield letters.welcome()
    yield letters.accepted()
    if parties.credited:
        yield letters.transferred(parties.credited)
        yield from credit_letters(invite.invitation_id, parties.credited, parties.invitee, parties)
    if parties.licenses_left:
        yield from _licenses_left_letters(letters)


def _licenses_left_letters(letters: _InvitationLetters) -> Iterator[LicensesLeftLetter]:
    """Yield an e-mail to each owner and admin: licenses to be assigned again (TRF-3)."""
    invite, parties = letters.invite, letters.parties
    for number, admin in enumerate(parties.admins, start=1):
        yield LicensesLeftLetter(
            id=f"licenses_left.{number}.{invite.invitation_id}",
            reader=admin,
            account_name=parties.account_name,
            contact=letters.invitee,
            account=parties.account,
            invitee=invite.email,
            licenses=parties.licenses_left,
        )


def moved_letters(
    run: str, manifest: Manifest, parties: InvitationParties
) -> Iterator[MovedLetter]:
    """Yield an e-mail to the invitee if anything changed or could not be moved (TRF)."""
    hosted, changes = (Item.MEETINGS, Item.WEBINARS), parties.changes
    links = tuple(change for item in hosted for change in changes.get(item, ()))[:LISTED_CHANGES]
    changed = sum(item.changed for item in manifest if item.item in hosted)
    settings = changes.get(Item.SETTINGS, ())
    failed = tuple(item.item for item in manifest if item.status is ItemStatus.FAILED)
    if links or settings or failed:
        yield MovedLetter(
            # After a retry fewer items are missing: the new number sends another e-mail.
            id=f"moved.{len(failed)}.{run}",
            reader=parties.invitee,
            account_name=parties.account_name,
            contact=parties.inviter.contact,
            links=links,
            more_links=max(changed - len(links), 0),
            hosted=parties.hosted,
            settings=settings,
            failed=failed,
        )
