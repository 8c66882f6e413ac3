"""Accounts: the import file, the export and the input of the rules."""

import re
import zoneinfo
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Annotated, Final, Literal, Self, TypeVar

from babel import Locale
from babel.numbers import list_currencies
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    model_validator,
)

from domain.address import is_dns_label, normalized, normalized_domain
from domain.catalog import Catalog
from domain.day import to_utc
from domain.error import ErrorCode, Refused
from domain.money import DecimalText, minor_digits
from domain.text import LOCALE, OneLine

FIELDS_ONLY: Final[dict[str, object]] = {}
"""The validation context in which only single fields are checked, not the account or the file."""

_SUPPORTED_YEARS: Final = range(1900, 3000)
"""Supported years; adding any period of the rules to them does not overflow."""

Day = TypeVar("Day", bound=date)

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def _address(text: str) -> str:
    try:
        return normalized(text)
    except Refused as refused:
        raise ValueError(refused.message) from None


def _domain(name: str) -> str:
    try:
        return normalized_domain(name)
    except Refused as refused:
        raise ValueError(f"invalid domain: {refused.message}") from None


def _vanity_url(text: str) -> str:
    label = text.lower() if text.isascii() else text
    if not is_dns_label(label):
        raise ValueError(
            "a vanity URL is one DNS label: at most 63 letters, digits and hyphens, "
            "and no hyphen at its ends"
        )
    return label


def _once(domains: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(domains))


@cache  # Listing the zones walks through the whole database of them.
def _time_zone(name: str) -> str:
    if name not in zoneinfo.available_timezones():
        raise ValueError(f"unknown time zone {name}; use an IANA name such as Europe/Berlin")
    return name


def _currency(code: str) -> str:
    if code not in list_currencies():
        raise ValueError(f"unknown currency {code}; use an ISO 4217 code such as EUR")
    return code


@cache
def _country(code: str) -> str:
    # CLDR also lists codes that are not countries, such as ZZ for an unknown region.
    if not re.fullmatch("[A-Z]{2}", code) or code not in Locale("en").territories.keys() - {"ZZ"}:
        raise ValueError(f"unknown country {code}; use an ISO 3166 code such as DE")
    return code


def _instant(value: object) -> object:
    if isinstance(value, str) and not _DAY.fullmatch(value):
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is None:
            # Pydantic would accept midnight without a zone as a date.
            raise ValueError("the time has no zone; use a date, or a time with its UTC offset")
        return instant
    return value


def _supported_year(at: Day) -> Day:
    if at.year not in _SUPPORTED_YEARS:
        raise ValueError(
            f"unsupported year {at.year}; "
            f"use one from {_SUPPORTED_YEARS.start} to {_SUPPORTED_YEARS.stop - 1}"
        )
    return at


Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""An id given by another system; it appears in workflow ids, so it holds no personal data."""
ItemId = Annotated[str, Field(min_length=1, max_length=128)]
Address = Annotated[str, AfterValidator(_address)]
Domain = Annotated[str, AfterValidator(_domain)]
VanityUrl = Annotated[str, AfterValidator(_vanity_url)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
Currency = Annotated[str, AfterValidator(_currency)]
Country = Annotated[str, AfterValidator(_country)]
Flag = Annotated[bool, Field(strict=True)]
Language = Annotated[str, Field(pattern=rf"^{LOCALE.pattern}$")]
Count = Annotated[int, Field(ge=0, strict=True)]
Instant = Annotated[
    AwareDatetime | date,
    Field(union_mode="left_to_right"),
    BeforeValidator(_instant),
    AfterValidator(_supported_year),
]
"""A time, or a date, which means 00:00 in the account's time zone."""


class Plan(StrEnum):
    """The plan of an account; an account with any plan but `free` is a paid account."""

    FREE = "free"
    PRO = "pro"
    BUSINESS = "business"


class Role(StrEnum):
    """The role of a user on an account."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"

    @property
    def administers(self) -> bool:
        """Return true for owners and admins, who invite, revoke and buy (INV-1, ADD-2)."""
        return self is not Role.MEMBER


class _Entry(BaseModel):
    """A part of the import file; an unknown member is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Meeting(_Entry):
    """A scheduled meeting or webinar that a user hosts."""

    id: ItemId
    topic: OneLine
    starts_at: Annotated[AwareDatetime, AfterValidator(_supported_year)]
    capacity: int | None = None
    join_url: str | None = None


AddonSku = Literal["large-meeting", "webinar"]
"""The kind of an add-on, as the import file names it (ASG-8)."""


class HeldAddon(BaseModel):
    """An add-on license that a user holds."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sku: AddonSku = "large-meeting"
    capacity: int


class Pool(BaseModel):
    """Add-on licenses of one capacity that the account has bought."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sku: AddonSku = "large-meeting"
    capacity: int
    bought: int = Field(ge=0)


class User(_Entry):
    """A person's membership of an account, with their data."""

    email: Address
    name: OneLine | None = None
    role: Role
    licensed: Flag = False
    locale: Language | None = None
    time_zone: TimeZone | None = None
    settings: dict[str, JsonValue] = {}
    meetings: tuple[Meeting, ...] = ()
    webinars: tuple[Meeting, ...] = ()
    recordings: Count = 0
    contacts: Count = 0
    chat_messages: Count = 0
    addons: tuple[HeldAddon, ...] = ()


class Room(_Entry):
    """A conference room of the account."""

    id: ItemId
    name: OneLine | None = None


class Payment(_Entry):
    """A payment for the current period of a subscription by one method."""

    id: ItemId
    method: Literal["card", "bank", "credit"]
    amount: DecimalText
    refundable: Flag = True


class Subscription(_Entry):
    """A plan or add-on line, paid for the half-open period [start, end)."""

    id: ItemId
    product: OneLine
    kind: Literal["plan", "addon"]
    quantity: int = Field(ge=1, strict=True)
    cycle: Literal["monthly", "annual"]
    period_start: Instant
    period_end: Instant
    cancellation_pending: Flag = False
    discount: DecimalText = Decimal("0.00")
    tax: DecimalText = Decimal("0.00")
    payments: tuple[Payment, ...]


class Invoice(_Entry):
    """An invoice; `amount_due` is the amount still open."""

    id: ItemId
    amount_due: DecimalText
    due_on: Annotated[date, AfterValidator(_supported_year)]
    status: Literal["open", "paid"] = "open"


class PaymentMethod(_Entry):
    """A payment method of an account; methods are charged in the order listed."""

    id: ItemId
    kind: str
    declines: Count = 0


class Account(_Entry):
    """An organization's or one person's account."""

    id: Id
    name: OneLine
    plan: Plan
    currency: Currency
    time_zone: TimeZone
    country: Country
    collection: Literal["autopay", "net_terms"]
    state: Literal["open", "closed"] = "open"
    suspended: Flag = False
    billing_day: int | None = Field(default=None, ge=1, le=31)
    billing_customer: str | None = None
    vanity_url: VanityUrl | None = None
    """The first label of the host of join links, in lower case; no other account has it (TRF-5)."""
    managed_domains: Annotated[tuple[Domain, ...], AfterValidator(_once)] = ()
    """Verified domains, which no other account has.

    People with an address in one of them may join directly (INV-18).
    """
    licenses: Count | None = None
    """Base licenses; None means one for each licensed user."""
    pools: tuple[Pool, ...] = ()
    locked_settings: dict[str, JsonValue] = {}
    credit: DecimalText = Decimal("0.00")
    payment_methods: tuple[PaymentMethod, ...] = ()
    users: tuple[User, ...] = ()
    rooms: tuple[Room, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    invoices: tuple[Invoice, ...] = ()

    @property
    def paid(self) -> bool:
        """Return true unless the plan is `free`, with or without a subscription listed."""
        return self.plan is not Plan.FREE

    @property
    def owner(self) -> User | None:
        """Return the user who owns the account; None on a closed account."""
        return next((user for user in self.users if user.role is Role.OWNER), None)

    def owned_by(self, address: str) -> bool:
        """Return whether that person owns the account: it closes when they leave (SRC-2)."""
        return self.owner is not None and self.owner.email == address

    def user(self, address: str) -> User | None:
        """Return the user with this normalized address, if any."""
        return next((user for user in self.users if user.email == address), None)

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Self:
        _raise_errors(self.errors(), info)
        return self

    def errors(self) -> Iterator[str]:
        """Yield the errors of the account as a whole."""
        yield from _repeated("pool", (f"{pool.sku} {pool.capacity}" for pool in self.pools))
        yield from _repeated("user", (user.email for user in self.users))
        yield from _repeated("room", (room.id for room in self.rooms))
        yield from _repeated("subscription", (line.id for line in self.subscriptions))
        yield from _repeated(
            "payment", (paid.id for line in self.subscriptions for paid in line.payments)
        )
        yield from _repeated("invoice", (invoice.id for invoice in self.invoices))
        yield from _repeated("payment method", (method.id for method in self.payment_methods))
        yield from self.excess_decimals()
        if sum(user.role is Role.OWNER for user in self.users) > 1:
            yield "an account has one owner"
        for line in self.subscriptions:
            if not self._starts_before_end(line):
                yield f"the period of subscription {line.id} ends before it starts"
        licensed = sum(user.licensed for user in self.users)
        if self.licenses is not None and self.licenses < licensed:
            yield f"licenses is {self.licenses}, but {licensed} users are licensed"
        if self.state == "closed" and self.users:
            yield "a closed account has no users"

    def _starts_before_end(self, line: Subscription) -> bool:
        start, end = (to_utc(at, self.time_zone) for at in (line.period_start, line.period_end))
        # The lines of a closed account ended when it closed, perhaps before they began (SRC-2).
        return start < end or self.state == "closed"

    def excess_decimals(self) -> Iterable[str]:
        """Return the amounts with more decimals than the currency has."""
        digits = minor_digits(self.currency)
        amounts = [
            ("credit", self.credit),
            *((f"payment {p.id}", p.amount) for s in self.subscriptions for p in s.payments),
            *((f"discount of {s.id}", s.discount) for s in self.subscriptions),
            *((f"tax of {s.id}", s.tax) for s in self.subscriptions),
            *((f"invoice {i.id}", i.amount_due) for i in self.invoices),
        ]
        return (
            f"{name} has more than {digits} decimals for {self.currency}"
            for name, amount in amounts
            # 0.00 is valid in every currency.
            if amount != amount.quantize(Decimal(1).scaleb(-digits))
        )


class Directory(_Entry):
    """The import file, which `import` reads and `export` writes."""

    catalog: Catalog | None = None
    accounts: tuple[Account, ...]

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Self:
        _raise_errors(self.errors(), info)
        return self

    def errors(self) -> Iterator[str]:
        """Yield the errors that concern more than one account."""
        on_accounts = Counter(
            email for _, email in {(a.id, u.email): None for a in self.accounts for u in a.users}
        )
        repeated = (email for email, times in on_accounts.items() if times > 1)
        yield from file_errors((account.id for account in self.accounts), repeated)


def file_errors(ids: Iterable[str], users: Iterable[str]) -> Iterator[str]:
    """Yield the errors of a file with these accounts, and with users of more than one of them."""
    yield from _repeated("account", ids)
    for email in users:
        yield f"user on more than one account {email} is listed twice"


def unknown_account(name: str) -> Refused:
    """Return the refusal of a request about an account that does not exist."""
    return Refused(ErrorCode.NOT_FOUND, f"There is no account {name}.", account=name)


def _raise_errors(errors: Iterator[str], info: ValidationInfo) -> None:
    if info.context is not FIELDS_ONLY and (found := "; ".join(errors)):
        raise ValueError(found)


def _repeated(kind: str, names: Iterable[str]) -> Iterable[str]:
    return (f"{kind} {name} is listed twice" for name, n in Counter(names).items() if n > 1)
