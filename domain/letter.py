"""E-mails before they are put into words: who reads, what happened, which facts."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from domain.account import HeldAddon
from domain.assignment import AssignmentResult, AssignmentState
from domain.attention import AttentionCase
from domain.invitation import Blocker, Invitation, InvitationState, Invite, License
from domain.license import WITHOUT_ADDON, Sku
from domain.manifest import Change, Item, ItemStatus, Manifest, unfinished
from domain.model import Value
from domain.money import Money
from domain.order import Cycle, Order
from domain.preview import Notice
from domain.refund import PartState, Refund, RefundOrder
from domain.reminder import StaleInvitation
from domain.text import OneLine

NAMED_IN_A_DIGEST = 50
"""How many stale invitations one e-mail names."""


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
    stays: tuple[Notice, ...] = ()
    """What does not move with the invitee, and what to do about it before accepting (TRF-3)."""
    licenses_left: tuple[HeldAddon, ...] = ()
    """The add-on licenses that the invitee held before joining, which stayed behind (TRF-3)."""
    admins: tuple[Reader, ...] = ()
    """Owner and admins of the target account, told of every credit (CRD-2)."""
    credited: Money | None = None
    """What this acceptance credited to the target account, if anything."""
    collection: Literal["autopay", "net_terms"] = "autopay"
    """How the target account uses its credit (CRD-3)."""


class RefundParties(Value):
    """Whom a refund concerns, as the directory knows them now."""

    account_name: str
    """The name of the account that the payee has joined."""
    payee: Reader
    admins: tuple[Reader, ...] = ()
    """Owner and admins of that account, told of every credit (CRD-2)."""
    collection: Literal["autopay", "net_terms"] = "autopay"
    """How that account uses its credit (CRD-3)."""


class OrderParties(Value):
    """Whom an order of licenses concerns, as the directory knows them now."""

    account_name: OneLine
    buyer: Reader
    """Who bought, or the owner of the account when the buyer has left it."""
    holders: tuple[Reader, ...] = ()
    """Who has just lost a license of it (ADD-6, ADD-7)."""


class HolderParties(Value):
    """Whom an assignment concerns, as the directory knows them now."""

    account_name: OneLine
    holders: tuple[Reader, ...]
    """The users who have got or lost a license."""
    asked_by: Reader | None = None
    """The admin who asked; None when the directory does not know them any more."""


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
    expires_at: AwareDatetime | None
    """None while the deadline is paused (BLK-5)."""
    loses: tuple[Notice, ...] = ()
    stays: tuple[Notice, ...] = ()


class ReminderLetter(_Letter):
    """To the invitee: they have not answered yet; blocked, what stands in the way (REM-1)."""

    event: Literal["reminder"] = "reminder"
    inviter: OneLine
    """The inviter's name, or their address when they have none."""
    link: str
    expires_at: AwareDatetime | None
    """None while the deadline is paused (BLK-5)."""
    blockers: tuple[Blocker, ...] = ()
    """Empty where nothing stands in the way."""


class DigestLetter(_Letter):
    """To the inviter: those of their invitations that nobody has answered for long (REM-2)."""

    event: Literal["digest"] = "digest"
    invitations: tuple[StaleInvitation, ...]
    """The longest quiet first; not more than an e-mail should name."""
    more: int = 0
    """How many there are beside those named."""


class HeadsUpLetter(_Letter):
    """To the invitee: an invitation will come, from whom and why (INV-17)."""

    event: Literal["heads_up"] = "heads_up"
    inviter: OneLine
    """The inviter's name, or their address when they have none."""
    goes_out_at: AwareDatetime
    managed: bool = False
    """Whether they may join without being asked (INV-18)."""


class BlockedLetter(_Letter):
    """To the invitee: what stands in the way, and the remedies (BLK-4)."""

    event: Literal["blocked"] = "blocked"
    blockers: tuple[Blocker, ...]
    expires_at: AwareDatetime | None
    """None while the deadline is paused (BLK-5)."""


class UnblockedLetter(_Letter):
    """To the invitee: nothing stands in the way any more; accept again (BLK-4)."""

    event: Literal["unblocked"] = "unblocked"
    link: str
    expires_at: AwareDatetime


class WelcomeLetter(_Letter):
    """To the invitee: they have joined."""

    event: Literal["welcome"] = "welcome"
    license: License
    managed: bool = False
    """Whether they were not asked, because their address is in a managed domain (INV-18)."""


class MovedLetter(_Letter):
    """To the invitee: new join links, settings that changed, what could not be moved (TRF)."""

    event: Literal["moved"] = "moved"
    links: tuple[Change, ...]
    settings: tuple[Change, ...]
    failed: tuple[Item, ...]


class LicensesLeftLetter(_Letter):
    """To the target's owner and admins: assign anew what did not move (TRF-3)."""

    event: Literal["licenses_left"] = "licenses_left"
    invitee: str
    licenses: tuple[HeldAddon, ...]


class SupersededLetter(_Letter):
    """To the inviter: the person has joined another account (INV-14)."""

    event: Literal["superseded"] = "superseded"
    invitee: str


class AcceptedLetter(_Letter):
    """To the inviter: the person has joined."""

    event: Literal["accepted"] = "accepted"
    invitee: str
    managed: bool = False
    """Whether the person was not asked (INV-18)."""


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


class RefundRequestedLetter(_Letter):
    """To the payee: what they chose, the amount, and the two dates (REF-1)."""

    event: Literal["refund_requested"] = "refund_requested"
    amount: Money
    """What goes back to payment methods."""
    arrives_between: tuple[date, date]


class RefundSettledLetter(_Letter):
    """To the payee: the provider says that the money has arrived (REF-2)."""

    event: Literal["refund_settled"] = "refund_settled"
    amount: Money


class RefundOverdueLetter(_Letter):
    """To the payee: later than was promised, and it is being looked after (REF-3)."""

    event: Literal["refund_overdue"] = "refund_overdue"
    amount: Money
    arrives_between: tuple[date, date]
    operators_know: bool = False
    """Whether they are told by e-mail; otherwise they have to look for it."""


class RefundFailedLetter(_Letter):
    """To the payee: it could not be returned; credit or another method (REF-4)."""

    event: Literal["refund_failed"] = "refund_failed"
    amount: Money
    """What is still open."""


class RefundConvertedLetter(_Letter):
    """To the payee: what failed was credited to the account they joined (REF-4, TXT-2)."""

    event: Literal["refund_converted"] = "refund_converted"
    amount: Money


class RefundRetriedLetter(_Letter):
    """To the payee: the provider was asked anew for what had failed (REF-4)."""

    event: Literal["refund_retried"] = "refund_retried"
    amount: Money
    to_another_method: bool = False


class RefundClosedLetter(_Letter):
    """To the payee: the operators gave up what was open, and why (REF-4, TXT-2)."""

    event: Literal["refund_closed"] = "refund_closed"
    amount: Money
    """What was given up."""
    reason: OneLine
    """The operator's words."""
    still_open: Money | None = None
    """What is still on its way."""


class AttentionLetter(_Letter):
    """To the operators: something waits for them (REF-3, REF-4, TRF-1)."""

    event: Literal["attention"] = "attention"
    case: AttentionCase


class TransferredLetter(_Letter):
    """To the invitee: what came of their money was credited to the account they joined (TXT-2)."""

    event: Literal["transferred"] = "transferred"
    amount: Money


class CreditReceivedLetter(_Letter):
    """To the target's owner and admins: exact amount, from whom, where it is used (CRD-2)."""

    event: Literal["credit_received"] = "credit_received"
    amount: Money
    from_whom: OneLine
    """The person who brought it."""
    collection: Literal["autopay", "net_terms"]
    """`autopay`: used for the next invoice by itself; `net_terms`: when an operator says so."""


class OrderedLicenses(Value):
    """What an order is for."""

    order_id: str
    sku: Sku
    capacity: int | None
    quantity: int


class NextPayment(Value):
    """What will be charged when the next cycle begins."""

    amount: Money
    on: date
    """In the account's time zone."""
    cycle: Cycle


class OrderReviewLetter(_Letter):
    """To the buyer: a review waits to be confirmed; nothing is ordered yet (ADD-3)."""

    event: Literal["order_review"] = "order_review"
    order: OrderedLicenses
    due_now: Money
    next_payment: NextPayment
    lapses_at: AwareDatetime


class OrderConfirmedLetter(_Letter):
    """To the buyer: paid, and the licenses are there (ADD-5)."""

    event: Literal["order_confirmed"] = "order_confirmed"
    order: OrderedLicenses
    amount: Money
    """What was charged, to credit and payment methods."""
    next_payment: NextPayment


class OrderRenewedLetter(_Letter):
    """To the buyer: the next cycle is paid (ADD-7)."""

    event: Literal["order_renewed"] = "order_renewed"
    order: OrderedLicenses
    amount: Money
    """What was charged, to credit and payment methods."""
    next_payment: NextPayment


class OrderPaymentFailedLetter(_Letter):
    """To the buyer: declined, and when it is tried again (ADD-4, ADD-7)."""

    event: Literal["order_payment_failed"] = "order_payment_failed"
    order: OrderedLicenses
    amount: Money
    renewal: bool
    """Whether the licenses are there already and go on working."""
    next_try_at: AwareDatetime


class OrderCancelledLetter(_Letter):
    """To the buyer: nothing was paid and nothing will be, or it ends with its term (ADD-6)."""

    event: Literal["order_cancelled"] = "order_cancelled"
    order: OrderedLicenses
    reason: str | None
    """The order's note: why, where it was not the buyer who said so."""
    ends_on: date | None = None
    """The end of the term that was paid for; None where nothing ever was."""


class OrderEndedLetter(_Letter):
    """To the buyer: its licenses are released (ADD-6, ADD-7)."""

    event: Literal["order_ended"] = "order_ended"
    order: OrderedLicenses
    reason: str | None
    """The order's note: its term, declined payments, or the account."""


class LicenseEndedLetter(_Letter):
    """To a user who has lost a license with its order (ADD-6, ADD-7)."""

    event: Literal["license_ended"] = "license_ended"
    sku: Sku
    capacity: int | None


class LicenseAssignedLetter(_Letter):
    """To the user: a license is theirs, effective at once for all their meetings (ASG-3)."""

    event: Literal["license_assigned"] = "license_assigned"
    sku: Sku
    capacity: int | None = None
    """How many participants their meetings have room for now; None for a base license."""


class LicenseReleasedLetter(_Letter):
    """To the user: their license was taken back, effective at once (ASG-3, ADD-7)."""

    event: Literal["license_released"] = "license_released"
    sku: Sku
    without: int | None = None
    """How many they have room for now, where that has changed."""


class LicenseServedLetter(_Letter):
    """To the admin who asked: nobody waits for a license any more (ASG-5)."""

    event: Literal["license_served"] = "license_served"
    sku: Sku
    served: tuple[str, ...]
    """Who waited and was given a license."""
    without: tuple[str, ...] = ()
    """Who waits no longer and was given none."""


Letter = Annotated[
    OrderReviewLetter
    | OrderConfirmedLetter
    | OrderRenewedLetter
    | OrderPaymentFailedLetter
    | OrderCancelledLetter
    | OrderEndedLetter
    | LicenseEndedLetter
    | RefundRequestedLetter
    | RefundSettledLetter
    | RefundOverdueLetter
    | RefundFailedLetter
    | RefundConvertedLetter
    | RefundRetriedLetter
    | RefundClosedLetter
    | AttentionLetter
    | TransferredLetter
    | CreditReceivedLetter
    | LicenseAssignedLetter
    | LicenseReleasedLetter
    | LicenseServedLetter
    | InvitationLetter
    | ReminderLetter
    | DigestLetter
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
    | UndeliverableLetter,
    Field(discriminator="event"),
]


def heads_up_letter(invite: Invite, parties: Parties, goes_out_at: AwareDatetime) -> HeadsUpLetter:
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
    invite: Invite, parties: Parties, *, number: int, link: str, expires_at: AwareDatetime | None
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


def reminder_letter(
    invite: Invite, invitation: Invitation, parties: Parties, *, number: int, link: str
) -> ReminderLetter:
    """The `number`th reminder of this invitation, counted from 1 (REM-1)."""
    return ReminderLetter(
        id=f"reminder.{number}.{invite.invitation_id}",
        reader=parties.invitee,
        account_name=parties.account_name,
        inviter=parties.inviter.name or parties.inviter.email,
        link=link,
        expires_at=invitation.expires_at,
        blockers=invitation.blockers,
    )


def digest_letter(
    reader: Reader, account_name: str, invitations: Sequence[StaleInvitation], *, id: str
) -> DigestLetter:
    """What an inviter is told of their stale invitations, the longest quiet first (REM-2)."""
    return DigestLetter(
        id=id,
        reader=reader,
        account_name=account_name,
        invitations=tuple(invitations[:NAMED_IN_A_DIGEST]),
        more=max(len(invitations) - NAMED_IN_A_DIGEST, 0),
    )


def letters_about(
    invite: Invite, invitation: Invitation, parties: Parties, link: str
) -> tuple[Letter, ...]:
    """Who is told how it stands, and what; each letter has its id.

    `link` is the one that works now.
    """
    return tuple(_letters_about(invite, invitation, parties, link))


def _letters_about(
    invite: Invite, invitation: Invitation, parties: Parties, link: str
) -> Iterator[Letter]:
    run, name, last = invite.invitation_id, parties.account_name, invitation.journal[-1]
    # It may be blocked more than once: the letter about each time is one of its own.
    about = f"{len(invitation.journal)}.{run}"
    match invitation.state:
        case state if state.accepted:
            yield from _about_the_acceptance(invite, invitation, parties)
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


def _about_the_acceptance(
    invite: Invite, invitation: Invitation, parties: Parties
) -> Iterator[Letter]:
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
        yield from _about_the_credit(run, parties.credited, parties)
    if parties.licenses_left:
        yield from _about_the_licenses(invite, parties)
    if not unfinished(invitation.manifest):
        yield from _about_the_move(run, invitation.manifest, parties)


def _about_the_licenses(invite: Invite, parties: Parties) -> Iterator[Letter]:
    """To the target's owner and each admin: what has to be assigned anew (TRF-3)."""
    for number, admin in enumerate(parties.admins, start=1):
        yield LicensesLeftLetter(
            id=f"licenses_left.{number}.{invite.invitation_id}",
            reader=admin,
            account_name=parties.account_name,
            invitee=invite.email,
            licenses=parties.licenses_left,
        )


def _about_the_move(run: str, manifest: Manifest, parties: Parties) -> Iterator[Letter]:
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


def letters_about_the_refund(
    order: RefundOrder,
    refund: Refund,
    parties: RefundParties,
    *,
    decided: Money | None = None,
    operators_know: bool = False,
) -> Iterator[Letter]:
    """What the payee is told of the refund where it stands now (TXT-2).

    `decided` is what an operator has just given up, or had asked for anew.
    """
    moves, name = refund.journal, parties.account_name
    # A refund may fail again after a retry: the letter about each move is one of its own.
    about, payee = f"{len(moves)}.{order.refund_id}", parties.payee
    event = moves[-1].event
    if event in {"submit", "settle", "fall_due", "fail"}:
        yield RefundRequestedLetter(
            id=f"refund_requested.{order.refund_id}",
            reader=payee,
            account_name=name,
            amount=refund.amount,
            arrives_between=order.arrives_between,
        )
    match event:
        case "settle":
            # What was given up may arrive later still, and part by part.
            arrived = sum(part.state is PartState.SUCCEEDED for part in refund.parts)
            yield RefundSettledLetter(
                id=f"refund_settled.{arrived}.{about}",
                reader=payee,
                account_name=name,
                amount=refund.returned,
            )
        case "fall_due":
            yield RefundOverdueLetter(
                id=f"refund_overdue.{about}",
                reader=payee,
                account_name=name,
                amount=refund.amount_open,
                arrives_between=order.arrives_between,
                operators_know=operators_know,
            )
        case "fail":
            yield RefundFailedLetter(
                id=f"refund_failed.{about}", reader=payee, account_name=name, amount=refund.failed
            )
        case "retry" if decided:
            yield RefundRetriedLetter(
                id=f"refund_retried.{about}",
                reader=payee,
                account_name=name,
                amount=decided,
                to_another_method=moves[-1].note is not None,
            )
        case "close" | "resume" if decided:
            yield RefundClosedLetter(
                id=f"refund_closed.{about}",
                reader=payee,
                account_name=name,
                amount=decided,
                reason=moves[-1].note or "",
                still_open=refund.amount_open if refund.amount_open.amount else None,
            )
        case "convert" | "resume" if refund.converted.amount:
            yield RefundConvertedLetter(
                id=f"refund_converted.{about}",
                reader=payee,
                account_name=name,
                amount=refund.converted,
            )
            yield from _about_the_credit(about, refund.converted, parties)


def letters_about_the_order(
    order: Order, parties: OrderParties, *, lapses_at: AwareDatetime | None = None
) -> Iterator[Letter]:
    """What the buyer is told of the order where it stands now, and each who lost a license.

    `lapses_at` is when a review that waits lapses.
    """
    # An order is renewed for years: the letter about each move is one of its own.
    about = f"{len(order.journal)}.{order.order_id}"
    yield from _to_the_buyer(order, parties, about, lapses_at)
    for number, holder in enumerate(parties.holders, start=1):
        yield LicenseEndedLetter(
            id=f"license_ended.{number}.{about}",
            reader=holder,
            account_name=parties.account_name,
            sku=order.sku,
            capacity=order.capacity,
        )


def _to_the_buyer(
    order: Order, parties: OrderParties, about: str, lapses_at: AwareDatetime | None
) -> Iterator[Letter]:
    buyer, name, quote = parties.buyer, parties.account_name, order.quote
    amount = order.invoices[-1].amount if order.invoices else quote.due_now
    ordered = OrderedLicenses(
        order_id=order.order_id, sku=order.sku, capacity=order.capacity, quantity=order.quantity
    )
    coming = NextPayment(amount=quote.then, on=quote.next_billing_date, cycle=order.cycle)
    match order.journal[-1].event:
        case "review" if lapses_at:
            yield OrderReviewLetter(
                id=f"order_review.{about}",
                reader=buyer,
                account_name=name,
                order=ordered,
                due_now=quote.due_now,
                next_payment=coming,
                lapses_at=lapses_at,
            )
        case "activate":
            yield OrderConfirmedLetter(
                id=f"order_confirmed.{about}",
                reader=buyer,
                account_name=name,
                order=ordered,
                amount=amount,
                next_payment=coming,
            )
        case "renew":
            yield OrderRenewedLetter(
                id=f"order_renewed.{about}",
                reader=buyer,
                account_name=name,
                order=ordered,
                amount=amount,
                next_payment=coming,
            )
        case "decline" if next_try_at := order.next_try_at():
            yield OrderPaymentFailedLetter(
                id=f"order_payment_failed.{about}",
                reader=buyer,
                account_name=name,
                order=ordered,
                amount=amount,
                renewal=order.was_paid,
                next_try_at=next_try_at,
            )
        case "lapse" | "give_up" | "cancel":
            yield OrderCancelledLetter(
                id=f"order_cancelled.{about}",
                reader=buyer,
                account_name=name,
                order=ordered,
                reason=order.note,
                ends_on=quote.next_billing_date if order.was_paid else None,
            )
        case "end":
            yield OrderEndedLetter(
                id=f"order_ended.{about}",
                reader=buyer,
                account_name=name,
                order=ordered,
                reason=order.note,
            )


def letters_about_licenses(
    notice: str,
    sku: Sku,
    results: Iterable[AssignmentResult],
    waited: Sequence[AssignmentResult],
    parties: HolderParties,
) -> Iterator[Letter]:
    """What users are told of a license that they have got or lost, and the admin who asked.

    `waited`: those who had to wait, once nobody waits any more. Who waits is not told: the admin
    sees it in the answer to the request, and may never get a license for them.
    """
    readers = {reader.email: reader for reader in parties.holders}
    for number, result in enumerate(results, start=1):
        reader = readers.get(result.email)
        if reader is None:
            continue
        match result.state:
            case AssignmentState.ASSIGNED:
                yield LicenseAssignedLetter(
                    id=f"license_assigned.{number}.{notice}",
                    reader=reader,
                    account_name=parties.account_name,
                    sku=sku,
                    capacity=result.capacity,
                )
            case AssignmentState.RELEASED:
                yield LicenseReleasedLetter(
                    id=f"license_released.{number}.{notice}",
                    reader=reader,
                    account_name=parties.account_name,
                    sku=sku,
                    # With a base license an add-on may be gone as well (ASG-7).
                    without=WITHOUT_ADDON if result.capacity or result.meetings else None,
                )
    if waited and parties.asked_by:
        served = {each.email for each in waited if each.state is AssignmentState.ASSIGNED}
        emails = [each.email for each in waited]
        yield LicenseServedLetter(
            id=f"license_served.{notice}",
            reader=parties.asked_by,
            account_name=parties.account_name,
            sku=sku,
            served=tuple(email for email in emails if email in served),
            without=tuple(email for email in emails if email not in served),
        )


def letters_to_operators(
    address: str, cases: Iterable[AttentionCase], account_name: str
) -> Iterator[AttentionLetter]:
    """One for each case, in English, once as long as it stands."""
    for case in cases:
        yield AttentionLetter(
            id=f"attention.{case.kind}.{case.since:%Y%m%d%H%M%S%f}.{case.id}",
            reader=Reader(email=address),
            account_name=account_name,
            case=case,
        )


def _about_the_credit(
    about: str, amount: Money, parties: Parties | RefundParties
) -> Iterator[Letter]:
    """To the target's owner and each admin: the exact amount, and from whom (CRD-2)."""
    person = parties.invitee if isinstance(parties, Parties) else parties.payee
    for number, admin in enumerate(parties.admins, start=1):
        yield CreditReceivedLetter(
            id=f"credit_received.{number}.{about}",
            reader=admin,
            account_name=parties.account_name,
            amount=amount,
            from_whom=person.name or person.email,
            collection=parties.collection,
        )
