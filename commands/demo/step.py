"""The steps of the demo, and the operations and checks that they share."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TypeVar
from urllib.parse import urlsplit

from rich.console import RenderableType

from commands.demo.browser import Browser, Page
from commands.demo.page import Admin, Invitees
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
OTHER_ACCOUNT = "northwind"
OTHER_ADMIN = "nils@northwind.example"
SECOND = timedelta(seconds=1)
CHECK_TIMEOUT = timedelta(seconds=30)
CHECK_INTERVAL = timedelta(milliseconds=50)
RELOAD_INTERVAL = timedelta(milliseconds=200)
"""Between two loads of a page; the portal limits the requests of one client."""

Result = TypeVar("Result")


class StepFailed(Exception):
    """A check of a step that failed."""


@dataclass
class Step:
    """One step of the demo: its title, its code and its outcome."""

    title: str
    play: Callable[[], Awaitable[None]]
    picture: Callable[[], RenderableType | None] = lambda: None
    """Drawing below the title, if any."""
    seconds: float | None = None
    failure: str | None = None

    @property
    def done(self) -> bool:
        """Return True once the step has ended, with success or without."""
        return self.seconds is not None

    @property
    def succeeded(self) -> bool:
        """Return True once the step has ended with all its checks passed."""
        return self.done and self.failure is None


class DemoStack:
    """A running stack, with the operations and checks that several steps need.

    Each check raises StepFailed when it fails.
    """

    def __init__(self, stack: Stack) -> None:
        self.store = stack.store
        self.clients = stack.clients
        self.portal = stack.settings.public_url
        self.invitees = Invitees(stack.clients.invitations, self.portal)
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
        """Invite one person who is not invited yet."""
        people = [Person(email=email, license=license)]
        [row] = await self.clients.invitations.invite(
            account, people, by, heads_up_days=heads_up_days
        )
        expect(row.result == "invited", f"the result for {email} is {row.result}")

    async def pending(
        self,
        email: str,
        license: License = License.BASIC,
        account: str = ACCOUNT,
        by: str = ADMIN,
    ) -> Invitation:
        """Invite one person, and wait until the mail server has accepted the e-mail."""
        await self.invite(email, license, account, by)
        return await self.until(email, InvitationState.PENDING, account)

    async def sign_in(self, email: str, account: str) -> Admin:
        """Sign in by the link of an e-mail, and come to the account's page."""
        browser, path = Browser(self.portal), f"/admin/{account}"
        form = await browser.open(path)
        shows(form, "sign-in", "open")
        shows(await browser.send(form, "/sign-in", email=email), "sign-in", "sent")
        await self.mailed("sign_in", email)
        link = await browser.open(str(self._mailbox.newest(email).link))
        shows(link, "sign-in", "link")
        page = await browser.send(link, urlsplit(link.url).path)
        shows(page, "invitations")
        return Admin(browser, path, page)

    async def reloaded(self, admin: Admin, state: str) -> Page:
        """Reload the page that an admin looks at until it shows that state."""

        async def read() -> Page | None:
            admin.page = await admin.browser.open(admin.page.url)
            return admin.page if admin.page.state == state else None

        return await _poll(read, f"{admin.page.url} did not become {state}", RELOAD_INTERVAL)

    async def until(self, email: str, state: InvitationState, account: str = ACCOUNT) -> Invitation:
        """Return the invitation as soon as it is in that state."""

        async def read() -> Invitation | None:
            invitation = await self.clients.invitations.show(account, email)
            return invitation if invitation.state is state else None

        return await _poll(read, f"the invitation of {email} did not become {state}")

    async def blocked_by(self, email: str, *items: str) -> None:
        """Wait until exactly these items block the invitation."""

        async def read() -> Invitation | None:
            invitation = await self.clients.invitations.show(ACCOUNT, email)
            ids = [item.id for blocker in invitation.blockers for item in blocker.items]
            return invitation if ids == list(items) else None

        await _poll(read, f"{email} was not blocked by exactly {', '.join(items)}")

    async def refund_of(self, accepted: Invitation, state: RefundState) -> Refund:
        """Return the refund of an accepted invitation as soon as it is in that state."""
        refund_id = accepted.settlement.refund_id if accepted.settlement else None
        if refund_id is None:
            raise StepFailed("the acceptance has no refund")

        async def read() -> Refund | None:
            # Its workflow starts shortly after the acceptance.
            with suppress(Refused):
                refund = await self.clients.refunds.show(refund_id)
                return refund if refund.state is state else None
            return None

        return await _poll(read, f"the refund did not become {state}")

    async def order(self, order_id: str, condition: Callable[[Order], bool]) -> Order:
        """Return the order as soon as it meets the condition."""

        async def read() -> Order | None:
            order = await self.clients.orders.show(order_id)
            return order if condition(order) else None

        return await _poll(read, "the order did not change")

    async def pool(self, account: str, sku: Sku, capacity: int | None = None) -> LicensePool:
        """Return the account's licenses of one kind."""
        pools = await self.clients.assignments.licenses(account)
        [pool] = [pool for pool in pools if (pool.sku, pool.capacity) == (sku, capacity)]
        return pool

    async def pool_without_waiters(self, account: str, sku: Sku, capacity: int) -> LicensePool:
        """Return the licenses of one kind once no user waits for one."""

        async def read() -> LicensePool | None:
            pool = await self.pool(account, sku, capacity)
            return None if pool.waiting else pool

        return await _poll(read, "users still wait for a license")

    async def mailed(self, event: str, to: str) -> None:
        """Wait until an e-mail about `event` has arrived at that address."""

        async def read() -> bool | None:
            return self.has_mail(event, to) or None

        await _poll(read, f"{to} got no e-mail about {event}")

    def has_mail(self, event: str, to: str) -> bool:
        """Return True if an e-mail about `event` has arrived at that address."""
        return self.mails(event)[to] > 0

    def mails(self, event: str) -> Counter[str]:
        """Count the e-mails about `event` that have arrived, by address."""
        return Counter(mail.to for mail in self._mailbox.letters() if mail.event == event)

    async def refused(self, code: ErrorCode, request: Awaitable[object]) -> None:
        """Check that a request is refused with that code."""
        try:
            await request
        except Refused as refused:
            expect(refused.code is code, f"the request failed with {refused.code}, not {code}")
        else:
            raise StepFailed(f"the request succeeded; {code} was expected")

    async def account(self, account: str) -> Account:
        """Return the account as it is in the store."""
        [exported] = (await self.store.directory.export(account)).accounts
        return exported

    async def amount_due(self, account: str, invoice_id: str) -> Decimal:
        """Return the open amount of an invoice."""
        invoices = (await self.account(account)).invoices
        [due] = [invoice.amount_due for invoice in invoices if invoice.id == invoice_id]
        return due


def shows(page: Page, name: str, state: str | None = None) -> None:
    """Raise StepFailed unless a page is the one of that name, in that state."""
    expected, found = (200, name, state), (page.status, page.name, page.state)
    expect(found == expected, f"{page.url} shows {found}, not {expected}")


def expect(condition: bool, failure: str) -> None:
    """Raise StepFailed unless the condition holds."""
    if not condition:
        raise StepFailed(failure)


async def _poll(
    read: Callable[[], Awaitable[Result | None]],
    failure: str,
    interval: timedelta = CHECK_INTERVAL,
) -> Result:
    """Return the first result of `read` that is not None. Raise StepFailed on timeout."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT.total_seconds()):
            while True:
                if (result := await read()) is not None:
                    return result
                await asyncio.sleep(interval.total_seconds())
    except TimeoutError:
        raise StepFailed(failure) from None
