"""The store: all adapters over one database."""

from collections.abc import AsyncIterator
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.accounts.directory import SqlDirectory
from adapters.sql.accounts.license_page import SqlLicensePages
from adapters.sql.accounts.managed_domain import SqlManagedDomains
from adapters.sql.accounts.remedy import SqlRemedies
from adapters.sql.accounts.search import SqlSearch
from adapters.sql.attention import SqlAttention
from adapters.sql.audit.report import Watch, audit, unwatched
from adapters.sql.change import SqlChanges
from adapters.sql.database.schema import SettingRow
from adapters.sql.database.transaction import insert_missing, reading, writing
from adapters.sql.invitations.batch import SqlBatches
from adapters.sql.invitations.invitation import SqlInvitations
from adapters.sql.invitations.listing import SqlInvitationLists
from adapters.sql.invitations.page import SqlInviteePages
from adapters.sql.invitations.reminder import SqlReminders
from adapters.sql.invitations.restoration import SqlRestoration
from adapters.sql.invitations.timeline import SqlTimelines
from adapters.sql.letter import SqlLetters
from adapters.sql.licenses.assignment import SqlAssignments
from adapters.sql.money.billing_page import SqlBillingPages
from adapters.sql.money.credit import SqlCredits
from adapters.sql.money.invoice import SqlInvoices
from adapters.sql.money.order import SqlOrders
from adapters.sql.money.quote import SqlQuotes
from adapters.sql.money.refund import SqlRefunds
from adapters.sql.outbox import SqlOutbox
from adapters.sql.people.person import SqlPeople
from adapters.sql.problem import SqlProblems
from adapters.sql.request_count import SqlRequestCounts
from adapters.sql.restore import SqlRestore
from adapters.sql.reversal import SqlReversals
from adapters.sql.session import SqlSessions
from adapters.sql.unfinished import unfinished_workflows
from domain.audit import AuditReport
from domain.error import ErrorCode, Refused
from domain.quote import Returnable, in_full

_ID_KEY: Final = "id_key"


class SqlPages:
    """Queries for the pages of the portal, one for each page."""

    def __init__(self, engine: AsyncEngine, returnable: Returnable) -> None:
        self.invitee = SqlInviteePages(engine, returnable)
        self.invitations = SqlInvitationLists(engine)
        self.timelines = SqlTimelines(engine)
        self.licenses = SqlLicensePages(engine)
        self.billing = SqlBillingPages(engine)


class SqlStore:
    """Accounts, invitations, licenses, money and letters in one database."""

    def __init__(self, engine: AsyncEngine, returnable: Returnable = in_full) -> None:
        """Use the database of `engine`; `returnable` is that of the payment provider (QUO-3)."""
        self.engine = engine
        self.directory = SqlDirectory(engine)
        self.managed_domains = SqlManagedDomains(engine)
        self.invitations = SqlInvitations(engine, returnable)
        self.request_counts = SqlRequestCounts(engine)
        self.sessions = SqlSessions(engine)
        self.batches = SqlBatches(engine)
        self.quotes = SqlQuotes(engine, returnable)
        self.refunds = SqlRefunds(engine)
        self.reversals = SqlReversals(engine)
        self.credits = SqlCredits(engine)
        self.invoices = SqlInvoices(engine)
        self.assignments = SqlAssignments(engine)
        self.orders = SqlOrders(engine)
        self.attention = SqlAttention(engine)
        self.letters = SqlLetters(engine)
        self.remedies = SqlRemedies(engine)
        self.people = SqlPeople(engine)
        self.search = SqlSearch(engine)
        self.reminders = SqlReminders(engine)
        self.outbox = SqlOutbox(engine)
        self.problems = SqlProblems(engine)
        self.restore = SqlRestore(engine)
        self.changes = SqlChanges(engine)
        self.restoration = SqlRestoration(engine, returnable)
        self.pages = SqlPages(engine, returnable)

    async def audit(self, watch: Watch = unwatched) -> AuditReport:
        """Check the invariants of the store; return the violations (AUD)."""
        return await audit(self.engine, watch)

    def unfinished_workflows(self) -> AsyncIterator[list[str]]:
        """Yield pages of the workflow ids of all records that have not ended."""
        return unfinished_workflows(self.engine)

    async def keep_id_key(self, fingerprint: str) -> None:
        """Store the fingerprint of the key that workflow ids are derived with; it never changes.

        Raises Refused: `invalid_input`, if another one is stored.
        """
        async with writing(self.engine) as session:
            kept = {"key": _ID_KEY, "value": fingerprint}
            await insert_missing(session, SettingRow, [kept])
        await self.check_id_key(fingerprint)

    async def check_id_key(self, fingerprint: str) -> None:
        """Raise Refused(invalid_input) if another fingerprint is stored."""
        async with reading(self.engine) as session:
            kept = await session.get(SettingRow, _ID_KEY)
        if kept and kept.value != fingerprint:
            raise Refused(
                ErrorCode.INVALID_INPUT,
                "SEATFLOW_ID_KEY, or the secret key that it is derived from, "
                "is not the one that this database was set up with.",
            )
