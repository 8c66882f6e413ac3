"""The built-in directory: accounts and their users, imported and exported."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from itertools import chain, count
from typing import Final, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError
from sqlalchemy import Select, bindparam, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import joinedload, selectinload
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.orm.interfaces import ORMOption

from adapters.sql.accounts.import_addons import take_in_addons
from adapters.sql.accounts.import_ledger import Books, payments_of, same_period
from adapters.sql.accounts.import_orders import Ordered, name_bought, ordered_here
from adapters.sql.accounts.import_validation import mistakes
from adapters.sql.announcement import announce_to
from adapters.sql.database.schema import (
    NO_CAPACITY,
    WORKPLACE,
    AccountRow,
    Base,
    InvoiceRow,
    LicensePoolRow,
    Listed,
    MeetingRow,
    MembershipRow,
    PaymentMethodRow,
    PaymentRow,
    PersonRow,
    RoomRow,
    SubscriptionRow,
    WebinarRow,
)
from adapters.sql.database.transaction import alone, batches, insert_missing, reading, writing
from adapters.sql.licenses.pool import serve_waiting
from adapters.sql.money.catalog import imported_catalog, keep_catalog
from adapters.sql.money.credit import apply_by_itself
from adapters.sql.money.ledger import count_entries, post
from domain.account import (
    Account,
    Directory,
    Invoice,
    Meeting,
    Payment,
    PaymentMethod,
    Role,
    Room,
    Subscription,
    User,
)
from domain.account_file import InputError
from domain.error import ErrorCode, Refused
from domain.ledger import credit_of, prepaid_of

_MERGED: Final = frozenset(
    {
        "addons",
        "credit",
        "licenses",
        "meetings",
        "invoices",
        "payment_methods",
        "payments",
        "pools",
        "rooms",
        "subscriptions",
        "users",
        "webinars",
    }
)
"""What is merged item by item, or follows from the items, rather than set."""

_Item = Room | Subscription | Payment | Invoice | PaymentMethod | Meeting
AnyListed = TypeVar("AnyListed", bound=Listed)

_LISTS: Final = ("payment_methods", "rooms", "subscriptions", "invoices", "pools")
"""What an account may have many of, beside users."""


def _whole(only: str | None = None, lists: Collection[str] = _LISTS) -> Sequence[ORMOption]:
    """Everything that an account of the import file has, or with one of its users only.

    Of its lists those that are named.
    """
    users = AccountRow.users.and_(MembershipRow.email == only) if only else AccountRow.users
    person = selectinload(users).joinedload(MembershipRow.person)
    many = {
        "payment_methods": selectinload(AccountRow.payment_methods),
        "rooms": selectinload(AccountRow.rooms),
        "subscriptions": selectinload(AccountRow.subscriptions).selectinload(
            SubscriptionRow.payments
        ),
        "invoices": selectinload(AccountRow.invoices),
        "pools": selectinload(AccountRow.pools),
    }
    # What there is one of comes along in the same statement; an acceptance loads accounts twice.
    return (
        joinedload(AccountRow.base_licenses),
        joinedload(AccountRow.credit_balance),
        person.selectinload(PersonRow.meetings),
        person.selectinload(PersonRow.webinars),
        selectinload(users).joinedload(MembershipRow.held),
        *(many[name] for name in lists),
    )


async def load_account(session: AsyncSession, account: str, *, only: str | None = None) -> Account:
    """The account as the rules judge it, in this transaction.

    With `only`, that user alone: large accounts have thousands.
    """
    filled = await _filled_lists(session, account)
    row = await session.get_one(
        AccountRow, account, options=_whole(only, filled), populate_existing=True
    )
    for name in set(_LISTS) - filled:
        set_committed_value(row, name, [])
    return Account.model_validate(row, from_attributes=True)


async def _filled_lists(session: AsyncSession, account: str) -> set[str]:
    """The lists that hold anything: most are empty, and each would cost a statement of its own."""
    held = (await session.execute(_what_is_held(), {"account": account})).one()
    return {name for name, is_held in zip(_LISTS, held, strict=True) if is_held}


@cache
def _what_is_held() -> Select[*tuple[bool, ...]]:
    lists = (getattr(AccountRow, name) for name in _LISTS)
    return select(*(held.any() for held in lists)).where(AccountRow.id == bindparam("account"))


class SqlDirectory:
    """Imports and exports accounts."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def import_(self, directory: Directory) -> list[str]:
        """Load all accounts of the file or none; their ids, in the order of the file.

        A known account is updated: what the file names is set, what it does not name
        stays, and so do memberships and money that the engine made. Raises Refused:
        `invalid_input`, with `mistakes`, each a `path` and a `reason`.
        """
        at = datetime.now(UTC)
        async with writing(self._engine) as session:
            await alone(session, "import")
            people = await _people(session, directory)
            ids = [account.id for account in directory.accounts]
            await _lock(session, ids)
            accounts = await _accounts(session, ids)
            homes = await _homes(session, list(people))
            ordered = await ordered_here(session, directory)
            _refuse(mistakes(directory, accounts, homes, ordered))
            owners = _owners(directory, accounts)
            for account in directory.accounts:
                await _take_in(session, accounts.get(account.id), account, people, ordered, at=at)
            _refuse(
                [
                    mistake
                    for number, account in enumerate(directory.accounts)
                    for mistake in await _unsound(session, f"accounts[{number}]", account.id)
                ]
            )
            await announce_to(session, owners, at)
            if directory.catalog is not None:
                await keep_catalog(session, directory.catalog)
        return [account.id for account in directory.accounts]

    async def errors(self, directory: Directory) -> list[InputError]:
        """What would be wrong with an import, given what is known; changes nothing."""
        async with reading(self._engine) as session:
            accounts = await _accounts(session, [account.id for account in directory.accounts])
            homes = await _homes(session, _emails(directory))
            ordered = await ordered_here(session, directory)
            return [*mistakes(directory, accounts, homes, ordered)]

    async def export(self, account: str | None) -> Directory:
        """The whole store or one account, as a file that imports to the same.

        Raises Refused: `not_found`.
        """
        async with reading(self._engine) as session:
            query = select(AccountRow).order_by(AccountRow.id).options(*_whole())
            if account is not None:
                query = query.where(AccountRow.id == account)
            rows = (await session.scalars(query)).all()
            if account is not None and not rows:
                raise Refused(ErrorCode.NOT_FOUND, f"There is no account {account}.")
            catalog = None if account else await imported_catalog(session)
            return Directory(catalog=catalog, accounts=tuple(_exported(row) for row in rows))


def _exported(row: AccountRow) -> Account:
    """The account as a file has it: it has no word for a line that has ended on its own."""
    account = Account.model_validate(row, from_attributes=True)
    if row.state == "closed":
        return account
    over = {line.id for line in row.subscriptions if line.ended is not None}
    lines = tuple(line for line in account.subscriptions if line.id not in over)
    return account.model_copy(update={"subscriptions": lines}) if over else account


def _refuse(mistakes: Iterable[InputError]) -> None:
    found: list[JsonValue] = [{"path": path, "reason": reason} for path, reason in mistakes]
    if found:
        raise Refused(
            ErrorCode.INVALID_INPUT,
            "The file cannot be imported; nothing was.",
            mistakes=found,
        )


async def _unsound(session: AsyncSession, path: str, account: str) -> list[InputError]:
    """What is wrong with the account that came of the file and what was known."""
    try:
        await load_account(session, account)
    except ValidationError as error:
        return [(path, mistake["msg"].removeprefix("Value error, ")) for mistake in error.errors()]
    return []


def _emails(directory: Directory) -> list[str]:
    return sorted({user.email for account in directory.accounts for user in account.users})


async def _people(session: AsyncSession, directory: Directory) -> dict[str, PersonRow]:
    """A locked row for everybody in the file, new ones included."""
    emails = _emails(directory)
    await insert_missing(session, PersonRow, [{"email": email} for email in emails])
    rows: dict[str, PersonRow] = {}
    for some in batches(emails):
        found = await session.scalars(
            select(PersonRow)
            .where(PersonRow.email.in_(some))
            .order_by(PersonRow.email)
            .with_for_update()
            .options(selectinload(PersonRow.meetings), selectinload(PersonRow.webinars))
        )
        rows |= {row.email: row for row in found}
    return rows


async def _lock(session: AsyncSession, ids: Sequence[str]) -> None:
    for account in sorted(ids):
        # One by one: left to itself, the database sorts by its own alphabet.
        await session.get(AccountRow, account, with_for_update=True)


async def _accounts(session: AsyncSession, ids: Sequence[str]) -> dict[str, AccountRow]:
    """The rows of the accounts that are known."""
    rows: dict[str, AccountRow] = {}
    for some in batches(ids):
        found = await session.scalars(
            select(AccountRow)
            .where(AccountRow.id.in_(some))
            .options(*_whole())
            .execution_options(populate_existing=True)
        )
        rows |= {row.id: row for row in found}
    return rows


async def _homes(session: AsyncSession, emails: Sequence[str]) -> dict[str, str]:
    """The account on which each of these people is now."""
    homes: dict[str, str] = {}
    for some in batches(emails):
        found = await session.execute(
            select(MembershipRow.email, MembershipRow.account_id).where(
                MembershipRow.email.in_(some), MembershipRow.until.is_(None)
            )
        )
        homes |= {email: account for email, account in found}
    return homes


def _owners(directory: Directory, accounts: Mapping[str, AccountRow]) -> list[str]:
    """Who owned these accounts before, and who does now: something may block them, or no more."""
    before = {
        user.email for row in accounts.values() for user in row.users if user.role == Role.OWNER
    }
    named = {account.owner.email for account in directory.accounts if account.owner}
    return sorted(before | named)


async def _take_in(
    session: AsyncSession,
    known: AccountRow | None,
    account: Account,
    people: Mapping[str, PersonRow],
    ordered: Ordered,
    *,
    at: datetime,
) -> None:
    """Merge the account, and bring its licenses and its money to what the file says."""
    before = payments_of(known)
    counts = ordered.counts(account)
    account = ordered.without(account)
    row = await _merge_account(session, known, account, people)
    _count_licenses(row.base_licenses, row, account.licenses, counts[WORKPLACE, NO_CAPACITY])
    await session.flush()
    so_far = await count_entries(session, prepaid_of(row.id), credit_of(row.id)) if known else 0
    books = Books(row.id, row.currency, at, count(so_far + 1))
    await post(
        session,
        [
            *books.payments(before, payments_of(row)),
            *books.credit(row, account, known=known is not None),
        ],
    )
    await apply_by_itself(session, row, at)
    await session.flush()
    await take_in_addons(session, row, account, counts, at)
    await serve_waiting(session, row.id, at)


async def _merge_account(
    session: AsyncSession, row: AccountRow | None, account: Account, people: Mapping[str, PersonRow]
) -> AccountRow:
    if row is None:
        pool = LicensePoolRow(bought=0, bought_named=0, assigned=0, reserved=0)
        row = AccountRow(base_licenses=pool, users=[], subscriptions=[], credit_named=Decimal(0))
        session.add(row)
        _set(row, account, type(account).model_fields)
    else:
        _set(row, account, account.model_fields_set)
    _merge(row.payment_methods, account.payment_methods, PaymentMethodRow)
    _merge(row.rooms, account.rooms, RoomRow)
    for invoice in _merge(row.invoices, account.invoices, InvoiceRow):
        invoice.close_if_paid()
    await _merge_subscriptions(session, row, account.subscriptions)
    if row.state == "closed":
        for line in row.subscriptions:
            line.ended = line.period_end
    await _merge_users(session, row, account.users, people)
    return row


async def _merge_subscriptions(
    session: AsyncSession, row: AccountRow, subscriptions: Sequence[Subscription]
) -> None:
    periods = {line.id: line for line in subscriptions}
    for line in row.subscriptions:
        renewed = periods.get(line.id)
        if renewed and row.state == "open" and not same_period(line, renewed):
            await _replace_payments(session, line, renewed)
    lines = _merge(row.subscriptions, subscriptions, lambda: SubscriptionRow(payments=[]))
    for line, subscription in zip(lines, subscriptions, strict=True):
        _merge(line.payments, subscription.payments, PaymentRow)


async def _replace_payments(
    session: AsyncSession, line: SubscriptionRow, renewed: Subscription
) -> None:
    """The payments of a line are those of its current period."""
    named = {payment.id for payment in renewed.payments}
    for payment in [payment for payment in line.payments if payment.id not in named]:
        line.payments.remove(payment)
        await session.delete(payment)


async def _merge_users(
    session: AsyncSession, row: AccountRow, users: Sequence[User], people: Mapping[str, PersonRow]
) -> None:
    known = {membership.email: membership for membership in row.users}
    for user in users:
        if user.email in known and user.role is not Role.OWNER:
            known[user.email].role = user.role
    # Who is no longer the owner goes first: an account never has two.
    await session.flush()
    for user in users:
        membership = known.get(user.email)
        if membership is None:
            membership = MembershipRow(origin="import", licensed=False, chat_before=0)
            membership.person = people[user.email]
            row.users.append(membership)
        _set(membership, user, user.model_fields_set)
        if not membership.licensed:
            membership.licensed_at = None
        _merge(membership.meetings, user.meetings, MeetingRow)
        _merge(membership.webinars, user.webinars, WebinarRow)


def _count_licenses(pool: LicensePoolRow, row: AccountRow, named: int | None, ordered: int) -> None:
    """As many as the file names, else as many as it needs."""
    pool.assigned = sum(user.licensed for user in row.users)
    if named is not None:
        name_bought(pool, named, ordered)
    missing = max(pool.assigned + pool.reserved - pool.bought, 0)
    pool.bought += missing
    pool.bought_named += missing


def _merge(
    rows: list[AnyListed], entries: Sequence[_Item], new: Callable[[], AnyListed]
) -> list[AnyListed]:
    """Set `entries` in `rows`, adding the unknown ones; the rows of the entries.

    Entries take the places that their rows had among the others, in their own order.
    """
    known = {row.id: row for row in rows}
    free = count(max((row.position for row in rows), default=-1) + 1)
    places = sorted(known[entry.id].position for entry in entries if entry.id in known)
    for entry, place in zip(entries, chain(places, free), strict=False):
        if entry.id in known:
            _set(known[entry.id], entry, entry.model_fields_set)
        else:
            rows.append(known.setdefault(entry.id, new()))
            _set(known[entry.id], entry, type(entry).model_fields)
        known[entry.id].position = place
    return [known[entry.id] for entry in entries]


def _set(row: Base, entry: BaseModel, names: Iterable[str]) -> None:
    for name in names:
        if name not in _MERGED:
            setattr(row, name, getattr(entry, name))
