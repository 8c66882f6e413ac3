"""The tables, and the constraints that the database enforces.

Attributes have the names of the import file, so that an import sets them by name.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final, Literal

from pydantic import JsonValue, TypeAdapter
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Text,
    UniqueConstraint,
    false,
    literal,
    text,
)
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    foreign,
    mapped_column,
    registry,
    relationship,
)

from adapters.sql.database.column import (
    CountedAmount,
    DayOrMoment,
    DnsLabel,
    Document,
    ExactAmount,
    UtcTime,
)
from domain.account import AddonSku, HeldAddon, Plan
from domain.assignment import AssignLicenses, AssignmentState
from domain.author import UNKNOWN
from domain.batch import Batch, RowResult
from domain.invitation import Invitation, InvitationState, Invite, Person
from domain.ledger import credit_of
from domain.letter.base import Reader
from domain.license import Sku
from domain.manifest import Change
from domain.money import rounded
from domain.order import Order, OrderState
from domain.outbox import FollowUpKind, QueuedLetter
from domain.quote import Quote
from domain.refund import Refund, RefundPlan

REVISION: Final = "0012"
"""The revision of the migrations whose result these tables are."""

WORKPLACE: Final = Sku.WORKPLACE.value
"""The SKU of base licenses, which have no capacity."""
NO_CAPACITY: Final = 0

_FINAL = ", ".join(f"'{state}'" for state in InvitationState if state.final)
_UNANSWERED = ", ".join(f"'{state}'" for state in InvitationState if state.unanswered)
_ORDER_STATES = ", ".join(f"'{state}'" for state in OrderState)
_CURRENT = text("until IS NULL")
_OWNER = text("until IS NULL AND role = 'owner'")
_LIVE = text("ended_at IS NULL")
_VERIFIED = text("verified_at IS NOT NULL")
_WAITING = text(f"state = '{AssignmentState.WAITING}'")
_ASSIGNMENT_STATES = ", ".join(f"'{state}'" for state in AssignmentState)

_FOLLOW_UP_KINDS = ", ".join(f"'{kind}'" for kind in FollowUpKind)

_SETTINGS = Document(TypeAdapter(dict[str, JsonValue]))


def _now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """The base of all tables."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(referred_table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    registry = registry(
        type_annotation_map={
            str: Text,
            int: BigInteger().with_variant(Integer, "sqlite"),
            Decimal: ExactAmount,
            datetime: UtcTime,
        }
    )


class Listed(Base):
    """An item of a list, with its id and position."""

    __abstract__ = True

    id: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]


class PaymentRow(Listed):
    """A payment by one method for the current period of a subscription."""

    __tablename__ = "payments"
    __table_args__ = (
        ForeignKeyConstraint(
            ["account_id", "subscription_id"], ["subscriptions.account_id", "subscriptions.id"]
        ),
    )

    account_id: Mapped[str] = mapped_column(primary_key=True)
    subscription_id: Mapped[str]
    method: Mapped[str]
    amount: Mapped[Decimal]
    refundable: Mapped[bool]


class SubscriptionRow(Listed):
    """A plan or add-on line."""

    __tablename__ = "subscriptions"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    product: Mapped[str]
    kind: Mapped[str]
    quantity: Mapped[int]
    cycle: Mapped[str]
    period_start: Mapped[date] = mapped_column(DayOrMoment)
    paid_until: Mapped[date] = mapped_column("period_end", DayOrMoment)
    ended: Mapped[date | None] = mapped_column(DayOrMoment)
    """The end of the subscription, possibly within the period (SRC-2); None while it is live."""
    cancellation_pending: Mapped[bool]
    discount: Mapped[Decimal]
    tax: Mapped[Decimal]
    payments: Mapped[list[PaymentRow]] = relationship(order_by=PaymentRow.position, lazy="raise")

    @property
    def period_end(self) -> date:
        """Return the time at which the subscription ended, else the end of its period."""
        return self.ended or self.paid_until

    @period_end.setter
    def period_end(self, end: date) -> None:
        self.paid_until = end


class RoomRow(Listed):
    """A conference room."""

    __tablename__ = "rooms"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    name: Mapped[str | None]


class InvoiceRow(Listed):
    """An invoice; `amount_due` is the open amount."""

    __tablename__ = "invoices"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    amount_due: Mapped[Decimal]
    amount_named: Mapped[Decimal]
    """The open amount in the last import file; credit has paid the difference since."""
    due_on: Mapped[date]
    status: Mapped[str]
    charges: Mapped[int] = mapped_column(default=0, server_default="0")
    """The number of charges that have a result; part of the key of the next one."""
    payment: Mapped[str | None]
    """The provider's id of the last payment by a payment method."""
    paid_outside: Mapped[str | None]
    """The reference of a payment that was made elsewhere."""
    paid_by: Mapped[str | None]
    """The author of the last payment."""

    def apply_imported_amount(self, amount: Decimal) -> None:
        """Apply the open amount of an import file; the amount that credit has paid stays paid."""
        if self.amount_named is None:
            self.amount_due = self.amount_named = amount
        elif amount not in {self.amount_due, self.amount_named}:
            self.amount_due += amount - self.amount_named
            self.amount_named = amount

    def close_if_paid(self) -> None:
        """Mark the invoice as paid if credit has paid all of it."""
        if self.amount_due == 0 < self.amount_named:
            self.status = "paid"


class PaymentMethodRow(Listed):
    """A payment method of the account, used in the order of `position`."""

    __tablename__ = "payment_methods"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    kind: Mapped[str]
    declines: Mapped[int]


class _Hosted(Listed):
    """A meeting or webinar, which stays with its host."""

    __abstract__ = True

    host: Mapped[str] = mapped_column(ForeignKey("people.email"), primary_key=True)
    topic: Mapped[str]
    starts_at: Mapped[datetime]
    capacity: Mapped[int | None]
    join_url: Mapped[str | None]


class MeetingRow(_Hosted):
    """A scheduled meeting."""

    __tablename__ = "meetings"
    __table_args__ = (Index("meetings_by_id", "id"),)


class WebinarRow(_Hosted):
    """A scheduled webinar."""

    __tablename__ = "webinars"
    __table_args__ = (Index("webinars_by_id", "id"),)


class PersonRow(Base):
    """A person, by normalized address (INV-3)."""

    __tablename__ = "people"

    email: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    locale: Mapped[str | None]
    time_zone: Mapped[str | None]
    settings: Mapped[dict[str, JsonValue]] = mapped_column(_SETTINGS, default=dict)
    recordings: Mapped[int] = mapped_column(default=0)
    contacts: Mapped[int] = mapped_column(default=0)
    chat_messages: Mapped[int] = mapped_column(default=0)
    meetings: Mapped[list[MeetingRow]] = relationship(order_by=MeetingRow.position, lazy="raise")
    webinars: Mapped[list[WebinarRow]] = relationship(order_by=WebinarRow.position, lazy="raise")

    def as_reader(self, time_zone: str, locale: str | None = None) -> Reader:
        """Return the recipient of a letter; the arguments are defaults (TXT-1)."""
        return Reader(
            email=self.email,
            name=self.name,
            locale=self.locale or locale or "en",
            time_zone=self.time_zone or time_zone,
        )


class MembershipRow(Base):
    """The membership of a person on an account, with its period and its origin (AUD)."""

    __tablename__ = "memberships"
    __table_args__ = (
        Index(
            "one_account_a_person",
            "email",
            unique=True,
            sqlite_where=_CURRENT,
            postgresql_where=_CURRENT,
        ),
        Index(
            "one_owner_an_account",
            "account_id",
            unique=True,
            sqlite_where=_OWNER,
            postgresql_where=_OWNER,
        ),
        Index("memberships_by_account", "account_id"),
        # A repeated acceptance creates no second membership (INV-11).
        UniqueConstraint("invitation_id"),
        CheckConstraint("role IN ('owner', 'admin', 'member')", "role"),
        CheckConstraint("origin IN ('import', 'invitation', 'unlink')", "origin"),
        CheckConstraint("(origin = 'invitation') = (invitation_id IS NOT NULL)", "invitation"),
        CheckConstraint("origin = 'import' OR since IS NOT NULL", "since"),
        CheckConstraint("(until IS NULL) = (leaving IS NULL)", "leaving"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    email: Mapped[str] = mapped_column(ForeignKey("people.email"))
    role: Mapped[str]
    licensed: Mapped[bool] = mapped_column(default=False)
    licensed_at: Mapped[datetime | None]
    """The time when the user got the base license; None if it was imported."""
    addon_left: Mapped[int | None]
    """The capacity of the Large Meeting license that the user lost by leaving (TRF-3)."""
    webinar_left: Mapped[int | None]
    """The capacity of the webinar license that the user lost by leaving (TRF-3)."""
    origin: Mapped[Literal["import", "invitation", "unlink"]] = mapped_column(Text)
    invitation_id: Mapped[str | None] = mapped_column(ForeignKey("invitations.invitation_id"))
    since: Mapped[datetime | None]
    """None for an imported membership, which is older than the import."""
    until: Mapped[datetime | None]
    leaving: Mapped[str | None]
    """The reason of the end: `unlink`, `delete` or `invitation:<id>`."""
    chat_before: Mapped[int] = mapped_column(default=0, server_default="0")
    """Messages from before joining, which belong to the user and not to the account (TRF-4)."""
    person: Mapped[PersonRow] = relationship(lazy="raise")
    held: Mapped[list["HeldLicenseRow"]] = relationship(
        order_by="HeldLicenseRow.sku", cascade="all, delete-orphan", lazy="raise"
    )

    name: AssociationProxy[str | None] = association_proxy("person", "name")
    locale: AssociationProxy[str | None] = association_proxy("person", "locale")
    time_zone: AssociationProxy[str | None] = association_proxy("person", "time_zone")
    settings: AssociationProxy[dict[str, JsonValue]] = association_proxy("person", "settings")
    recordings: AssociationProxy[int] = association_proxy("person", "recordings")
    contacts: AssociationProxy[int] = association_proxy("person", "contacts")

    @property
    def chat_messages(self) -> int:
        """Return the number of messages written since joining the account (TRF-4)."""
        return self.person.chat_messages - self.chat_before

    @chat_messages.setter
    def chat_messages(self, named: int) -> None:
        self.person.chat_messages = self.chat_before + named

    def addon_held(self, sku: Sku) -> "HeldLicenseRow | None":
        """Return the user's add-on of this kind, if any (ASG-8)."""
        return next((row for row in self.held if row.sku == sku), None)

    def capacity_held(self, sku: Sku) -> int | None:
        """Return the capacity of the user's add-on of this kind, if any."""
        row = self.addon_held(sku)
        return row.capacity if row else None

    @property
    def addons(self) -> tuple[HeldAddon, ...]:
        """Return the add-ons that the user holds."""
        return tuple(
            HeldAddon(sku=row.sku, capacity=row.capacity)
            for row in sorted(self.held, key=lambda row: row.sku)
        )

    @property
    def addons_left(self) -> tuple[HeldAddon, ...]:
        """Return the add-ons that the user held when leaving."""
        left: Sequence[tuple[AddonSku, int | None]] = (
            ("large-meeting", self.addon_left),
            ("webinar", self.webinar_left),
        )
        return tuple(HeldAddon(sku=sku, capacity=capacity) for sku, capacity in left if capacity)

    @property
    def meetings(self) -> list[MeetingRow]:
        """Return the person's meetings."""
        return self.person.meetings

    @property
    def webinars(self) -> list[WebinarRow]:
        """Return the person's webinars."""
        return self.person.webinars


class LicensePoolRow(Base):
    """A pool of licenses of an account: bought = assigned + reserved + free (ASG-6)."""

    __tablename__ = "license_pools"
    __table_args__ = (
        CheckConstraint("assigned >= 0", "assigned"),
        CheckConstraint("reserved >= 0", "reserved"),
        CheckConstraint("assigned + reserved <= bought", "free"),
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    sku: Mapped[str] = mapped_column(primary_key=True, default=WORKPLACE)
    capacity: Mapped[int] = mapped_column(
        primary_key=True, autoincrement=False, default=NO_CAPACITY
    )
    bought: Mapped[int]
    bought_named: Mapped[int] = mapped_column(default=0, server_default="0")
    """The number in the last import file; orders have bought the rest since."""
    assigned: Mapped[int]
    reserved: Mapped[int] = mapped_column(default=0)

    @property
    def free(self) -> int:
        """Return the number of licenses that can be assigned or reserved."""
        return self.bought - self.assigned - self.reserved


class HeldLicenseRow(Base):
    """An add-on license of a user, at most one of each kind (ASG-4, ASG-8)."""

    __tablename__ = "held_licenses"
    __table_args__ = (
        ForeignKeyConstraint(
            ["account_id", "sku", "capacity"],
            ["license_pools.account_id", "license_pools.sku", "license_pools.capacity"],
        ),
        CheckConstraint(f"sku <> '{WORKPLACE}'", "addon"),
        Index("held_licenses_by_pool", "account_id", "sku", "capacity"),
    )

    membership_id: Mapped[int] = mapped_column(
        ForeignKey("memberships.id"), primary_key=True, autoincrement=False
    )
    account_id: Mapped[str]
    sku: Mapped[AddonSku] = mapped_column(Text, primary_key=True)
    capacity: Mapped[int]
    assigned_at: Mapped[datetime]


class AssignmentRequestRow(Base):
    """A request to assign licenses."""

    __tablename__ = "assignment_requests"

    request_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    requested_at: Mapped[datetime]
    ordered: Mapped[AssignLicenses] = mapped_column(Document(TypeAdapter(AssignLicenses)))
    assignments: Mapped[list["AssignmentRow"]] = relationship(lazy="raise")


class AssignmentRow(Base):
    """The assignment of one user of a request (ASG-5)."""

    __tablename__ = "assignments"
    __table_args__ = (
        CheckConstraint(f"state IN ({_ASSIGNMENT_STATES})", "state"),
        UniqueConstraint("request_id", "email"),
        Index(
            "waiting_assignments",
            "account_id",
            sqlite_where=_WAITING,
            postgresql_where=_WAITING,
        ),
        Index("assignments_by_user", "account_id", "email"),
    )

    number: Mapped[int] = mapped_column(primary_key=True)
    """Smaller for older requests, and within a request in the order of the users."""
    request_id: Mapped[str] = mapped_column(ForeignKey("assignment_requests.request_id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    email: Mapped[str]
    """The requested address, possibly of a person who is on no account."""
    sku: Mapped[str]
    capacity: Mapped[int]
    gives_base_license: Mapped[bool]
    state: Mapped[str]
    error: Mapped[dict[str, JsonValue] | None] = mapped_column(
        Document(TypeAdapter(dict[str, JsonValue] | None)), nullable=True
    )
    """The reason why the user was refused or waits."""
    held_before: Mapped[bool] = mapped_column(default=False, server_default=false())
    """True if the user held this license before, so that the pool did not change."""

    @property
    def waits(self) -> bool:
        """Return whether the user is served when a license becomes free."""
        return self.state == AssignmentState.WAITING


class TransferRow(Base):
    """One entry of the ledger. A trigger refuses to change or delete it."""

    __tablename__ = "transfers"
    __table_args__ = (
        UniqueConstraint("id"),
        CheckConstraint("amount > 0", "amount"),
        CheckConstraint("debited <> credited", "parties"),
        Index("transfers_by_debited", "debited"),
        Index("transfers_by_credited", "credited"),
    )

    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str]
    at: Mapped[datetime]
    kind: Mapped[str]
    debited: Mapped[str]
    credited: Mapped[str]
    currency: Mapped[str]
    amount: Mapped[Decimal] = mapped_column(CountedAmount)
    invoice: Mapped[str | None]
    by: Mapped[str] = mapped_column(server_default=UNKNOWN)
    """The author (OPS-8); `unknown` in entries of releases that recorded none."""


class ChangeRow(Base):
    """A change to something that has no journal, with its author (OPS-8)."""

    __tablename__ = "changes"
    __table_args__ = (
        Index("changes_by_account", "account_id", "number"),
        {"sqlite_autoincrement": True},
    )

    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    by: Mapped[str]
    action: Mapped[str]
    """The command, for example `remove-room`."""
    account_id: Mapped[str | None]
    """None if the change concerns no account."""
    subject: Mapped[str]
    """The id of the changed thing, without personal data."""


class BalanceRow(Base):
    """The balance of a ledger account in one currency, changed with every entry."""

    __tablename__ = "balances"
    __table_args__ = (
        # Nothing is spent twice (CRD-1).
        CheckConstraint(
            "amount >= 0 OR ledger_account NOT LIKE 'credit/%'"
            " AND ledger_account NOT LIKE 'prepaid/%'"
            " AND ledger_account NOT LIKE 'refund_due/%'",
            "overdrawn",
        ),
    )

    ledger_account: Mapped[str] = mapped_column(primary_key=True)
    currency: Mapped[str] = mapped_column(primary_key=True)
    amount: Mapped[Decimal] = mapped_column(CountedAmount)


class AccountRow(Base):
    """An organization's or one person's account."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'closed')", "state"),
        # A join link leads to the meetings of one account (TRF-5).
        Index("one_account_per_vanity_url", "vanity_url", unique=True),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    plan: Mapped[str]
    currency: Mapped[str]
    time_zone: Mapped[str]
    country: Mapped[str]
    collection: Mapped[Literal["autopay", "net_terms"]] = mapped_column(Text)
    state: Mapped[str]
    suspended: Mapped[bool]
    billing_day: Mapped[int | None]
    billing_customer: Mapped[str | None]
    vanity_url: Mapped[str | None] = mapped_column(DnsLabel)
    managed_domains: Mapped[tuple[str, ...]] = mapped_column(Document(TypeAdapter(tuple[str, ...])))
    """The verified domains, in the order of the import file; `ManagedDomainRow` repeats them."""
    locked_settings: Mapped[dict[str, JsonValue]] = mapped_column(_SETTINGS)
    credit_named: Mapped[Decimal] = mapped_column("credit")
    """The amount in the last import file; the ledger has the present balance."""
    payment_methods: Mapped[list[PaymentMethodRow]] = relationship(
        order_by=PaymentMethodRow.position, lazy="raise"
    )
    rooms: Mapped[list[RoomRow]] = relationship(order_by=RoomRow.position, lazy="raise")
    subscriptions: Mapped[list[SubscriptionRow]] = relationship(
        order_by=SubscriptionRow.position, lazy="raise"
    )
    invoices: Mapped[list[InvoiceRow]] = relationship(order_by=InvoiceRow.position, lazy="raise")
    base_licenses: Mapped[LicensePoolRow] = relationship(
        primaryjoin=lambda: (
            (LicensePoolRow.account_id == AccountRow.id) & (LicensePoolRow.sku == WORKPLACE)
        ),
        lazy="raise",
    )
    pools: Mapped[list[LicensePoolRow]] = relationship(
        primaryjoin=lambda: (
            (LicensePoolRow.account_id == AccountRow.id) & (LicensePoolRow.sku != WORKPLACE)
        ),
        order_by=(LicensePoolRow.sku, LicensePoolRow.capacity),
        viewonly=True,
        lazy="raise",
    )
    credit_balance: Mapped[BalanceRow | None] = relationship(
        primaryjoin=lambda: (
            (foreign(BalanceRow.ledger_account) == literal(credit_of("")) + AccountRow.id)
            & (foreign(BalanceRow.currency) == AccountRow.currency)
        ),
        viewonly=True,
        lazy="raise",
    )
    users: Mapped[list[MembershipRow]] = relationship(
        primaryjoin=lambda: (
            (MembershipRow.account_id == AccountRow.id) & MembershipRow.until.is_(None)
        ),
        order_by=MembershipRow.id,
        lazy="raise",
    )

    @property
    def paid(self) -> bool:
        """Return whether the plan is not `free`."""
        return self.plan != Plan.FREE

    @property
    def credit(self) -> Decimal:
        """Return the present credit balance."""
        amount = self.credit_balance.amount if self.credit_balance else Decimal(0)
        return rounded(amount, self.currency).amount

    @property
    def licenses(self) -> int:
        """Return the number of base licenses bought."""
        return self.base_licenses.bought


class ManagedDomainRow(Base):
    """A mail domain of an account, and the token that proves control of it (INV-18).

    `managed_domains` of the account lists the verified ones, so that a decision under the lock of
    the account needs no other row. These rows give each domain to one account.
    """

    __tablename__ = "managed_domains"
    __table_args__ = (
        Index(
            "one_account_per_domain",
            "domain",
            unique=True,
            sqlite_where=_VERIFIED,
            postgresql_where=_VERIFIED,
        ),
        CheckConstraint("domain = lower(domain)", "domain"),
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    domain: Mapped[str] = mapped_column(primary_key=True)
    """The normalized name, IDN-encoded."""
    token: Mapped[str]
    added_at: Mapped[datetime]
    verified_at: Mapped[datetime | None]
    """None until control is proven; before that the domain admits nobody."""


class InvitationRow(Base):
    """An invitation, kept after its end (INV-7).

    `record` is the complete invitation; the other columns repeat the values that are searched
    or constrained.
    """

    __tablename__ = "invitations"
    __table_args__ = (
        Index(
            "one_live_invitation",
            "account_id",
            "invitee_key",
            unique=True,
            sqlite_where=_LIVE,
            postgresql_where=_LIVE,
        ),
        Index("invitations_by_email", "account_id", "email"),
        Index("invitations_by_invitee", "email"),
        Index("invitations_by_reminder_run", "reminded_by"),
        UniqueConstraint("run_id"),
        CheckConstraint(f"(ended_at IS NOT NULL) = (state IN ({_FINAL}))", "ended"),
        # No end and no acceptance leaves a seat behind (INV-15).
        CheckConstraint(f"NOT seat_reserved OR state IN ({_UNANSWERED})", "seat"),
    )

    invitation_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    invitee_key: Mapped[str]
    email: Mapped[str]
    state: Mapped[str]
    run_id: Mapped[str | None]
    seat_reserved: Mapped[bool]
    claimed_at: Mapped[datetime]
    quiet_since: Mapped[datetime | None]
    """The time of the last e-mail to the invitee or of their last answer (REM-1)."""
    reminded_by: Mapped[str | None]
    """The reminder run that requested the last reminder, if known."""
    deadline: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    ordered: Mapped[Invite] = mapped_column(Document(TypeAdapter(Invite)))
    record: Mapped[Invitation] = mapped_column(Document(TypeAdapter(Invitation)))


UNANSWERED: Final = InvitationRow.state.in_([s for s in InvitationState if s.unanswered])
"""Condition on invitations that are neither accepted nor ended; a seat may be reserved."""


class ReminderRunRow(Base):
    """A reminder run; `reminded_by` of the invitations names it."""

    __tablename__ = "reminder_runs"
    __table_args__ = (Index("reminder_runs_by_start", "started_at"),)

    run_id: Mapped[str] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    by: Mapped[str]
    found: Mapped[int]
    reminded: Mapped[int]
    digests: Mapped[int]


class MovedItemRow(Base):
    """An item of a person's data that the built-in content service has moved (TRF-1).

    Its changes are in rows of their own, `ITEM/NUMBER`, a batch in each (OPS-7).
    """

    __tablename__ = "moved_items"

    invitation_id: Mapped[str] = mapped_column(
        ForeignKey("invitations.invitation_id"), primary_key=True
    )
    item: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    changes: Mapped[tuple[Change, ...]] = mapped_column(Document(TypeAdapter(tuple[Change, ...])))


class OutboxRow(Base):
    """Work that follows a commit, and the lease of the worker that carries it out (OPS-1)."""

    __tablename__ = "announcements"
    __table_args__ = (
        UniqueConstraint("key"),
        Index("announcements_by_due_time", "due_at"),
        CheckConstraint(f"kind IN ({_FOLLOW_UP_KINDS})", "kind"),
        CheckConstraint("(kind = 'signal') = (signal IS NOT NULL)", "signal"),
        # Otherwise SQLite reuses the numbers of deleted rows, and a late `done` would delete a
        # new row.
        {"sqlite_autoincrement": True},
    )

    number: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(default=FollowUpKind.SIGNAL)
    key: Mapped[str | None]
    """The business id, which prevents a second row; signals have none."""
    workflow_id: Mapped[str]
    run_id: Mapped[str] = mapped_column(default="")
    """The first run of the chain; empty if the workflow id is never reused."""
    account_id: Mapped[str] = mapped_column(default="")
    at: Mapped[datetime]
    """The time of the change, in workflow time."""
    signal: Mapped[str | None]
    """The name of the signal."""
    letter: Mapped[QueuedLetter | None] = mapped_column(
        Document(TypeAdapter(QueuedLetter | None)), nullable=True
    )
    created_at: Mapped[datetime] = mapped_column(default=_now)
    due_at: Mapped[datetime] = mapped_column(default=_now)
    """The time of the next attempt; during an attempt, the end of the worker's lease."""
    attempts: Mapped[int] = mapped_column(default=0)
    failure: Mapped[str | None]
    """The reason why the last attempt failed."""
    given_up: Mapped[bool] = mapped_column(default=False)
    """True if no attempt can succeed: the row waits for an operator."""


class ProblemRow(Base):
    """A problem that a worker has found and that waits for an operator (OPS-5)."""

    __tablename__ = "problems"

    key: Mapped[str] = mapped_column(primary_key=True)
    """The business id, for example of an activity that keeps failing."""
    kind: Mapped[str]
    workflow_id: Mapped[str]
    account_id: Mapped[str]
    since: Mapped[datetime]
    message: Mapped[str]
    """English text without personal data."""


class ReversalRow(Base):
    """A disputed payment, or a refund that came back (OPS-5)."""

    __tablename__ = "reversals"
    __table_args__ = (
        CheckConstraint("kind IN ('dispute', 'refund')", "kind"),
        CheckConstraint("status IN ('open', 'lost', 'won')", "status"),
        CheckConstraint("(closed_at IS NULL) = (closed_by IS NULL)", "closed"),
    )

    reversal_id: Mapped[str] = mapped_column(primary_key=True)
    """The provider's id."""
    kind: Mapped[str]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    subject: Mapped[str]
    """The provider's id of the payment, or our id of the refund."""
    currency: Mapped[str]
    amount: Mapped[Decimal] = mapped_column(CountedAmount)
    reason: Mapped[str | None]
    status: Mapped[str]
    since: Mapped[datetime]
    answer_by: Mapped[datetime | None]
    reported_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    """The time at which an operator took it off the list."""
    closed_by: Mapped[str | None]
    closing_reason: Mapped[str | None]


class DivergenceRow(Base):
    """A difference from Temporal or the provider that only a person can remove (OPS-6).

    The row stays when it is settled, so that the difference is not reported again.
    """

    __tablename__ = "divergences"
    __table_args__ = (UniqueConstraint("key"), {"sqlite_autoincrement": True})

    number: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str]
    """The kind, the subject and the run."""
    subject: Mapped[str]
    account_id: Mapped[str]
    since: Mapped[datetime]
    message: Mapped[str]
    """English text without personal data."""
    settled_at: Mapped[datetime | None]


class SettlementRow(Base):
    """The settlement of a paid account whose owner left (QUO)."""

    __tablename__ = "settlements"
    __table_args__ = (CheckConstraint("kind IN ('refund', 'transfer')", "kind"),)

    invitation_id: Mapped[str] = mapped_column(
        ForeignKey("invitations.invitation_id"), primary_key=True
    )
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    """The account that was left."""
    kind: Mapped[str | None]
    """None if the value was zero and there was nothing to choose."""
    quote: Mapped[Quote] = mapped_column(Document(TypeAdapter(Quote)))


class RefundRow(Base):
    """A refund."""

    __tablename__ = "refunds"
    __table_args__ = (UniqueConstraint("invitation_id"),)

    refund_id: Mapped[str] = mapped_column(primary_key=True)
    invitation_id: Mapped[str] = mapped_column(ForeignKey("invitations.invitation_id"))
    state: Mapped[str]
    requested_at: Mapped[datetime]
    ordered: Mapped[RefundPlan] = mapped_column(Document(TypeAdapter(RefundPlan)))
    record: Mapped[Refund] = mapped_column(Document(TypeAdapter(Refund)))


class OrderRow(Base):
    """An order of licenses, with the days from which its terms are computed (ADD)."""

    __tablename__ = "orders"
    __table_args__ = (
        Index("orders_by_account", "account_id"),
        CheckConstraint(f"state IN ({_ORDER_STATES})", "state"),
        CheckConstraint("billing_day BETWEEN 1 AND 31", "billing_day"),
        CheckConstraint("billing_month BETWEEN 1 AND 12", "billing_month"),
    )

    order_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    state: Mapped[str]
    opened_at: Mapped[datetime]
    bought_on: Mapped[date] = mapped_column(DayOrMoment)
    """The first day of the first term, in the account's time zone."""
    billing_day: Mapped[int]
    billing_month: Mapped[int | None]
    """None for a monthly cycle."""
    reduced_after: Mapped[int | None]
    """The number of journal entries at the last reduction, which is done once."""
    released: Mapped[tuple[str, ...]] = mapped_column(
        Document(TypeAdapter(tuple[str, ...])), default=()
    )
    """The users whose license ended with the last reduction."""
    reported_at: Mapped[datetime | None]
    """The time when the buyer saw the order; until then a repeated request returns this order."""
    record: Mapped[Order] = mapped_column(Document(TypeAdapter(Order)))


class OrderInvoiceRow(Base):
    """The invoice of one term of an order, paid once (ADD-5, ADD-7)."""

    __tablename__ = "order_invoices"
    __table_args__ = (
        UniqueConstraint("order_id", "period_start"),
        UniqueConstraint("payment"),
        CheckConstraint("state IN ('open', 'paid', 'failed', 'void')", "state"),
        CheckConstraint("from_credit BETWEEN 0 AND amount", "from_credit"),
        CheckConstraint("payment IS NULL OR state = 'paid'", "payment"),
    )

    order_id: Mapped[str] = mapped_column(ForeignKey("orders.order_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    period_start: Mapped[date] = mapped_column(DayOrMoment)
    period_end: Mapped[date] = mapped_column(DayOrMoment)
    currency: Mapped[str]
    amount: Mapped[Decimal] = mapped_column(CountedAmount)
    from_credit: Mapped[Decimal] = mapped_column(CountedAmount)
    credit_tried: Mapped[int | None]
    """The last attempt for which credit was reserved."""
    state: Mapped[Literal["open", "paid", "failed", "void"]] = mapped_column(Text)
    at: Mapped[datetime]
    payment: Mapped[str | None]
    """The provider's id of the payment by a payment method."""

    @property
    def invoice_id(self) -> str:
        """Return the id of the invoice."""
        return f"{self.order_id}/{self.number}"


class ProviderChargeRow(Base):
    """A charge of the built-in payment provider."""

    __tablename__ = "provider_charges"
    __table_args__ = (
        UniqueConstraint("provider_id"),
        CheckConstraint("state = 'declined' OR amount > 0", "amount"),
        CheckConstraint("state IN ('succeeded', 'declined')", "state"),
        CheckConstraint("(state = 'declined') = (failure IS NOT NULL)", "failure"),
    )

    key: Mapped[str] = mapped_column(primary_key=True)
    provider_id: Mapped[str]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    method: Mapped[str]
    currency: Mapped[str]
    amount: Mapped[Decimal] = mapped_column(CountedAmount)
    at: Mapped[datetime]
    state: Mapped[str]
    failure: Mapped[str | None]


class ProviderRefundRow(Base):
    """A refund of the built-in payment provider, with the outcome it will have."""

    __tablename__ = "provider_refunds"
    __table_args__ = (
        UniqueConstraint("provider_id"),
        Index("provider_refunds_by_payment", "account_id", "payment"),
        CheckConstraint("amount > 0", "amount"),
        CheckConstraint("outcome IN ('succeeded', 'failed')", "outcome"),
    )

    key: Mapped[str] = mapped_column(primary_key=True)
    provider_id: Mapped[str]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    payment: Mapped[str]
    currency: Mapped[str]
    amount: Mapped[Decimal] = mapped_column(CountedAmount)
    ends_at: Mapped[datetime]
    """The time until which the refund is pending."""
    outcome: Mapped[str]
    failure: Mapped[str | None]


class BatchRow(Base):
    """A request to invite many people at once (REM-3)."""

    __tablename__ = "bulk_batches"
    __table_args__ = (Index("bulk_batches_by_digest", "digest"),)

    batch_id: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str]
    """The hash of the request, by which a repetition is recognized."""
    filed_at: Mapped[datetime]
    reported_at: Mapped[datetime | None]
    """The time of reporting the results; until then a repeated request returns this batch."""
    ordered: Mapped[Batch] = mapped_column(Document(TypeAdapter(Batch)))


class BatchPersonRow(Base):
    """One row of a batch, with its result (INV-2)."""

    __tablename__ = "bulk_rows"
    __table_args__ = (
        CheckConstraint("result IN ('invited', 'already_invited', 'refused')", "result"),
        CheckConstraint(
            "(invitation_id IS NOT NULL) = (result IN ('invited', 'already_invited'))"
            " OR result IS NULL",
            "invitation",
        ),
    )

    batch_id: Mapped[str] = mapped_column(ForeignKey("bulk_batches.batch_id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    person: Mapped[Person] = mapped_column(Document(TypeAdapter(Person)))
    result: Mapped[RowResult | None] = mapped_column(Text)
    """None until the row is processed."""
    error: Mapped[dict[str, JsonValue] | None] = mapped_column(
        Document(TypeAdapter[dict[str, JsonValue] | None](dict[str, JsonValue] | None))
    )
    invitation_id: Mapped[str | None] = mapped_column(ForeignKey("invitations.invitation_id"))


class LetterRow(Base):
    """An e-mail that the mail server has accepted."""

    __tablename__ = "letters"

    letter_id: Mapped[str] = mapped_column(primary_key=True)
    taken_at: Mapped[datetime]


class SettingRow(Base):
    """A setting of the installation, such as the catalogue or the fingerprint of a key."""

    __tablename__ = "settings"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[JsonValue] = mapped_column(
        Document(TypeAdapter[JsonValue](JsonValue)), nullable=False
    )


class RequestCountRow(Base):
    """The number of web requests of one link or client address in a minute."""

    __tablename__ = "request_counts"
    __table_args__ = (Index("request_counts_by_time", "since"),)

    subject: Mapped[str] = mapped_column(primary_key=True)
    """A keyed hash: neither a link nor an address is stored."""
    since: Mapped[datetime]
    requests: Mapped[int]


class SignInLinkRow(Base):
    """The link of a sign-in e-mail, for an address that somebody has entered.

    The token of the link is this id, signed: nobody can sign in by what the database has.
    """

    __tablename__ = "sign_in_links"
    __table_args__ = (Index("sign_in_links_by_expiry", "expires_at"),)

    link_id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str]
    operator: Mapped[bool]
    """True for the address of an operator, who need not administer an account."""
    next: Mapped[str | None]
    """The path that is opened after signing in."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class SessionRow(Base):
    """The session of a person who has signed in."""

    __tablename__ = "sessions"
    __table_args__ = (
        Index("sessions_by_email", "email"),
        Index("sessions_by_expiry", "expires_at"),
    )

    session_id: Mapped[str] = mapped_column(primary_key=True)
    """The hash of the cookie's value."""
    email: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
