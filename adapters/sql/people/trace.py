"""The trace of a person in the store: the rows that name them, and the records that are theirs.

Rows are found by their texts, in every table and column, so that none is left out when a table
gets a new column.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Table,
    Text,
    TypeDecorator,
    cast,
    false,
    func,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import (
    AccountRow,
    BalanceRow,
    Base,
    BatchPersonRow,
    InvitationRow,
    MembershipRow,
    PersonRow,
    RefundRow,
    TransferRow,
)
from domain.address import normalized
from domain.error import Refused
from domain.person import address_pattern

Key = tuple[Any, ...]
"""The primary key of a row."""


@dataclass
class Trace:
    """The texts that name a person, and the ids of their records."""

    email: str
    addresses: set[str]
    """The normalized address, and those as written, in lower case."""
    keys: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    invitations: list[str] = field(default_factory=list)
    memberships: list[int] = field(default_factory=list)
    refunds: list[str] = field(default_factory=list)
    own_accounts: list[str] = field(default_factory=list)
    """The accounts on which nobody else has ever been."""
    batch_rows: list[tuple[str, int]] = field(default_factory=list)

    def add_name(self, name: str | None) -> None:
        """Add a name, if there is one."""
        if name:
            self.names.add(name)

    @property
    def needles(self) -> set[str]:
        """Return the texts by which rows are found, as they are in columns and in JSON."""
        texts = {*self.addresses, *(key.lower() for key in self.keys)}
        return {*texts, *(json.dumps(text)[1:-1].lower() for text in texts)}


async def trace_of(session: AsyncSession, email: str) -> Trace:
    """Return the trace of the person with this normalized address."""
    trace = Trace(email, {email})
    person = await session.get(PersonRow, email)
    trace.add_name(person.name if person else None)
    invited = select(InvitationRow).where(InvitationRow.email == email)
    for row in await session.scalars(invited.order_by(InvitationRow.invitation_id)):
        trace.invitations.append(row.invitation_id)
        trace.keys.add(row.invitee_key)
        trace.addresses.add((row.ordered.mail_to or email).lower())
        trace.add_name(row.ordered.name)
    # The domain of an address in a file may be written in another way.
    written = func.lower(cast(BatchPersonRow.person, Text)).contains(
        json.dumps(email.rpartition("@")[0])[1:-1] + "@", autoescape=True
    )
    for entry in await session.scalars(select(BatchPersonRow).where(written)):
        if written_as(entry.person.email) == email:
            trace.batch_rows.append((entry.batch_id, entry.position))
            trace.addresses.add(entry.person.email.strip().lower())
            trace.add_name(entry.person.name)
    memberships = (
        await session.execute(
            select(MembershipRow.id, MembershipRow.account_id).where(MembershipRow.email == email)
        )
    ).all()
    trace.memberships = [each.id for each in memberships]
    accounts = sorted({each.account_id for each in memberships})
    shared = await session.scalars(
        select(MembershipRow.account_id).where(
            MembershipRow.account_id.in_(accounts), MembershipRow.email != email
        )
    )
    trace.own_accounts = sorted({*accounts} - {*shared})
    trace.names |= {
        *await session.scalars(select(AccountRow.name).where(AccountRow.id.in_(trace.own_accounts)))
    }
    trace.refunds = [
        *await session.scalars(
            select(RefundRow.refund_id).where(RefundRow.invitation_id.in_(trace.invitations))
        )
    ]
    return trace


@cache
def text_columns(table: Table) -> Sequence[Column[Any]]:
    """Return the columns with texts or documents."""

    def kind(column: Column[Any]) -> object:
        return column.type.impl if isinstance(column.type, TypeDecorator) else column.type

    return [column for column in table.columns if isinstance(kind(column), Text | JSON)]


def is_document(column: Column[Any]) -> bool:
    """Return whether the column has JSON."""
    return isinstance(column.type, TypeDecorator) and isinstance(column.type.impl, JSON)


def _raw(column: Column[Any]) -> ColumnElement[Any]:
    """Return the column; a document is read as it is stored, also one of another release."""
    return type_coerce(column, JSON).label(column.name) if is_document(column) else column


def _named(table: Table, trace: Trace) -> ColumnElement[bool]:
    """Return the condition on rows whose texts name the person."""
    return or_(
        false(),
        *(
            func.lower(cast(column, Text)).contains(needle, autoescape=True)
            for column in text_columns(table)
            for needle in trace.needles
        ),
    )


def _theirs(table: Table, trace: Trace) -> ColumnElement[bool]:
    """Return the condition on rows that belong to a record of the person by its id."""
    found: list[ColumnElement[bool]] = [false()]
    columns = table.columns
    if "invitation_id" in columns:
        found.append(columns.invitation_id.in_(trace.invitations))
    if "membership_id" in columns:
        found.append(columns.membership_id.in_(trace.memberships))
    if "account_id" in columns:
        found.append(columns.account_id.in_(trace.own_accounts))
    if table is AccountRow.__table__:
        found.append(columns.id.in_(trace.own_accounts))
    owners = [*trace.own_accounts, *trace.refunds]
    if table is TransferRow.__table__:
        found += [
            side.endswith(f"/{owner}", autoescape=True)
            for side in (columns.debited, columns.credited)
            for owner in owners
        ]
    if table is BalanceRow.__table__:
        found += [columns.ledger_account.endswith(f"/{owner}", autoescape=True) for owner in owners]
    return or_(*found)


def _names_them(values: Iterable[Any], pattern: re.Pattern[str], trace: Trace) -> bool:
    texts = (
        json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
        for value in values
        if isinstance(value, str | dict | list)
    )
    return any(pattern.search(text) or any(key in text for key in trace.keys) for text in texts)


_THEIRS: Final = "is_theirs"

Rows = Mapping[Table, dict[Key, dict[str, Any]]]
"""The rows of each table by primary key, with the values as they are stored."""


async def rows_about(session: AsyncSession, trace: Trace) -> Rows:
    """Return the rows that name the person or belong to their records, from every table."""
    rows: dict[Table, dict[Key, dict[str, Any]]] = {}
    pattern = address_pattern(trace.addresses)
    for table in Base.metadata.sorted_tables:
        key, theirs = [*table.primary_key], _theirs(table, trace)
        found = await session.execute(
            select(*(_raw(column) for column in table.columns), theirs.label(_THEIRS))
            .where(or_(_named(table, trace), theirs))
            .order_by(*key)
        )
        rows[table] = {
            tuple(row[column.name] for column in key): row
            for row in map(dict, found.mappings())
            # The database may have found the end of a longer address.
            if row.pop(_THEIRS) or _names_them(row.values(), pattern, trace)
        }
    return rows


def written_as(address: str) -> str | None:
    """Return the normalized form of an address as written; None if it is none."""
    try:
        return normalized(address)
    except Refused:
        return None
