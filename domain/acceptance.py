"""Decision on one acceptance: the first refusal that applies, or everything that changes.

The facts are read under the locks of the rows concerned, so that the decision still holds
when it is written (INV-11).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from domain.account import Account
from domain.address import domain_of
from domain.blocker import blocked
from domain.business_day import BusinessCalendar, overdue_from
from domain.error import ErrorCode, Refused
from domain.invitation import Blocker, Choice, Invitation, Invite, License, Settlement
from domain.ledger import AccountClosure, Transfer, refund_id_of
from domain.license import buy_base_license
from domain.manifest import initial_manifest, leaving_user, unfinished
from domain.membership import Membership, require_invitable, require_paid
from domain.money import Money, total
from domain.quote import (
    Quote,
    RecordedQuote,
    Returnable,
    in_full,
    quote,
    requires_choice,
    terms_of,
)
from domain.refund import RefundPart, RefundPlan

INVITER_GONE = "The inviter no longer administers the account."
SUPERSEDED = "The person has accepted another invitation."


@dataclass(frozen=True)
class TargetAccount:
    """The account that the person joins, as far as the decision depends on it."""

    id: str
    currency: str
    paid: bool
    suspended: bool
    state: str
    managed_domains: tuple[str, ...]


@dataclass(frozen=True)
class AcceptanceFacts:
    """Everything that the decision depends on."""

    at: datetime
    """The time at which the answer was received."""
    carried_out_at: datetime
    """The time at which it is carried out, possibly after the end of a subscription (QUO-5)."""
    invite: Invite
    accepted: Invitation
    """The record with the event that accepts it, before choice and settlement are added."""
    choice: Choice | None
    shown: RecordedQuote | None
    """The quote that was shown last, if any (QUO-5)."""
    by_managed_domain: bool
    """True if the person joins without a round trip (INV-18)."""
    target: TargetAccount
    membership: Membership | None
    source: Account | None
    """The account that the person is on, with that user only and without its rooms."""
    blockers: tuple[Blocker, ...]
    """The blockers of the owner of `source`; empty for everyone else (SRC-3)."""
    chat_messages: int
    """The person's own messages, on all accounts (TRF-4)."""
    seat_reserved: bool
    free_seats: int
    """The target's base licenses that are neither assigned nor reserved."""
    inviter_administers: bool
    """True while the inviter is an owner or admin of the target account (INV-12)."""
    calendar_of: Callable[[Account], BusinessCalendar]
    returnable: Returnable = in_full
    """The amounts that the payment provider can return."""


@dataclass(frozen=True)
class Closing:
    """The end of a source account that its owner leaves, and of its money (SRC-2)."""

    closure: AccountClosure
    quote: Quote
    source_paid: bool
    """True for a paid account, whose settlement is recorded even without a choice."""
    choice: Choice | None = None
    """None if there was nothing to choose (QUO-4)."""
    settlement: Settlement | None = None
    refund: RefundPlan | None = None

    def transfers(self, prepaid: Money, credit: Money) -> tuple[Transfer, ...]:
        """Return the ledger entries that empty the source account (QUO-3, QUO-6).

        `prepaid` and `credit` are its balances after its orders have ended. The settled value
        is transferred first; the rest of `prepaid` becomes revenue.
        """
        settled = (
            tuple(self.closure.settlement_transfers(self.quote, self.choice)) if self.choice else ()
        )
        transferred = total((transfer.amount for transfer in settled), prepaid.currency)
        rest = Money(amount=prepaid.amount - transferred.amount, currency=prepaid.currency)
        return (*settled, *self.closure.remaining_transfers(rest, credit))


@dataclass(frozen=True)
class Acceptance:
    """Everything that one acceptance changes in the store, beside the membership."""

    record: Invitation
    """The accepted record, with choice, settlement and manifest."""
    complete: bool
    """True if nothing remains to be settled or moved."""
    takes_seat: bool
    """True if a base license of the target is assigned to the person (INV-15)."""
    closing: Closing | None
    """None unless the person owns the source account."""
    changed_accounts: frozenset[str]
    """The accounts whose owners' open invitations check their blockers again (BLK-4)."""

    @property
    def refund(self) -> RefundPlan | None:
        """The refund to request, if any (REF-1)."""
        return self.closing.refund if self.closing else None


def decide_acceptance(facts: AcceptanceFacts) -> Acceptance:
    """Return everything that the acceptance changes, or raise the first refusal that applies.

    The order of refusals: `conflict` (INV-18), `target_not_paid` (INV-12), `already_member`
    (INV-3), `belongs_to_other_account` (SRC-4), `no_seats` (INV-12), `blocked` (BLK-4),
    `choice_required` (QUO-4), `currency_mismatch` (QUO-6), `quote_expired` (QUO-5).
    """
    invite, source = facts.invite, facts.source
    _require_managed(facts)
    require_paid(facts.target)
    require_invitable(invite, facts.membership)
    takes_seat = _takes_seat(facts)
    closing = _close(facts, source) if source and source.owned_by(invite.email) else None
    manifest = initial_manifest(leaving_user(source, invite.email, facts.chat_messages))
    settlement = closing.settlement if closing else None
    record = _with_inviter_noted(facts).model_copy(
        update={
            "choice": closing.choice if closing else None,
            "settlement": settlement,
            "manifest": manifest,
        }
    )
    return Acceptance(
        record=record,
        complete=not settlement and not unfinished(manifest),
        takes_seat=takes_seat,
        closing=closing,
        changed_accounts=frozenset({invite.account, source.id if source else invite.account}),
    )


def _takes_seat(facts: AcceptanceFacts) -> bool:
    """Return whether the person needs a seat, and raise Refused(no_seats) if there is none."""
    licensed = facts.invite.license is License.LICENSED
    if licensed and not facts.seat_reserved and facts.free_seats < 1:
        account = facts.invite.account
        raise Refused(
            ErrorCode.NO_SEATS,
            f"{account} has no free base license. {buy_base_license(account)}",
        )
    return licensed


def _require_managed(facts: AcceptanceFacts) -> None:
    """Raise Refused(conflict) if the person may join only by accepting (INV-18).

    A person joins without a round trip if their address is in a managed domain and they have
    no account, or own a free one that nothing blocks them from leaving.
    """
    if not facts.by_managed_domain:
        return
    email, source = facts.invite.email, facts.source
    managed = domain_of(email) in facts.target.managed_domains
    only_user = source is None or (
        source.owned_by(email) and not source.paid and not facts.blockers
    )
    if not managed or not only_user:
        raise Refused(ErrorCode.CONFLICT, f"{email} must accept the invitation to join.")


def _require_unblocked(blockers: Sequence[Blocker]) -> None:
    """Raise Refused(blocked), with all blockers, if the owner cannot leave (BLK-4)."""
    if blockers:
        raise blocked(blockers)


def _close(facts: AcceptanceFacts, source: Account) -> Closing:
    """Settle the unused value of the source account, and move its credit (QUO)."""
    invite, target, choice = facts.invite, facts.target, facts.choice
    _require_unblocked(facts.blockers)
    quoted = _agreed_quote(facts, source)
    closing = Closing(
        closure=AccountClosure(
            invitation_id=invite.invitation_id,
            source=source.id,
            target=target.id,
            same_currency=source.currency == target.currency,
            at=facts.at,
        ),
        quote=quoted,
        source_paid=source.paid,
    )
    if choice is None or not requires_choice(source, invite.email, quoted):
        return closing
    refunded = choice is Choice.REFUND and quoted.to_methods
    refund = _refund(facts, source, quoted) if refunded else None
    settlement = Settlement(
        kind=choice,
        amount=quoted.total,
        refund_id=refund.refund_id if refund else None,
        arrives_between=refund.arrives_between if refund else None,
    )
    return replace(closing, choice=choice, settlement=settlement, refund=refund)


def _agreed_quote(facts: AcceptanceFacts, source: Account) -> Quote:
    """Return the shown quote while it binds, else the quote of this moment (QUO-5).

    The lines are those at the moment at which the answer is carried out.

    Raise Refused: `choice_required`, `currency_mismatch`, `quote_expired`.
    """
    at, shown, target = facts.at, facts.shown, facts.target
    carried_out_at = max(at, facts.carried_out_at)
    now = quote(source, carried_out_at, terms_of(facts.invite.policy, source))
    void = shown is not None and not shown.binds(at, now)
    quoted = (shown.quote if shown and not void else now).as_returned(facts.returnable)
    if requires_choice(source, facts.invite.email, quoted):
        if facts.choice is None:
            raise Refused(
                ErrorCode.CHOICE_REQUIRED, "Choose what happens to the unused value of the plan."
            )
        if facts.choice is Choice.TRANSFER and target.currency != source.currency:
            raise Refused(
                ErrorCode.CURRENCY_MISMATCH,
                f"{target.id} pays in {target.currency}: choose a refund.",
            )
    if void and source.paid:
        raise Refused(ErrorCode.QUOTE_EXPIRED, "The quote that was shown is no longer valid.")
    return quoted


def _refund(facts: AcceptanceFacts, source: Account, quoted: Quote) -> RefundPlan:
    """Return the refund to request, with its dates by the source account's calendar (REF-1)."""
    invite, at, calendar = facts.invite, facts.at, facts.calendar_of(source)
    window = calendar.arrives_between(invite.policy, at)
    return RefundPlan(
        refund_id=refund_id_of(invite.invitation_id),
        invitation_id=invite.invitation_id,
        source=source.id,
        target=invite.account,
        payee=invite.email,
        locale=invite.locale,
        parts=tuple(
            RefundPart(payment=share.payment, method=share.method, amount=share.amount)
            for share in quoted.to_methods
            if share.method != "credit"
        ),
        requested_at=at,
        arrives_between=window,
        lookups=calendar.first_lookups(invite.policy, at),
        overdue_from=overdue_from(window, source.time_zone),
    )


def _with_inviter_noted(facts: AcceptanceFacts) -> Invitation:
    """Return the accepted record; its journal notes that the inviter has left (INV-12)."""
    if facts.inviter_administers:
        return facts.accepted
    *before, last = facts.accepted.journal
    note = f"{last.note} {INVITER_GONE}" if last.note else INVITER_GONE
    journal = (*before, last.model_copy(update={"note": note}))
    return facts.accepted.model_copy(update={"journal": journal})
