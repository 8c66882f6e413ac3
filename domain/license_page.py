"""The users of an account and their licenses, as the admin's page shows them (ASG)."""

from pydantic import AwareDatetime

from domain.account import HeldAddon, Plan, Role
from domain.license import CAPACITIES, Sku
from domain.model import Value

LISTED_WAITING = 5
"""The users of each pool who wait and are listed; the others are counted."""


class PageOfUsers(Value):
    """The part of an account's users to show."""

    query: str | None = None
    """A part of the name or address, in any case."""
    without_base_license: bool = False
    after: int | None = None
    """The number of the last user of the page before."""


class NamedUser(Value):
    """A user of an account."""

    number: int
    """The id of the membership, which names the user in an address without personal data."""
    email: str
    name: str | None

    @property
    def shown_name(self) -> str:
        """Return the name, or the address of a user without one."""
        return self.name or self.email


class UserOfResult(NamedUser):
    """A user whom the result of a change names."""

    licensed: bool


class Wait(Value):
    """A license that a user waits for."""

    sku: Sku
    capacity: int | None
    since: AwareDatetime
    for_base_license: bool
    """True: the user needs a base license first (ASG-1)."""


class WaitingUser(NamedUser):
    """A user who waits for a license of a pool."""

    wait: Wait


class PoolOverview(Value):
    """A pool with the first users who wait for it."""

    sku: Sku
    capacity: int | None
    """None for base licenses."""
    bought: int
    assigned: int
    reserved: int
    free: int
    waiting: int
    first_waiting: tuple[WaitingUser, ...]
    """In the order in which they are served, at most `LISTED_WAITING`."""

    @property
    def key(self) -> str:
        """Return the name of the pool in the page."""
        return f"{self.sku}-{self.capacity}" if self.capacity else self.sku.value


class LicenseUser(NamedUser):
    """A user with the licenses that they hold and wait for."""

    role: Role
    licensed: bool
    addons: tuple[HeldAddon, ...]
    waits: tuple[Wait, ...]
    """The oldest first."""

    def capacity_of(self, sku: Sku) -> int | None:
        """Return the capacity of the user's add-on of this kind, if any."""
        return next((each.capacity for each in self.addons if each.sku == sku), None)

    def waits_for(self, sku: Sku) -> tuple[Wait, ...]:
        """Return the licenses of this kind that the user waits for."""
        return tuple(each for each in self.waits if each.sku == sku)


class AccountLicenses(Value):
    """The pools of an account."""

    plan: Plan
    changeable: bool
    """False: the account is not paid, suspended or closed, so that nothing can be assigned."""
    pools: tuple[PoolOverview, ...]

    @property
    def skus(self) -> tuple[Sku, ...]:
        """Return the kinds of licenses that the account has, or that users wait for."""
        return tuple(sku for sku in Sku if self.of(sku))

    def of(self, sku: Sku) -> tuple[PoolOverview, ...]:
        """Return the pools of one kind."""
        return tuple(pool for pool in self.pools if pool.sku == sku)

    def sold(self, sku: Sku) -> tuple[int, ...]:
        """Return the capacities of this kind of which the account has licenses."""
        have = {pool.capacity for pool in self.of(sku) if pool.bought}
        return tuple(each for each in CAPACITIES.get(sku, ()) if each in have)

    def free(self, sku: Sku, capacity: int | None = None) -> int:
        """Return the number of free licenses of one pool."""
        return sum(pool.free for pool in self.of(sku) if pool.capacity == capacity)


class LicensePage(Value):
    """One page of users."""

    account: AccountLicenses
    users: tuple[LicenseUser, ...]
    total: int
    """The number of users on all pages."""
    without_base_license: int
    """The number of all users of the account who have none."""
    next_cursor: int | None
    """The number after which the next page begins; None on the last page."""


class UserLicenses(Value):
    """One user, with what the licenses are for."""

    account: AccountLicenses
    user: LicenseUser
    meetings: int
    """The scheduled meetings that the user hosts."""
    webinars: int
