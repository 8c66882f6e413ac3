"""What a purchase does to the world: quotes, charges, pools, e-mails."""

from datetime import datetime
from typing import Protocol

from pydantic import AwareDatetime

from domain.model import Value
from domain.order import BuyLicenses, Order


class OpenOrder(Value):
    """Work out what is due, and keep the draft."""

    order: BuyLicenses
    at: AwareDatetime


class ChargeOrder(Value):
    """Take what is due: credit first, then the payment methods in order (ADD-4)."""

    order: Order
    """As it stands; its last open or failed invoice is charged, or a new one made."""
    at: AwareDatetime


class OrderCharged(Value):
    """What came of it."""

    order: Order
    """The record that is kept: paid, active or payment_failed is for the workflow to take."""
    paid: bool
    failure: str | None = None
    """Why the payment methods declined, in the provider's words."""


class EndTerm(Value):
    """The term is over: reduce or end what was cancelled, or ended without payment."""

    order: Order
    at: AwareDatetime


class TermEnded(Value):
    """The record that is kept, and who lost a license."""

    order: Order
    released: tuple[str, ...] = ()


class KeepOrder(Value):
    """Keep the order as it stands."""

    order: Order


class TellBuyer(Value):
    """Tell the buyer where the order stands, and holders that their license is gone."""

    order: Order
    released: tuple[str, ...] = ()
    at: AwareDatetime


class OrderStore(Protocol):
    """The store, as far as a running purchase needs it."""

    async def quoted(self, order: BuyLicenses, at: datetime) -> Order:
        """The draft with its quote; changes nothing.

        Raises Refused: `not_found`, `not_authorized`, `target_not_paid` (ADD-2).
        """

    async def open(self, order: BuyLicenses, at: datetime) -> Order:
        """Keep the draft; on repeat the record that is kept. Raises Refused as `quoted`."""

    async def keep(self, order: Order) -> Order:
        """Keep `order` unless it is older than what is kept (a shorter journal); what is kept."""

    async def invoice(self, order: Order, at: datetime) -> Order:
        """Make the invoice that is due, once, and reserve credit for it; the record then.

        The first one is the quote's `due_now`; a renewal's is `then`, one for each term.
        """

    async def paid(self, order: Order, charge: object, at: datetime) -> Order:
        """Book the payment, grow the pool (first payment only), list the licenses beside the
        plan, move the next billing date on: one transaction, once per invoice.
        """

    async def term_ended(self, order: Order, at: datetime) -> tuple[Order, tuple[str, ...]]:
        """Reduce the pool to `quantity_then`, or by all of it; who lost a license (ADD-6)."""

    async def require_releasable(
        self, order: Order, quantity: int, release: tuple[str, ...]
    ) -> None:
        """Raises Refused: `assigned_exceeds_quantity` with `holders`, when the pool would have
        fewer licenses than are assigned beside those released.
        """

    async def void(self, order: Order, at: datetime) -> Order:
        """Give up the open invoice; its credit is given back by another entry."""
