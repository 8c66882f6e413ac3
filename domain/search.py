"""Accounts, users and people as operators search for them."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final, Literal

from pydantic import AwareDatetime

from domain.account import HeldAddon, Plan, Role
from domain.invitation import Invitation
from domain.license import Sku
from domain.model import Value
from domain.money import Money
from domain.refund import Refund, RefundPlan, RefundState

PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 1000

NEAR_MATCHES: Final = 3
"""The maximum number of names that an error suggests."""


class PageRequest(Value):
    """The part of a list to return."""

    limit: int = PAGE_SIZE
    after: str | None = None
    """The last row of the page before."""


class LicenseCount(Value):
    """The base licenses of an account."""

    bought: int
    free: int


class FoundAccount(Value):
    """One account of a page."""

    id: str
    name: str
    plan: Plan
    state: str
    """`open` or `closed`."""
    suspended: bool
    owner: str | None
    """The owner's address; None on a closed account."""
    users: int
    open_invitations: int
    """The invitations into this account that have not ended."""
    base_licenses: LicenseCount
    balance_owed: Money
    """The sum of the open invoices, which credit has not paid (QUO-7)."""
    credit: Money


class AccountPage(Value):
    """A page of the accounts that a query finds, sorted by id."""

    accounts: tuple[FoundAccount, ...]
    total: int
    """The number of accounts on all pages."""
    next_cursor: str | None
    """The id after which the next page begins; None on the last page."""


class SoughtLicense(Value):
    """A license that a user waits for."""

    sku: Sku
    capacity: int | None


class FoundUser(Value):
    """One user of a page, with their licenses."""

    email: str
    name: str | None
    role: Role
    licensed: bool
    addons: tuple[HeldAddon, ...]
    waiting: tuple[SoughtLicense, ...]
    since: AwareDatetime | None
    """None for a user who was imported."""


class UserPage(Value):
    """A page of the users of an account that a query finds, sorted by address."""

    account: str
    users: tuple[FoundUser, ...]
    total: int
    next_cursor: str | None
    """The address after which the next page begins; None on the last page."""


class FoundMembership(Value):
    """An account that a person is or was on."""

    account: str
    name: str
    """The name of the account."""
    role: Role
    since: AwareDatetime | None
    """None for an imported membership."""
    until: AwareDatetime | None
    """None for the present membership."""
    left_by: str | None
    """The reason of the end: `unlink`, `delete` or `invitation`."""


class FoundLicense(Value):
    """A license that a person holds or waits for."""

    account: str
    sku: Sku
    capacity: int | None
    state: Literal["assigned", "waiting"]
    since: AwareDatetime | None
    """None for an imported license."""


class FoundPerson(Value):
    """Everything about one address: accounts, invitations, refunds and licenses."""

    email: str
    name: str | None
    locale: str | None
    accounts: tuple[FoundMembership, ...]
    """The present one last."""
    invitations: tuple[Invitation, ...]
    """The oldest first, without links."""
    refunds: tuple[Refund, ...]
    licenses: tuple[FoundLicense, ...]


class ListedRefund(Value):
    """One refund of a page, with its plan."""

    plan: RefundPlan
    refund: Refund


class RefundPage(Value):
    """A page of refunds, the newest first."""

    refunds: tuple[ListedRefund, ...]
    counts: dict[RefundState, int]
    """The number of refunds in each state, without those of which there are none."""
    next_cursor: str | None
    """The id after which the next page begins; None on the last page."""


def near_matches(typed: str, names: Iterable[str]) -> list[str]:
    """Return the names that were most likely meant, the likeliest first."""
    return get_close_matches(typed.casefold(), names, n=NEAR_MATCHES, cutoff=0.6)


def did_you_mean(names: Iterable[str]) -> str:
    """Return the suggestion that follows the message of an error; empty without names."""
    named = " or ".join(names)
    return f" Did you mean {named}?" if named else ""
