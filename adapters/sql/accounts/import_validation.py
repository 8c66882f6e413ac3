"""Validation of an import file against the store."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from adapters.public_mail import is_public_mail_domain
from adapters.sql.accounts.import_orders import ExistingOrders
from adapters.sql.database.schema import (
    NO_CAPACITY,
    WORKPLACE,
    AccountRow,
    LicensePoolRow,
    MembershipRow,
    PaymentRow,
    SubscriptionRow,
)
from domain.account import FIELDS_ONLY, Account, Meeting, Role, User
from domain.account_file import InputError
from domain.license import imported_count

_LARGEST: Final = 2**63 - 1

_LISTED_RECORDS: Final = 20
"""Records that the error of a changed currency lists."""


def account_errors(
    path: str,
    account: Account,
    known: AccountRow | None,
    current: Mapping[str, str],
    *,
    ordered: ExistingOrders,
    kept: Sequence[str],
) -> Iterator[InputError]:
    """Yield the errors of an account of the file, given the known account.

    `current` has the account of each of its users, `ordered` the orders among the file's lines,
    `kept` the records in the present currency if the account's currency changes.
    """
    yield from _user_errors(path, account, current)
    yield from _domain_errors(path, account)
    counts = ordered.counts(account)
    yield from _owner_errors(path, account, known)
    yield from _currency_errors(path, known, kept)
    yield from _addon_errors(path, account, known, counts)
    if known:
        yield from _account_errors(path, account, known, counts)


def _user_errors(path: str, account: Account, current: Mapping[str, str]) -> Iterator[InputError]:
    for number, user in enumerate(account.users):
        place = f"{path}.users[{number}]"
        if current.get(user.email, account.id) != account.id:
            yield f"{place}.email", f"{user.email} is a user of another account"
        yield from _repeated(f"{place}.meetings", user.meetings)
        yield from _repeated(f"{place}.webinars", user.webinars)


def _addon_errors(
    path: str, account: Account, known: AccountRow | None, ordered: Counter[tuple[str, int]]
) -> Iterator[InputError]:
    """Check that add-ons have a base license (ASG-1), do not stack (ASG-4), and fit the pool."""
    users: dict[str, MembershipRow | User] = {
        user.email: user for user in (known.users if known else ())
    }
    for number, user in enumerate(account.users):
        before = users.get(user.email, user)
        named = user.model_fields_set
        licensed = user.licensed if "licensed" in named else before.licensed
        addons = user.addons if "addons" in named else before.addons
        users[user.email] = user.model_copy(update={"licensed": licensed, "addons": addons})
        if addons and not licensed:
            yield f"{path}.users[{number}].addons", "an add-on needs a base license"
        if len(addons) > len({addon.sku for addon in addons}):
            yield (
                f"{path}.users[{number}].addons",
                "add-ons do not stack: one of each kind for each user",
            )
    held = Counter((addon.sku, addon.capacity) for user in users.values() for addon in user.addons)
    rows = {(row.sku, row.capacity): row for row in (known.pools if known else ())}
    for number, pool in enumerate(account.pools):
        key = pool.sku, pool.capacity
        yield from _pool_errors(
            f"{path}.pools[{number}].bought",
            pool.bought,
            rows.get(key),
            ordered[key],
            (held[key], "assigned"),
        )


def _pool_errors(
    path: str, named: int, pool: LicensePoolRow | None, ordered: int, used: tuple[int, str]
) -> Iterator[InputError]:
    """Check that the pool keeps the licenses in use and those bought by orders (ADD-5)."""
    count, use = used
    bought = named
    if pool:
        bought = imported_count(pool.bought, pool.bought_named, named=named, ordered=ordered).bought
    if bought < count:
        yield path, f"{count} licenses are {use}"
    elif named < ordered:
        yield path, f"{ordered} licenses were bought by its orders"


def _domain_errors(path: str, account: Account) -> Iterator[InputError]:
    """Check that no managed domain is a public mail domain (INV-18)."""
    for number, domain in enumerate(account.managed_domains):
        if is_public_mail_domain(domain):
            yield f"{path}.managed_domains[{number}]", f"{domain} belongs to a public mail service"


def _repeated(path: str, meetings: Sequence[Meeting]) -> Iterator[InputError]:
    for name, times in Counter(meeting.id for meeting in meetings).items():
        if times > 1:
            yield path, f"{name} is listed twice"


def _account_errors(
    path: str, account: Account, known: AccountRow, ordered: Counter[tuple[str, int]]
) -> Iterator[InputError]:
    state = account.state if "state" in account.model_fields_set else known.state
    if known.state == "closed" and state == "open":
        yield f"{path}.state", "a closed account cannot be reopened"
    if state == "closed" and (known.users or account.users):
        yield f"{path}.users", "a closed account has no users"
    if account.licenses is not None:
        used = _licensed(account, known) + known.base_licenses.reserved
        yield from _pool_errors(
            f"{path}.licenses",
            account.licenses,
            known.base_licenses,
            ordered[WORKPLACE, NO_CAPACITY],
            (used, "assigned or reserved"),
        )
    yield from _moved_payments(path, account, known.subscriptions)
    yield from _money_errors(path, account, known)
    yield from _decimal_errors(path, account, known)


def _decimal_errors(path: str, account: Account, known: AccountRow) -> Iterator[InputError]:
    """Check that the amounts that the file does not name fit its currency (QUO-1)."""
    if account.currency == known.currency:
        return
    stored = Account.model_validate(known, from_attributes=True, context=FIELDS_ONLY)
    lines = {line.id for line in account.subscriptions}
    invoices = {invoice.id for invoice in account.invoices}
    kept = stored.model_copy(
        update={
            "currency": account.currency,
            "credit": Decimal(0),
            "subscriptions": tuple(each for each in stored.subscriptions if each.id not in lines),
            "invoices": tuple(each for each in stored.invoices if each.id not in invoices),
        }
    )
    for reason in kept.excess_decimals():
        yield path, reason


def _money_errors(path: str, account: Account, known: AccountRow) -> Iterator[InputError]:
    paid = {payment.id: payment for line in known.subscriptions for payment in line.payments}
    change = account.credit - known.credit_named
    # In another currency, the account has no credit yet.
    same_currency = account.currency == known.currency
    if same_currency and names_other_credit(account, known) and known.credit + change < 0:
        yield f"{path}.credit", f"credit can be reduced by at most {known.credit:f}"
    if known.state == "closed":
        yield from _changed_payments(path, account, paid)


def names_other_credit(account: Account, known: AccountRow) -> bool:
    """Return whether the file names neither the present credit nor the one named before."""
    return "credit" in account.model_fields_set and account.credit not in {
        known.credit,
        known.credit_named,
    }


def _changed_payments(
    path: str, account: Account, paid: Mapping[str, PaymentRow]
) -> Iterator[InputError]:
    for number, line in enumerate(account.subscriptions):
        for place, payment in enumerate(line.payments):
            known = paid.get(payment.id)
            if known and (known.amount, known.method) != (payment.amount, payment.method):
                yield (
                    f"{path}.subscriptions[{number}].payments[{place}]",
                    "the payments of a closed account cannot be changed",
                )


def _owner_errors(path: str, account: Account, known: AccountRow | None) -> Iterator[InputError]:
    """Check that an account with users has exactly one owner after the import."""
    roles = {user.email: user.role for user in (known.users if known else ())}
    roles |= {user.email: user.role.value for user in account.users}
    match sum(role == Role.OWNER for role in roles.values()):
        case 0 if roles:
            yield f"{path}.users", "an account with users has one owner; none would be left"
        case 0 | 1:
            pass
        case _:
            yield (
                f"{path}.users",
                "an account has one owner; name the new role of the present owner",
            )


def _currency_errors(
    path: str, known: AccountRow | None, records: Sequence[str]
) -> Iterator[InputError]:
    """Check that nothing lives in the currency that the file replaces (CRD-4)."""
    if known and records:
        listed = ", ".join(records[:_LISTED_RECORDS])
        more = len(records) - _LISTED_RECORDS
        rest = f" and {more} more" if more > 0 else ""
        yield f"{path}.currency", f"the account has records in {known.currency}: {listed}{rest}"


def _licensed(account: Account, known: AccountRow) -> int:
    licensed = {user.email: user.licensed for user in known.users}
    licensed |= {
        user.email: user.licensed
        for user in account.users
        if "licensed" in user.model_fields_set or user.email not in licensed
    }
    return sum(licensed.values())


def _moved_payments(
    path: str, account: Account, lines: Sequence[SubscriptionRow]
) -> Iterator[InputError]:
    paid_for = {payment.id: line.id for line in lines for payment in line.payments}
    for number, line in enumerate(account.subscriptions):
        for place, payment in enumerate(line.payments):
            if paid_for.get(payment.id, line.id) != line.id:
                yield (
                    f"{path}.subscriptions[{number}].payments[{place}].id",
                    f"{payment.id} was paid for {paid_for[payment.id]}",
                )


def not_storable(path: str, value: object) -> Iterator[InputError]:
    """Yield the values that JSON allows and a database cannot store."""
    match value:
        case dict():
            for name, member in value.items():
                yield from not_storable(f"{path}.{name}".removeprefix("."), member)
                yield from not_storable(path, name)
        case list() | tuple():
            for number, member in enumerate(value):
                yield from not_storable(f"{path}[{number}]", member)
        case str() if "\0" in value or not _encodes(value):
            yield path, "the text has a character that cannot be stored"
        case float() if not math.isfinite(value):
            yield path, "not a finite number"
        case int() if abs(value) > _LARGEST:
            yield path, f"more than {_LARGEST}"


def _encodes(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)
