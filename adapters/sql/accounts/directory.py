"""The built-in directory: import and export of accounts and their users."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain, count
from typing import Final, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import selectinload

from adapters.sql.accounts.import_addons import import_addons
from adapters.sql.accounts.import_currency import kept_currencies
from adapters.sql.accounts.import_ledger import (
    AccountLedger,
    credit_named_in,
    payments_of,
    same_period,
)
from adapters.sql.accounts.import_names import NamesInFile, release_names
from adapters.sql.accounts.import_orders import ExistingOrders, existing_orders
from adapters.sql.accounts.import_validation import account_errors, not_storable
from adapters.sql.change import record_changes
from adapters.sql.database.engine import LONG
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
from adapters.sql.database.transaction import (
    IMPORT_LOCK,
    advisory_lock,
    chunked,
    insert_missing,
    reading,
    writing,
)
from adapters.sql.licenses.counter import pools_of, set_imported
from adapters.sql.licenses.pool import assign_waiting
from adapters.sql.managed_domain import verify_listed_domains
from adapters.sql.membership import as_listed, load_whole_account, require_account, whole_accounts
from adapters.sql.money.catalog import imported_catalog, keep_catalog
from adapters.sql.money.credit import apply_automatically
from adapters.sql.money.ledger import count_entries, post
from adapters.sql.outbox import signal_invitees
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
from domain.account_file import Accounts, AccountsInMemory, InputError, NumberedAccount
from domain.catalog import Catalog
from domain.error import ErrorCode, Refused
from domain.journal import OPERATOR
from domain.ledger import credit_of, prepaid_of
from domain.license import ImportedCount, imported_count

_MERGED: Final = frozenset(
    {
        "addons",
        "amount_due",
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
"""Fields that are merged item by item or derived from the items, and not set."""

_PAGE: Final = 50
"""Accounts that an export has in memory."""

_Item = Room | Subscription | Payment | Invoice | PaymentMethod | Meeting
AnyListed = TypeVar("AnyListed", bound=Listed)


class SqlDirectory:
    """Import and export of accounts."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def import_(self, accounts: Accounts | Directory, *, by: str = OPERATOR) -> list[str]:
        """Import all accounts of the file or none; return their ids in the order of the file.

        In a known account, only the fields that the file names are set; memberships and money
        that the engine created stay. Raises Refused: `invalid_input`, with `mistakes`, each a
        `path` and a `reason`.
        """
        if isinstance(accounts, Directory):
            accounts = AccountsInMemory(accounts)
        at = datetime.now(UTC)
        async with writing(self._engine, LONG) as session:
            await advisory_lock(session, IMPORT_LOCK)
            await _lock_people(session, accounts.addresses)
            await _lock_accounts(session, accounts.ids)
            errors, owners = _StoreErrors(accounts.catalog), set[str]()
            for group in accounts.groups():
                known = await errors.add(session, group)
                named = [account for _, account in group]
                owners.update(_owners(named, known))
                await release_names(session, named, known)
                await _forget_loaded(session)
            _raise_errors(errors.all())
            invalid: list[InputError] = []
            for group in accounts.groups():
                await _import_group(session, group, at=at, by=by)
                invalid += await _invalid_accounts(session, group)
                await _forget_loaded(session)
            _raise_errors(invalid)
            await signal_invitees(session, sorted(owners), at)
            if accounts.catalog is not None:
                await keep_catalog(session, accounts.catalog)
                await record_changes(session, "import", ["catalog"], by=by, at=at)
            for each in accounts.ids:
                await record_changes(session, "import", [each], by=by, at=at, account=each)
        return list(accounts.ids)

    async def errors(self, accounts: Accounts | Directory) -> list[InputError]:
        """Return the errors that an import would report; change nothing."""
        if isinstance(accounts, Directory):
            accounts = AccountsInMemory(accounts)
        errors = _StoreErrors(accounts.catalog)
        async with reading(self._engine, LONG) as session:
            for group in accounts.groups():
                await errors.add(session, group)
                await _forget_loaded(session)
        return errors.all()

    async def export(self, account: str | None) -> Directory:
        """Return what `exporting` returns, in memory."""
        async with self.exporting(account) as (catalog, accounts):
            return Directory(catalog=catalog, accounts=tuple([each async for each in accounts]))

    @asynccontextmanager
    async def exporting(
        self, account: str | None
    ) -> AsyncIterator[tuple[Catalog | None, AsyncIterator[Account]]]:
        """Export the whole store or one account; importing the file restores the same state.

        All accounts are of the same moment; a page of them is in memory. Raises Refused:
        `not_found`.
        """
        async with reading(self._engine, LONG) as session:
            if account is not None:
                await require_account(session, account)
            catalog = None if account else await imported_catalog(session)
            yield catalog, _exported(session, account)


async def _exported(session: AsyncSession, account: str | None) -> AsyncIterator[Account]:
    """Yield one account or all, by id."""
    ids: Sequence[str] = [account] if account else await _ids(session)
    for start in range(0, len(ids), _PAGE):
        page = whole_accounts().where(AccountRow.id.in_(ids[start : start + _PAGE]))
        for row in await session.scalars(page):
            yield as_listed(row)
        session.expunge_all()


async def _ids(session: AsyncSession) -> Sequence[str]:
    return (await session.scalars(select(AccountRow.id).order_by(AccountRow.id))).all()


class _StoreErrors:
    """The errors of a file against the store, found group by group."""

    def __init__(self, catalog: Catalog | None) -> None:
        self._of_accounts: list[InputError] = []
        self._names = NamesInFile()
        self._not_storable = list(
            not_storable("catalog", catalog.model_dump()) if catalog is not None else ()
        )

    async def add(
        self, session: AsyncSession, group: Sequence[NumberedAccount]
    ) -> dict[str, AccountRow]:
        """Check some accounts; return the rows of those that are known."""
        named = [account for _, account in group]
        known = await _known_accounts(session, [account.id for account in named])
        current = await _current_accounts(session, _emails(named))
        ordered = await existing_orders(session, named)
        kept = await kept_currencies(session, named, known, ordered)
        await self._names.add(session, group)
        for number, account in group:
            path, row = f"accounts[{number}]", known.get(account.id)
            self._of_accounts += account_errors(
                path, account, row, current, ordered=ordered, kept=kept.get(account.id, ())
            )
            self._not_storable += not_storable(path, account.model_dump())
        return known

    def all(self) -> list[InputError]:
        """Return the errors of the accounts added."""
        return [*self._of_accounts, *self._names.errors(), *self._not_storable]


async def _forget_loaded(session: AsyncSession) -> None:
    """Write the changes, and release the memory of the rows."""
    await session.flush()
    session.expunge_all()


async def _import_group(
    session: AsyncSession, group: Sequence[NumberedAccount], *, at: datetime, by: str
) -> None:
    named = [account for _, account in group]
    people = await _people(session, _emails(named))
    known = await _known_accounts(session, [account.id for account in named])
    ordered = await existing_orders(session, named)
    for account in named:
        await _import_account(
            session, known.get(account.id), account, people, ordered, at=at, by=by
        )


def _raise_errors(errors: Iterable[InputError]) -> None:
    found: list[JsonValue] = [{"path": path, "reason": reason} for path, reason in errors]
    if found:
        raise Refused(
            ErrorCode.INVALID_INPUT,
            "The file cannot be imported; nothing was changed.",
            mistakes=found,
        )


async def _invalid_accounts(
    session: AsyncSession, group: Sequence[NumberedAccount]
) -> list[InputError]:
    """Return the errors of the accounts that result from the import."""
    found: list[InputError] = []
    for number, account in group:
        try:
            await load_whole_account(session, account.id)
        except ValidationError as error:
            reasons = [each["msg"].removeprefix("Value error, ") for each in error.errors()]
            found += [(f"accounts[{number}]", reason) for reason in reasons]
    return found


def _emails(accounts: Iterable[Account]) -> list[str]:
    return sorted({user.email for account in accounts for user in account.users})


async def _lock_people(session: AsyncSession, emails: Sequence[str]) -> None:
    """Insert the people who are new to the store, and lock the rows of all."""
    for some in chunked(emails):
        await insert_missing(session, PersonRow, [{"email": email} for email in some])
    for some in chunked(emails):
        await session.execute(
            select(PersonRow.email)
            .where(PersonRow.email.in_(some))
            .order_by(PersonRow.email)
            .with_for_update()
        )


async def _people(session: AsyncSession, emails: Sequence[str]) -> dict[str, PersonRow]:
    """Return the rows of these people."""
    rows: dict[str, PersonRow] = {}
    for some in chunked(emails):
        found = await session.scalars(
            select(PersonRow)
            .where(PersonRow.email.in_(some))
            .options(selectinload(PersonRow.meetings), selectinload(PersonRow.webinars))
        )
        rows |= {row.email: row for row in found}
    return rows


async def _lock_accounts(session: AsyncSession, ids: Sequence[str]) -> None:
    known: list[str] = []
    for some in chunked(ids):
        known += await session.scalars(select(AccountRow.id).where(AccountRow.id.in_(some)))
    for account in sorted(known):
        # One by one, because the database may sort by another collation.
        await session.execute(
            select(AccountRow.id).where(AccountRow.id == account).with_for_update()
        )


async def _known_accounts(session: AsyncSession, ids: Sequence[str]) -> dict[str, AccountRow]:
    """Return the rows of the accounts that exist."""
    rows: dict[str, AccountRow] = {}
    for some in chunked(ids):
        found = await session.scalars(whole_accounts().where(AccountRow.id.in_(some)))
        rows |= {row.id: row for row in found}
    return rows


async def _current_accounts(session: AsyncSession, emails: Sequence[str]) -> dict[str, str]:
    """Return the account on which each of these people is now."""
    current: dict[str, str] = {}
    for some in chunked(emails):
        found = await session.execute(
            select(MembershipRow.email, MembershipRow.account_id).where(
                MembershipRow.email.in_(some), MembershipRow.until.is_(None)
            )
        )
        current |= {email: account for email, account in found}
    return current


def _owners(named: Sequence[Account], known: Mapping[str, AccountRow]) -> set[str]:
    """Return the previous and the new owners of these accounts, whose blockers may have changed."""
    before = {user.email for row in known.values() for user in row.users if user.role == Role.OWNER}
    return before | {account.owner.email for account in named if account.owner}


async def _import_account(
    session: AsyncSession,
    known: AccountRow | None,
    account: Account,
    people: Mapping[str, PersonRow],
    ordered: ExistingOrders,
    *,
    at: datetime,
    by: str,
) -> None:
    """Merge the account of the file, with its licenses and money, into the store."""
    before = payments_of(known)
    counts = ordered.counts(account)
    account = ordered.without(account)
    row = await _merge_account(session, known, account, people)
    if "managed_domains" in account.model_fields_set:
        await session.flush()
        await verify_listed_domains(session, row, at)
    await _import_base_licenses(session, row, account.licenses, counts[WORKPLACE, NO_CAPACITY])
    posted = await count_entries(session, prepaid_of(row.id), credit_of(row.id)) if known else 0
    ledger = AccountLedger(row.id, row.currency, at, count(posted + 1))
    await post(
        session,
        [
            *ledger.payments(before, payments_of(row)),
            *ledger.credit(row, account, known=known is not None),
        ],
        by=by,
    )
    await apply_automatically(session, row, at)
    await import_addons(session, row, account, counts, at)
    await assign_waiting(session, row.id, at)
    # The ledger's statements have changed the balance, and pools may have been inserted; neither
    # is in the objects of the session. The counters of loaded pools are.
    session.expire(row, ["credit_balance", "pools"])


async def _merge_account(
    session: AsyncSession, row: AccountRow | None, account: Account, people: Mapping[str, PersonRow]
) -> AccountRow:
    if row is None:
        pool = LicensePoolRow(bought=0, bought_named=0, assigned=0, reserved=0)
        row = AccountRow(base_licenses=pool, users=[], subscriptions=[], credit_named=Decimal(0))
        _set_fields(row, account, type(account).model_fields)
        session.add(row)
    else:
        if account.currency != row.currency:
            # The credit named before was in another currency, and has been used.
            row.credit_named = await credit_named_in(session, row.id, account.currency)
        _set_fields(row, account, account.model_fields_set)
    _merge_items(row.payment_methods, account.payment_methods, PaymentMethodRow)
    _merge_items(row.rooms, account.rooms, RoomRow)
    invoices = _merge_items(row.invoices, account.invoices, InvoiceRow)
    for invoice, named in zip(invoices, account.invoices, strict=True):
        invoice.apply_imported_amount(named.amount_due)
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
            await _remove_earlier_payments(session, line, renewed)
    lines = _merge_items(row.subscriptions, subscriptions, lambda: SubscriptionRow(payments=[]))
    for line, subscription in zip(lines, subscriptions, strict=True):
        _merge_items(line.payments, subscription.payments, PaymentRow)


async def _remove_earlier_payments(
    session: AsyncSession, line: SubscriptionRow, renewed: Subscription
) -> None:
    """Remove the payments of the previous period, which the file no longer names."""
    named = {payment.id for payment in renewed.payments}
    for payment in [payment for payment in line.payments if payment.id not in named]:
        line.payments.remove(payment)
        await session.delete(payment)


async def _merge_users(
    session: AsyncSession, row: AccountRow, users: Sequence[User], people: Mapping[str, PersonRow]
) -> None:
    known = {membership.email: membership for membership in row.users}
    for user in users:
        membership = known.get(user.email)
        if membership and membership.role == Role.OWNER and user.role is not Role.OWNER:
            # At once, because the database refuses a second owner even for a moment.
            await session.execute(
                update(MembershipRow)
                .where(MembershipRow.id == membership.id)
                .values(role=user.role)
            )
    for user in users:
        membership = known.get(user.email)
        if membership is None:
            membership = MembershipRow(origin="import", licensed=False, chat_before=0, held=[])
            membership.person = people[user.email]
            row.users.append(membership)
        _set_fields(membership, user, user.model_fields_set)
        if not membership.licensed:
            membership.licensed_at = None
        _merge_items(membership.meetings, user.meetings, MeetingRow)
        _merge_items(membership.webinars, user.webinars, WebinarRow)


async def _import_base_licenses(
    session: AsyncSession, row: AccountRow, named: int | None, ordered: int
) -> None:
    """Set the base licenses to the number that the file names, at least to those in use."""
    pool = (await pools_of(session, row.id))[WORKPLACE, NO_CAPACITY]
    count = ImportedCount(bought=pool.bought, named=pool.bought_named)
    if named is not None:
        count = imported_count(pool.bought, pool.bought_named, named=named, ordered=ordered)
    assigned = sum(user.licensed for user in row.users)
    missing = max(assigned + pool.reserved - count.bought, 0)
    enough = ImportedCount(bought=count.bought + missing, named=count.named + missing)
    await set_imported(session, pool, enough, assigned)


def _merge_items(
    rows: list[AnyListed], entries: Sequence[_Item], new: Callable[[], AnyListed]
) -> list[AnyListed]:
    """Set `entries` in `rows`, adding unknown ones; return the rows of the entries.

    The entries take the positions of their rows, in the order of the file.
    """
    known = {row.id: row for row in rows}
    free = count(max((row.position for row in rows), default=-1) + 1)
    positions = sorted(known[entry.id].position for entry in entries if entry.id in known)
    for entry, position in zip(entries, chain(positions, free), strict=False):
        if entry.id in known:
            _set_fields(known[entry.id], entry, entry.model_fields_set)
        else:
            rows.append(known.setdefault(entry.id, new()))
            _set_fields(known[entry.id], entry, type(entry).model_fields)
        known[entry.id].position = position
    return [known[entry.id] for entry in entries]


def _set_fields(row: Base, entry: BaseModel, names: Iterable[str]) -> None:
    for name in names:
        if name not in _MERGED:
            setattr(row, name, getattr(entry, name))
