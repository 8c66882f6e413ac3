"""Quotes: the value of the unused part of an account's subscriptions, line by line (QUO)."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Literal, Self

from pydantic import AwareDatetime

from domain.account import Account, Instant, Payment, Role, Subscription
from domain.day import to_utc
from domain.model import Value
from domain.money import Money, divided, rounded, total, zero
from domain.policy import Policy
from domain.proration import ProrationTerms, period_days, unused_days, unused_share

Returnable = Callable[[Money], Money]
"""The largest part of an amount that the payment provider can return to a payment method."""


def in_full(amount: Money) -> Money:
    """Return `amount`, for providers that return every amount."""
    return amount


class PaymentShare(Value):
    """One payment's share of the unused value of its line (QUO-3)."""

    payment: str
    method: Literal["card", "bank", "credit"]
    paid: Money
    amount: Money
    """Never more than `paid`."""
    rest: Money | None = None
    """The part of `amount` that the provider cannot return; it becomes credit."""

    def as_returned(self, returnable: Returnable) -> Self:
        """Return the share with its rest; what was paid from credit has none."""
        left = self.amount.minus(returnable(self.amount))
        has_rest = self.method != "credit" and left.amount
        return self.model_copy(update={"rest": left if has_rest else None})

    @property
    def without_rest(self) -> Self:
        """The share as far as the provider can return it."""
        if self.rest is None:
            return self
        return self.model_copy(update={"amount": self.amount.minus(self.rest), "rest": None})

    @property
    def only_rest(self) -> Self:
        """The part of the share that becomes credit."""
        return self.model_copy(update={"amount": self.rest, "rest": None})


class QuoteLine(Value):
    """The value of one subscription's unused time (QUO-1)."""

    subscription: str
    period_start: Instant
    period_end: Instant
    """The end of the half-open period."""
    paid: Money
    unused: Money
    """The unused value, rounded once; the used value is the rest of `paid`."""
    unused_days: int
    period_days: int
    shares: tuple[PaymentShare, ...]
    """`unused` divided among all payments, in file order, to the last minor unit."""


class Quote(Value):
    """The value of an account's unused time at a moment, divided among its payments.

    It is not the account balance, which is the amount owed (QUO-7).
    """

    at: AwareDatetime
    terms: ProrationTerms
    lines: tuple[QuoteLine, ...]
    total: Money

    @property
    def to_methods(self) -> tuple[PaymentShare, ...]:
        """The shares that a refund returns to their payment methods (QUO-3)."""
        returned = (share.without_rest for share in self._shares if share.method != "credit")
        return tuple(share for share in returned if share.amount.amount)

    @property
    def to_credit(self) -> tuple[PaymentShare, ...]:
        """The shares that become credit with any choice: paid from credit, and rests (QUO-3)."""
        credited = (
            share if share.method == "credit" else share.only_rest
            for share in self._shares
            if share.method == "credit" or share.rest
        )
        return tuple(share for share in credited if share.amount.amount)

    @property
    def refundable(self) -> Money:
        """The total that a refund returns to payment methods."""
        return total((share.amount for share in self.to_methods), self.total.currency)

    @property
    def _shares(self) -> tuple[PaymentShare, ...]:
        return tuple(share for line in self.lines for share in line.shares)

    def as_returned(self, returnable: Returnable) -> Self:
        """Return the quote with the rest of each share that the provider cannot return (QUO-3)."""
        lines = tuple(
            line.model_copy(
                update={"shares": tuple(share.as_returned(returnable) for share in line.shares)}
            )
            for line in self.lines
        )
        return self.model_copy(update={"lines": lines})


class RecordedQuote(Value):
    """A quote that was shown and binds while it is valid (QUO-5)."""

    quote: Quote
    valid_until: AwareDatetime
    """In the invitation's time; at exactly this instant the quote no longer binds."""

    def binds(self, at: datetime, now: Quote) -> bool:
        """Return whether the quote binds an answer that was received at `at`.

        `now` is the account's quote at the moment at which the answer is carried out.
        """
        return (
            at < self.valid_until
            and same_lines(self.quote, now)
            and not any(line.unused.amount and _is_over(line, now) for line in self.quote.lines)
        )


def terms_of(policy: Policy, source: Account | None) -> ProrationTerms:
    """Return the proration terms for `source`: those of the policy, in its time zone."""
    return ProrationTerms(
        unit=policy.proration_unit,
        change_day=policy.proration_change_day,
        time_zone=source.time_zone if source else None,
    )


def quote(source: Account, at: datetime, terms: ProrationTerms) -> Quote:
    """Return the value of the unused time of `source` at `at` (QUO-1).

    It is 0 for a line that is free, unpaid or over, and for every line of a closed account.
    """
    lines = tuple(_line(source, subscription, at, terms) for subscription in source.subscriptions)
    value = total((line.unused for line in lines), source.currency)
    return Quote(at=at.astimezone(UTC), terms=terms, lines=lines, total=value)


def empty_quote(at: datetime, terms: ProrationTerms, currency: str) -> Quote:
    """Return the quote of a person who owns no unused value (SRC-3)."""
    return Quote(at=at.astimezone(UTC), terms=terms, lines=(), total=zero(currency))


def binding_quote(
    source: Account, at: datetime, policy: Policy, shown: RecordedQuote | None
) -> RecordedQuote:
    """Return the quote that was shown while it binds, else a new one of this moment (QUO-5)."""
    terms = terms_of(policy, source)
    now = quote(source, at, terms) if source.paid else empty_quote(at, terms, source.currency)
    if shown and shown.binds(at, now):
        return shown
    return RecordedQuote(quote=now, valid_until=at + timedelta(hours=policy.quote_valid_hours))


def same_lines(one: Quote, other: Quote) -> bool:
    """Return whether both were computed from the same periods and payments (QUO-5).

    If not, the earlier quote no longer binds. Invoices, users, the order of the lines and the
    time of the quotes make no difference.
    """
    return _quoted_periods(one) == _quoted_periods(other)


def requires_choice(source: Account | None, invitee: str, quoted: Quote) -> bool:
    """Return whether the invitee must choose refund or transfer to accept (QUO-4)."""
    user = source.user(invitee) if source else None
    owner = user is not None and user.role is Role.OWNER
    return owner and source is not None and source.paid and quoted.total.amount > 0


def _line(
    source: Account, subscription: Subscription, at: datetime, terms: ProrationTerms
) -> QuoteLine:
    start, end = _in_utc(subscription.period_start), _in_utc(subscription.period_end)
    if source.state == "closed":
        # Its subscriptions ended when it closed (SRC-2), and their value was settled then.
        at = to_utc(end, terms.zone)
    payments = subscription.payments
    amounts = [rounded(payment.amount, source.currency) for payment in payments]
    paid = total(amounts, source.currency)
    share = unused_share(start, end, at, terms)
    unused = rounded(Fraction(paid.amount) * share, source.currency)
    return QuoteLine(
        subscription=subscription.id,
        period_start=start,
        period_end=end,
        paid=paid,
        unused=unused,
        unused_days=unused_days(start, end, at, terms),
        period_days=period_days(start, end, terms),
        shares=_shares(payments, amounts, unused),
    )


def _shares(
    payments: tuple[Payment, ...], amounts: list[Money], unused: Money
) -> tuple[PaymentShare, ...]:
    parts = divided(unused, amounts)
    return tuple(
        PaymentShare(payment=payment.id, method=payment.method, paid=paid, amount=part)
        for payment, paid, part in zip(payments, amounts, parts, strict=True)
    )


def _in_utc(instant: datetime | date) -> datetime | date:
    """Return a time in UTC; return a date unchanged."""
    return instant.astimezone(UTC) if isinstance(instant, datetime) else instant


def _is_over(line: QuoteLine, now: Quote) -> bool:
    """Return whether the period of the line has ended: nothing of it is left to settle."""
    return to_utc(line.period_end, now.terms.zone) <= now.at


def _quoted_periods(quoted: Quote) -> dict[str, object]:
    return {
        line.subscription: (
            line.period_start,
            line.period_end,
            line.paid,
            [(share.payment, share.method, share.paid) for share in line.shares],
        )
        for line in quoted.lines
    }
