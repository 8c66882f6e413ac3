"""Checks of the authors of changes (OPS-8)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import JSON, func, or_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.audit.check import Check
from adapters.sql.database.schema import ChangeRow, InvitationRow, OrderRow, RefundRow, TransferRow
from domain.audit import Violation

_RULE: Final = "OPS-8"

AUTHOR_CHECKS: Final = (
    Check(
        _RULE,
        "the ledger entry has no author",
        select(TransferRow.id).where(
            or_(TransferRow.by.is_(None), func.trim(TransferRow.by) == "")
        ),
    ),
    Check(
        _RULE,
        "the recorded change has no author",
        select(ChangeRow.action + " " + ChangeRow.subject).where(func.trim(ChangeRow.by) == ""),
    ),
)

_JOURNALS: Final = (
    (InvitationRow.invitation_id, InvitationRow.record),
    (RefundRow.refund_id, RefundRow.record),
    (OrderRow.order_id, OrderRow.record),
)


@dataclass(frozen=True)
class AuditedJournals:
    """The number of journal entries, and those without an author."""

    entries: int
    violations: Sequence[Violation]


async def audit_journals(session: AsyncSession) -> AuditedJournals:
    """Check that every entry of every journal names its author."""
    entries, violations = 0, list[Violation]()
    for subject, record in _JOURNALS:
        # The whole record is not validated: it may be the fault that is looked for.
        journal = type_coerce(record, JSON)["journal"]
        async for identity, listed in await session.stream(select(subject, journal)):
            entries += len(listed or ())
            violations += [
                Violation(
                    rule=_RULE,
                    subject=identity,
                    message=f"journal entry {number} ({entry.get('event')}) has no author",
                )
                for number, entry in enumerate(listed or (), start=1)
                if not (entry.get("by") or "").strip()
            ]
    return AuditedJournals(entries, violations)
