"""Blockers of an owner's acceptance, and the times of rechecks (BLK).

`docs/add-a-blocker.md` lists what a new blocker changes.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from domain.account import Account
from domain.error import ErrorCode, Refused
from domain.invitation import Blocker, BlockerItem
from domain.money import Money

RECHECK_AFTER = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(hours=1),
    timedelta(hours=6),
)
RECHECK_EVERY = timedelta(hours=24)
"""The rechecks of a blocked invitation, which find changes without an outbox row (BLK-4)."""


class BlockerCode(StrEnum):
    """The code of a blocker, as commands print it and the search attribute `Blockers` holds it."""

    OTHER_USERS_OR_ROOMS = "1009"
    OUTSTANDING_INVOICE = "outstanding_invoice"
    CANCELLATION_PENDING = "cancellation_pending"


def recheck_at(blocked_since: datetime, rechecks: int) -> datetime:
    """Return the time of the next recheck, after `rechecks` since the blockers last changed."""
    if rechecks < len(RECHECK_AFTER):
        return blocked_since + RECHECK_AFTER[rechecks]
    further = rechecks - len(RECHECK_AFTER) + 1
    return blocked_since + RECHECK_AFTER[-1] + further * RECHECK_EVERY


def blocked(blockers: Iterable[Blocker]) -> Refused:
    """Return the refusal of an acceptance, with all blockers (BLK-4)."""
    return Refused(
        ErrorCode.BLOCKED,
        "Blockers prevent leaving the current account.",
        blockers=[blocker.model_dump(mode="json") for blocker in blockers],
    )


def find_blockers(source: Account, others: Iterable[BlockerItem]) -> tuple[Blocker, ...]:
    """Return all blockers that prevent the owner from leaving `source` (BLK).

    `others` are all its other users and its rooms, which `source` need not have.
    """
    found = (_others_left(source, others), _open_invoices(source), _pending_cancellation(source))
    return tuple(blocker for blocker in found if blocker.count)


def _others_left(source: Account, others: Iterable[BlockerItem]) -> Blocker:
    return Blocker.of(
        others,
        code=BlockerCode.OTHER_USERS_OR_ROOMS,
        message="Your account still has other users or rooms.",
        remedy="Delete, unlink or invite the other users, and delete the rooms.",
        cleared_by="owner of the source account",
        account=source.id,
    )


def _open_invoices(source: Account) -> Blocker:
    return Blocker.of(
        (
            BlockerItem(
                kind="invoice",
                id=invoice.id,
                amount=Money(amount=invoice.amount_due, currency=source.currency),
                due_on=invoice.due_on,
            )
            for invoice in source.invoices
            if invoice.status == "open"
        ),
        code=BlockerCode.OUTSTANDING_INVOICE,
        message="Your account has open invoices.",
        remedy="Pay the invoices.",
        cleared_by="owner of the source account",
        account=source.id,
    )


def _pending_cancellation(source: Account) -> Blocker:
    return Blocker.of(
        (
            BlockerItem(kind="subscription", id=line.id, name=line.product)
            for line in source.subscriptions
            if line.cancellation_pending
        ),
        code=BlockerCode.CANCELLATION_PENDING,
        message="A cancellation of your plan is pending.",
        remedy="Reactivate the plan, then accept, to get the prorated refund or credit.",
        cleared_by="owner of the source account",
        account=source.id,
    )
