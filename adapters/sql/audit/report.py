"""The audit of the whole store (AUD)."""

import string
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from sqlalchemy import exists, func, literal, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import aliased

from adapters.sql.audit.account import ACCOUNT_CHECKS
from adapters.sql.audit.author import AUTHOR_CHECKS, audit_journals
from adapters.sql.audit.check import ACCEPTED, Check
from adapters.sql.audit.ledger import ledger_violations
from adapters.sql.audit.license import LICENSE_CHECKS, license_violations
from adapters.sql.audit.managed_domain import managed_domain_violations
from adapters.sql.audit.money import MONEY_CHECKS, money_violations
from adapters.sql.audit.operator import operator_violations
from adapters.sql.audit.order import ORDER_CHECKS, order_violations
from adapters.sql.audit.provider import provider_violations
from adapters.sql.audit.readable import unreadable_values
from adapters.sql.audit.record import record_violations
from adapters.sql.database.engine import LONG
from adapters.sql.database.schema import (
    UNANSWERED,
    AccountRow,
    Base,
    ChangeRow,
    HeldLicenseRow,
    InvitationRow,
    LicensePoolRow,
    ManagedDomainRow,
    MembershipRow,
    OrderRow,
    RefundRow,
    SettlementRow,
    SubscriptionRow,
    TransferRow,
)
from adapters.sql.database.transaction import reading
from domain.audit import AuditReport, Violation
from domain.invitation import InvitationState
from domain.remedy import Removal

_CURRENT: Final = MembershipRow.until.is_(None)
_ITS_MEMBERSHIP: Final = (
    (MembershipRow.invitation_id == InvitationRow.invitation_id)
    & (MembershipRow.account_id == InvitationRow.account_id)
    & (MembershipRow.email == InvitationRow.email)
)

_LABEL_CHARACTERS: Final = f"{string.ascii_lowercase}{string.digits}-"
_IS_LABEL: Final = (
    func.length(AccountRow.vanity_url).between(1, 63)
    & (func.ltrim(AccountRow.vanity_url, _LABEL_CHARACTERS) == "")
    & AccountRow.vanity_url.not_like("-%")
    & AccountRow.vanity_url.not_like("%-")
)
"""Condition on vanity URLs that are one DNS label."""

_LEFT_FOR_INVITATION: Final = "invitation:"
_BEFORE: Final = aliased(MembershipRow)
_WINNER: Final = aliased(InvitationRow)


_CHECKS: Final = (
    Check(
        "INV-15",
        "an invitation that was answered or has ended holds a seat",
        select(InvitationRow.invitation_id).where(InvitationRow.seat_reserved, ~UNANSWERED),
    ),
    Check(
        "AUD",
        "the user is on more than one account",
        select(MembershipRow.email)
        .where(_CURRENT)
        .group_by(MembershipRow.email)
        .having(func.count() > 1),
    ),
    Check(
        "AUD",
        "the membership has no origin: no import, no unlink, no accepted invitation of that person",
        select(MembershipRow.email).where(
            MembershipRow.origin.not_in(["import", "unlink"]),
            ~exists().where(_ITS_MEMBERSHIP, ACCEPTED).correlate(MembershipRow),
        ),
    ),
    Check(
        "INV-11",
        "the invitation was accepted, but there is no membership and no leaving",
        select(InvitationRow.invitation_id).where(
            ACCEPTED, ~exists().where(_ITS_MEMBERSHIP).correlate(InvitationRow)
        ),
    ),
    Check(
        "AUD",
        "the user left for an invitation that was not accepted",
        select(MembershipRow.email).where(
            MembershipRow.leaving.startswith(_LEFT_FOR_INVITATION),
            ~exists()
            .where(
                MembershipRow.leaving
                == literal(_LEFT_FOR_INVITATION) + InvitationRow.invitation_id,
                MembershipRow.email == InvitationRow.email,
                ACCEPTED,
            )
            .correlate(MembershipRow),
        ),
    ),
    Check(
        "AUD",
        "the user was unlinked into the account, but from no other",
        select(MembershipRow.email).where(
            MembershipRow.origin == "unlink",
            ~exists()
            .where(
                _BEFORE.email == MembershipRow.email,
                _BEFORE.leaving == Removal.UNLINK,
                _BEFORE.until == MembershipRow.since,
            )
            .correlate(MembershipRow),
        ),
    ),
    Check(
        "INV-14",
        "the invitation was superseded, but no other of that person was accepted",
        select(InvitationRow.invitation_id).where(
            InvitationRow.state == InvitationState.SUPERSEDED,
            ~exists()
            .where(
                _WINNER.email == InvitationRow.email,
                _WINNER.account_id != InvitationRow.account_id,
                _WINNER.state.in_([s for s in InvitationState if s.accepted]),
            )
            .correlate(InvitationRow),
        ),
    ),
    Check(
        "REF-5",
        "there is a refund, but its invitation was not accepted",
        select(RefundRow.refund_id).where(
            ~exists()
            .where(InvitationRow.invitation_id == RefundRow.invitation_id, ACCEPTED)
            .correlate(RefundRow)
        ),
    ),
    Check(
        "TRF-5",
        "the vanity URL is not one DNS label, and no link is built from it",
        select(AccountRow.id).where(AccountRow.vanity_url.is_not(None), ~_IS_LABEL),
    ),
    Check(
        "SRC-2",
        "the account is closed, but has users",
        select(AccountRow.id).where(
            AccountRow.state == "closed",
            exists().where(MembershipRow.account_id == AccountRow.id, _CURRENT),
        ),
    ),
    Check(
        "SRC-2",
        "the account is closed, but has a live subscription",
        select(AccountRow.id).where(
            AccountRow.state == "closed",
            exists().where(
                SubscriptionRow.account_id == AccountRow.id, SubscriptionRow.ended.is_(None)
            ),
        ),
    ),
)

_ALL_CHECKS: Final = (
    *_CHECKS,
    *ACCOUNT_CHECKS,
    *LICENSE_CHECKS,
    *MONEY_CHECKS,
    *ORDER_CHECKS,
    *AUTHOR_CHECKS,
)

_COUNTED_TABLES: Final[dict[str, type[Base]]] = {
    "accounts": AccountRow,
    "managed_domains": ManagedDomainRow,
    "memberships": MembershipRow,
    "invitations": InvitationRow,
    "pools": LicensePoolRow,
    "holders": HeldLicenseRow,
    "subscriptions": SubscriptionRow,
    "transfers": TransferRow,
    "settlements": SettlementRow,
    "refunds": RefundRow,
    "orders": OrderRow,
    "changes": ChangeRow,
}


_COMPARISONS: Final[tuple[Callable[[AsyncSession], Awaitable[Iterable[Violation]]], ...]] = (
    money_violations,
    order_violations,
    license_violations,
    record_violations,
    ledger_violations,
    provider_violations,
    managed_domain_violations,
    operator_violations,
)

Watch = Callable[[int, int], None]
"""Receives the number of finished steps, and the number of all steps."""


def unwatched(done: int, total: int) -> None:
    """Ignore the progress."""


class _Steps:
    """The steps of an audit; each that ends is reported."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._total = 1 + len(_COUNTED_TABLES) + len(_ALL_CHECKS) + len(_COMPARISONS)
        self._done = 0

    def end(self) -> None:
        self._done += 1
        self._watch(self._done, self._total)


async def audit(engine: AsyncEngine, watch: Watch = unwatched) -> AuditReport:
    """Run all checks on one snapshot; return the counts of records and every violation."""
    steps = _Steps(watch)
    async with reading(engine, LONG) as session:
        journals = await audit_journals(session)
        steps.end()
        counts = dict[str, int]()
        for kind, table in _COUNTED_TABLES.items():
            counts[kind] = await session.scalar(select(func.count()).select_from(table)) or 0
            steps.end()
        violations = list[Violation]()
        for check in _ALL_CHECKS:
            violations += [
                Violation(rule=check.rule, subject=subject, message=check.message)
                for subject in await session.scalars(check.broken)
            ]
            steps.end()
        violations += await _compared(session, steps)
        return AuditReport(
            checked=counts | {"journal_entries": journals.entries},
            violations=(*violations, *journals.violations),
        )


async def _compared(session: AsyncSession, steps: _Steps) -> list[Violation]:
    """Compare records with rows; if any cannot be read, return these instead."""
    found = list[Violation]()
    try:
        for compare in _COMPARISONS:
            found += await compare(session)
            steps.end()
        return found
    except (ArithmeticError, ValueError):
        # Reading every value twice would take long in a store without errors.
        unreadable = await unreadable_values(session)
        if not unreadable:
            raise
        return unreadable
