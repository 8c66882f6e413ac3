"""What the steps of the story are made of."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TypeVar

from rich.console import RenderableType

from devstack.stack import Stack
from devstack.virtual_clock import VirtualClock
from domain.account import Account
from domain.error import ErrorCode, Refused
from domain.invitation import Invitation, InvitationState, License, Person
from domain.license import LicensePool, Sku
from domain.order import Order
from domain.refund import Refund, RefundState

ACCOUNT = "acme"
ADMIN = "adam@acme.example"
RIVAL = "northwind"
RIVAL_ADMIN = "nils@northwind.example"
SECOND = timedelta(seconds=1)
PATIENCE = timedelta(seconds=30)
LOOK_EVERY = timedelta(milliseconds=50)

Seen = TypeVar("Seen")


class WentWrong(Exception):
    """A step did not do what it should."""


@dataclass
class Step:
    """One step of the story: what is told, and how it went."""

    title: str
    play: Callable[[], Awaitable[None]]
    shown: Callable[[], RenderableType | None] = lambda: None
    """What there is to see below its title, if anything."""
    seconds: float | None = None
    failure: str | None = None

    @property
    def done(self) -> bool:
        """Whether it was played to its end, well or not."""
        return self.seconds is not None

    @property
    def succeeded(self) -> bool:
        """Whether it was played, and did what it should."""
        return self.done and self.failure is None


class Stage:
    """A stack that is up, and what is done and looked for on it again and again.

    Whatever is not as it should be raises WentWrong.
    """

    def __init__(self, stack: Stack) -> None:
        self.store = stack.store
        self.client = stack.clients.invitations
        self.refunds = stack.clients.refunds
        self.orders = stack.clients.orders
        self.licenses = stack.clients.assignments
        self.reminders = stack.clients.reminders
        self.bulk = stack.clients.batches
        self.clock = VirtualClock(stack.temporal)
        self.meeting_domain = stack.settings.meeting_domain
        self.folder = stack.settings.state_folder
        self._mailbox = stack.mailbox

    async def invite(
        self,
        email: str,
        license: License = License.BASIC,
        account: str = ACCOUNT,
        by: str = ADMIN,
        heads_up_days: int = 0,
    ) -> None:
        """Invite one person, who is new to the account."""
        people = [Person(email=email, license=license)]
        [row] = await self.client.invite(account, people, by, heads_up_days=heads_up_days)
        expect(row.result == "invited", f"{email} was {row.result}")

    async def pending(
        self,
        email: str,
        license: License = License.BASIC,
        account: str = ACCOUNT,
        by: str = ADMIN,
    ) -> Invitation:
        """Invite one person, and wait until the mail server has taken the e-mail."""
        await self.invite(email, license, account, by)
        return await self.until(email, InvitationState.PENDING, account)

    async def until(self, email: str, state: InvitationState, account: str = ACCOUNT) -> Invitation:
        """The invitation, as soon as it is in that state."""

        async def look() -> Invitation | None:
            invitation = await self.client.show(account, email)
            return invitation if invitation.state is state else None

        return await _soon(look, f"{email} never was {state}")

    async def blocked_by(self, email: str, *items: str) -> None:
        """Wait until exactly these items block the invitation."""

        async def look() -> Invitation | None:
            invitation = await self.client.show(ACCOUNT, email)
            named = [item.id for blocker in invitation.blockers for item in blocker.items]
            return invitation if named == list(items) else None

        await _soon(look, f"{email} never was blocked by {', '.join(items)} alone")

    async def refund_of(self, accepted: Invitation, state: RefundState) -> Refund:
        """The refund of an accepted invitation, as soon as it is in that state."""
        refund_id = accepted.settlement.refund_id if accepted.settlement else None
        if refund_id is None:
            raise WentWrong("nothing is refunded")

        async def look() -> Refund | None:
            # Its workflow begins a moment after the acceptance.
            with suppress(Refused):
                refund = await self.refunds.show(refund_id)
                return refund if refund.state is state else None
            return None

        return await _soon(look, f"the refund never was {state}")

    async def order(self, order_id: str, stands: Callable[[Order], bool]) -> Order:
        """The order, as soon as it stands so."""

        async def look() -> Order | None:
            order = await self.orders.show(order_id)
            return order if stands(order) else None

        return await _soon(look, "the order does not go on")

    async def pool(self, account: str, sku: Sku, capacity: int | None = None) -> LicensePool:
        """The account's licenses of one kind."""
        pools = await self.licenses.licenses(account)
        [pool] = [pool for pool in pools if (pool.sku, pool.capacity) == (sku, capacity)]
        return pool

    async def served(self, account: str, sku: Sku, capacity: int) -> LicensePool:
        """The licenses of one kind, as soon as nobody waits for one."""

        async def look() -> LicensePool | None:
            pool = await self.pool(account, sku, capacity)
            return None if pool.waiting else pool

        return await _soon(look, "somebody waits for ever")

    async def mailed(self, event: str, to: str) -> None:
        """Wait until an e-mail about `event` has arrived there."""

        async def look() -> bool | None:
            return self.has_mail(event, to) or None

        await _soon(look, f"{to} was never told: {event}")

    def has_mail(self, event: str, to: str) -> bool:
        """Whether an e-mail about `event` has arrived there."""
        return self.mails(event)[to] > 0

    def mails(self, event: str) -> Counter[str]:
        """How many e-mails about `event` have arrived, by address."""
        return Counter(mail.to for mail in self._mailbox.letters() if mail.event == event)

    async def refused(self, code: ErrorCode, answer: Awaitable[object]) -> None:
        """Make sure that an answer is refused with that code."""
        try:
            await answer
        except Refused as refused:
            expect(refused.code is code, f"{refused.code} where {code} was due")
        else:
            raise WentWrong(f"nothing was refused, where {code} was due")

    async def account(self, account: str) -> Account:
        """The account as the store has it now."""
        [exported] = (await self.store.directory.export(account)).accounts
        return exported

    async def due(self, account: str, invoice_id: str) -> Decimal:
        """What is still open of an invoice."""
        invoices = (await self.account(account)).invoices
        [due] = [invoice.amount_due for invoice in invoices if invoice.id == invoice_id]
        return due


def expect(truth: bool, otherwise: str) -> None:
    """Raise WentWrong, saying so, unless it is true."""
    if not truth:
        raise WentWrong(otherwise)


async def _soon(look: Callable[[], Awaitable[Seen | None]], otherwise: str) -> Seen:
    """What `look` sees, as soon as it sees anything."""
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while True:
                if (seen := await look()) is not None:
                    return seen
                await asyncio.sleep(LOOK_EVERY.total_seconds())
    except TimeoutError:
        raise WentWrong(otherwise) from None
