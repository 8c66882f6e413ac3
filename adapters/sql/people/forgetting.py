"""The removal of a person from every row of the store (OPS-9)."""

import secrets
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import JSON, Table, and_, delete, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.change import record_changes
from adapters.sql.database.schema import (
    AccountRow,
    AssignmentRow,
    BalanceRow,
    Base,
    BatchPersonRow,
    BatchRow,
    InvitationRow,
    ManagedDomainRow,
    MeetingRow,
    MembershipRow,
    OrderRow,
    OutboxRow,
    PersonRow,
    RefundRow,
    ReversalRow,
    RoomRow,
    SessionRow,
    SignInLinkRow,
    WebinarRow,
)
from adapters.sql.database.transaction import (
    IMPORT_LOCK,
    advisory_lock,
    advisory_lock_on_invitee,
)
from adapters.sql.membership import current_membership, locked_accounts
from adapters.sql.outbox import replace_workflow
from adapters.sql.people.trace import (
    Key,
    Rows,
    Trace,
    is_document,
    rows_about,
    text_columns,
    trace_of,
)
from domain.assignment import AssignmentState
from domain.author import is_author
from domain.error import ErrorCode, Refused
from domain.journal import INVITEE
from domain.ledger import credit_of, refund_due
from domain.order import OrderState
from domain.person import Forgotten, Redaction, is_pseudonym, pseudonym
from domain.refund import RefundState
from domain.reversal import ReversalKind

_BEFORE_ACCOUNTS: Final = ("invitations", "refunds")
"""Tables whose rows are locked before people and accounts, in this order."""

_BATCHES: Final = Base.metadata.tables[BatchRow.__tablename__]
_INVITATIONS: Final = Base.metadata.tables[InvitationRow.__tablename__]


async def forget_person(session: AsyncSession, email: str, at: datetime, *, by: str) -> Forgotten:
    """Put a pseudonym in the place of the person. Raises Refused: `conflict`."""
    if is_pseudonym(email):
        return Forgotten(forgotten={}, kept={})
    await advisory_lock(session, IMPORT_LOCK)
    await advisory_lock_on_invitee(session, email)
    trace = await trace_of(session, email)
    # SQLite has one writer, and reading all rows takes seconds in a large store.
    if session.get_bind().dialect.name == "postgresql":
        await _lock(session, await rows_about(session, trace), email)
        trace = await trace_of(session, email)
    await _require_forgettable(session, trace)
    about = await rows_about(session, trace)
    await _require_not_inviting(session, about, email)
    forgetting = _Forgetting(session, trace, at)
    forgotten = await forgetting.carry_out(about)
    if forgotten.forgotten:
        await record_changes(session, "forget", [forgetting.pseudonym], by=by, at=at)
    return forgotten


async def _lock(session: AsyncSession, rows: Rows, email: str) -> None:
    """Lock the rows that other transactions replace as a whole, in the order of all locks."""
    by_name = {table.name: (table, some) for table, some in rows.items()}
    for name in _BEFORE_ACCOUNTS:
        table, found = by_name[name]
        key = [*table.primary_key]
        wanted = tuple_(*key).in_([*found])
        await session.execute(select(*key).where(wanted).order_by(*key).with_for_update())
    await session.get(PersonRow, email, with_for_update=True)
    accounts = {
        row["account_id"]
        for some in rows.values()
        for row in some.values()
        if row.get("account_id")
    }
    accounts |= {row["id"] for row in by_name["accounts"][1].values()}
    known = await session.scalars(select(AccountRow.id).where(AccountRow.id.in_(accounts)))
    await locked_accounts(session, known)


async def _require_forgettable(session: AsyncSession, trace: Trace) -> None:
    """Raise Refused(conflict) while the person is on an account, invited, or owed money."""
    email = trace.email
    if current := await current_membership(session, email):
        raise _conflict(f"{email} is a user of {current.account_id}: remove the user first.")
    live = await session.scalar(
        select(InvitationRow).where(InvitationRow.email == email, InvitationRow.ended_at.is_(None))
    )
    if live:
        raise _conflict(
            f"The invitation of {email} into {live.account_id} is {live.state}: "
            "it has to end first."
        )
    waiting = await session.scalar(
        select(BatchPersonRow.batch_id).where(
            tuple_(BatchPersonRow.batch_id, BatchPersonRow.position).in_(trace.batch_rows),
            BatchPersonRow.result.is_(None),
        )
    )
    if waiting:
        raise _conflict(f"The batch {waiting} still has to invite {email}.")
    if owing := await _owing(session, trace):
        raise _conflict(f"{email} is owed money: {owing}.")


async def _require_not_inviting(session: AsyncSession, about: Rows, email: str) -> None:
    """Raise Refused(conflict) while a worker starts invitations that name the person.

    It knows the address, and would write it back.
    """
    batches = [batch_id for (batch_id,) in about[_BATCHES]]
    running = await session.scalar(
        select(BatchPersonRow.batch_id)
        .where(BatchPersonRow.batch_id.in_(batches), BatchPersonRow.result.is_(None))
        .limit(1)
    )
    if running:
        raise _conflict(f"The batch {running}, which names {email}, still has to finish.")
    for row in about[_INVITATIONS].values():
        if row["run_id"] is None and row["ended_at"] is None:
            raise _conflict(
                f"An invitation into {row['account_id']}, which names {email}, is being started: "
                "repeat the command in a few minutes."
            )


async def _owing(session: AsyncSession, trace: Trace) -> str | None:
    """Return what holds money of the person, if anything does."""
    refunds = RefundRow.refund_id.in_(trace.refunds)
    for row in await session.scalars(select(RefundRow).where(refunds)):
        if not row.record.state.finished or row.record.amount_open.amount:
            return f"the refund {row.refund_id} is {row.state}"
    returned = await session.scalar(
        select(ReversalRow.subject).where(
            ReversalRow.kind == ReversalKind.REFUND,
            ReversalRow.subject.in_(trace.refunds),
            ReversalRow.closed_at.is_(None),
        )
    )
    if returned:
        return f"the refund {returned} came back"
    held = [
        *(credit_of(account) for account in trace.own_accounts),
        *(refund_due(refund) for refund in trace.refunds),
    ]
    return await session.scalar(
        select(BalanceRow.ledger_account).where(
            BalanceRow.ledger_account.in_(held), BalanceRow.amount > Decimal(0)
        )
    )


def _conflict(message: str) -> Refused:
    return Refused(ErrorCode.CONFLICT, message)


class _Forgetting:
    """The removal of one person, whose rows are locked."""

    def __init__(self, session: AsyncSession, trace: Trace, at: datetime) -> None:
        self._session = session
        self._trace = trace
        self._at = at
        self._redaction = Redaction(
            pseudonym=pseudonym(secrets.token_hex(8)),
            addresses=frozenset(trace.addresses),
            keys=dict.fromkeys(trace.keys, secrets.token_hex(16)),
            names=frozenset(name for name in trace.names if len(name) > 1),
        )
        self._deleted = defaultdict[str, set[Key]](set)
        self._changed = defaultdict[str, set[Key]](set)

    @property
    def pseudonym(self) -> str:
        """Return the address that takes the place of the person's."""
        return self._redaction.pseudonym

    async def carry_out(self, about: Rows) -> Forgotten:
        """Delete the person's content, and rewrite every row that names them."""
        for table, rows in about.items():
            for key, row in rows.items():
                if self._is_content(table.name, row):
                    await self._delete(table, key)
        await self._replace_person()
        for table, rows in about.items():
            for key, row in rows.items():
                if key not in self._deleted[table.name]:
                    await self._rewrite(table, key, row)
        changed = {name: len(keys) for name, keys in self._changed.items() if keys}
        deleted = {name: len(keys) for name, keys in self._deleted.items() if keys}
        kept = {
            table.name: left
            for table, rows in about.items()
            if (left := len(rows) - deleted.get(table.name, 0))
        }
        names = sorted({*changed, *deleted})
        return Forgotten(
            forgotten={name: changed.get(name, 0) + deleted.get(name, 0) for name in names},
            kept=dict(sorted(kept.items())),
        )

    def _is_content(self, table: str, row: Mapping[str, Any]) -> bool:
        """Return whether the row goes: what the person hosts, has named, or is to be sent."""
        match table:
            case MeetingRow.__tablename__ | WebinarRow.__tablename__:
                return bool(row["host"] == self._trace.email)
            case RoomRow.__tablename__ | ManagedDomainRow.__tablename__:
                return row["account_id"] in self._trace.own_accounts
            case SignInLinkRow.__tablename__ | SessionRow.__tablename__:
                return bool(row["email"] == self._trace.email)
            case OutboxRow.__tablename__:
                return row["letter"] is not None and self._is_about_them(row)
        return False

    def _is_about_them(self, row: Mapping[str, Any]) -> bool:
        """Return whether a letter goes to the person, or is about a record of theirs."""
        reader, subject = row["letter"]["letter"]["reader"], row["workflow_id"]
        return (
            reader["email"].lower() in self._trace.addresses
            or any(subject.endswith(f"/{key}") for key in self._trace.keys)
            or any(subject == f"refund/{refund}" for refund in self._trace.refunds)
        )

    async def _delete(self, table: Table, key: Key) -> None:
        await self._session.execute(delete(table).where(_is_row(table, key)))
        self._deleted[table.name].add(key)

    async def _replace_person(self) -> None:
        """Move the memberships to a person without data, and delete the other."""
        own = MembershipRow.email == self._trace.email
        person = await self._session.get(PersonRow, self._trace.email)
        if person is None:
            return
        if self._trace.memberships:
            self._session.add(PersonRow(email=self._redaction.pseudonym, settings={}))
            await self._session.flush()
            await self._session.execute(
                update(MembershipRow).where(own).values(email=self._redaction.pseudonym)
            )
            self._changed[MembershipRow.__tablename__] |= {
                (each,) for each in self._trace.memberships
            }
            self._changed[PersonRow.__tablename__].add((self._trace.email,))
        await self._session.execute(delete(PersonRow).where(PersonRow.email == self._trace.email))
        if not self._trace.memberships:
            self._deleted[PersonRow.__tablename__].add((self._trace.email,))

    async def _rewrite(self, table: Table, key: Key, row: Mapping[str, Any]) -> None:
        """Update the columns of a row that name the person or have their content."""
        if table.name == PersonRow.__tablename__ and key == (self._trace.email,):
            return
        texts = {column.name: row[column.name] for column in text_columns(table)}
        cleared = {**texts, **self._cleared(table.name, row)}
        redacted = self._redaction.document(cleared)
        assert isinstance(redacted, dict)
        new = {name: value for name, value in redacted.items() if value != texts[name]}
        if table.name == MembershipRow.__tablename__:
            new.pop("email", None)
        if not new:
            return
        values = {
            name: literal(value, JSON) if is_document(table.columns[name]) else value
            for name, value in new.items()
        }
        await self._session.execute(update(table).where(_is_row(table, key)).values(values))
        self._changed[table.name].add(key)
        if workflow_id := _workflow_of(table.name, {**row, **new}):
            await replace_workflow(
                self._session, workflow_id, row.get("account_id") or "", self._at
            )

    def _is_theirs(self, entry: Mapping[str, str]) -> bool:
        return entry["by"] == INVITEE or is_author(entry["by"], self._trace.email)

    def _cleared(self, table: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns of a row of the person's own without what they or others wrote."""
        trace = self._trace
        match table:
            case AccountRow.__tablename__ if row["id"] in trace.own_accounts:
                return {
                    "name": self._redaction.alias,
                    "vanity_url": None,
                    "managed_domains": [],
                    "locked_settings": {},
                }
            case InvitationRow.__tablename__ if row["email"] == trace.email:
                own = {"name": None, "mail_to": None, "note": None, "locale": None}
                journal = [
                    {**entry, "note": None} if self._is_theirs(entry) else entry
                    for entry in row["record"]["journal"]
                ]
                return {
                    "ordered": {**row["ordered"], **own},
                    "record": {**row["record"], "journal": journal, "blockers": []},
                }
            case BatchPersonRow.__tablename__ if (
                row["batch_id"],
                row["position"],
            ) in trace.batch_rows:
                return {"person": {**row["person"], "name": None, "locale": None}}
            case RefundRow.__tablename__ if row["refund_id"] in trace.refunds:
                return {"ordered": {**row["ordered"], "locale": None}}
            case "moved_items":
                # Their number stays, as in the manifest of the invitation.
                blank = {"name": "", "old": None, "new": None}
                return {"changes": [{**change, **blank} for change in row["changes"]]}
        return {}


def _is_row(table: Table, key: Key) -> Any:
    return and_(*(column == part for column, part in zip(table.primary_key, key, strict=True)))


def _workflow_of(table: str, row: Mapping[str, Any]) -> str | None:
    """Return the id of the workflow that runs for this record, if any."""
    match table:
        case InvitationRow.__tablename__ if row["ended_at"] is None and row["run_id"]:
            return f"invitation/{row['account_id']}/{row['invitee_key']}"
        case OrderRow.__tablename__ if not OrderState(row["state"]).final:
            return f"addon/{row['account_id']}/{row['order_id']}"
        case RefundRow.__tablename__ if row["state"] == RefundState.CLOSED:
            return f"watch/{row['refund_id']}"
        case RefundRow.__tablename__ if not RefundState(row["state"]).finished:
            return f"refund/{row['refund_id']}"
        case AssignmentRow.__tablename__ if row["state"] == AssignmentState.WAITING:
            return f"assignment/{row['account_id']}/{row['request_id']}"
    return None
