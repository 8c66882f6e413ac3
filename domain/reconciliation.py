"""Differences between the store, Temporal and the payment provider (OPS-6)."""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from domain.invitation import Invitation
from domain.journal import JournalEntry
from domain.model import Value
from domain.order import Order
from domain.refund import PartReport, PartState, Refund, RefundChange, RefundPart

CHECKED_AGAIN_AFTER: Final = timedelta(seconds=2)
"""Time after which a difference is checked again: running workflows change meanwhile."""


class DivergenceKind(StrEnum):
    """The kind of a difference."""

    RECORD_MISSING = "record_missing"
    """The store has no record of a workflow."""
    ACCEPTANCE_MISSING = "acceptance_missing"
    """A workflow was accepted, and the store has no acceptance."""
    RECORD_BEHIND = "record_behind"
    """The store lacks a change that a workflow has written."""
    WORKFLOW_MISSING = "workflow_missing"
    """A record has not ended, and no workflow of it runs."""
    WORKFLOW_BEHIND = "workflow_behind"
    """A running workflow lacks a change that the store has."""
    REFUND_MISSING = "refund_missing"
    """The provider has a refund that the store lacks."""
    CHARGE_MISSING = "charge_missing"
    """The provider has a charge that the store lacks."""
    REFUND_UNKNOWN = "refund_unknown"
    """The store has a refund that the provider does not know."""
    CHARGE_UNKNOWN = "charge_unknown"
    """The store has a charge that the provider does not know."""
    REFUND_DIFFERS = "refund_differs"
    """Store and provider have different final states of a refund."""


REMEDIES: Final = {
    DivergenceKind.RECORD_MISSING: "write the record from the workflow's history",
    DivergenceKind.ACCEPTANCE_MISSING: "commit the acceptance again, with the same ids",
    DivergenceKind.RECORD_BEHIND: "write the changes from the workflow's history again",
    DivergenceKind.WORKFLOW_MISSING: "restart the workflow from the record",
    DivergenceKind.WORKFLOW_BEHIND: "make the workflow continue from the record",
    DivergenceKind.REFUND_MISSING: "book the provider's refund",
    DivergenceKind.CHARGE_MISSING: "book the provider's charge",
    DivergenceKind.REFUND_UNKNOWN: "request the refund again, with the same key",
    DivergenceKind.CHARGE_UNKNOWN: "none: compare the invoice with the provider's charges",
    DivergenceKind.REFUND_DIFFERS: "look the refund up at the provider",
}
"""The action of `--fix` for each kind."""


class Divergence(Value):
    """One difference; `store` and `elsewhere` are what each side shows."""

    kind: DivergenceKind
    subject: str
    """The workflow's id, or the provider's key of a refund or charge."""
    store: str | None
    elsewhere: str | None
    remedy: str
    """The action of `--fix`, or after it the reason why a person has to act."""
    account: str = ""
    run: str = ""
    """The run of the workflow, if another one may have the same id."""

    @classmethod
    def of(
        cls,
        kind: DivergenceKind,
        subject: str,
        *,
        store: str | None,
        elsewhere: str | None,
        account: str = "",
        run: str = "",
    ) -> "Divergence":
        """Return the difference with the remedy of its kind."""
        return cls(
            kind=kind,
            subject=subject,
            store=store,
            elsewhere=elsewhere,
            remedy=REMEDIES[kind],
            account=account,
            run=run,
        )

    @property
    def key(self) -> str:
        """Return the identity of the difference, whatever the states are now."""
        return f"{self.kind}/{self.subject}/{self.run}"


class Reconciliation(Value):
    """The numbers of compared records, and the differences."""

    checked: dict[str, int]
    """The number of compared records of each kind."""
    divergences: tuple[Divergence, ...]
    """Those found; after `--fix` those left, which are on the operators' list."""
    fixed: tuple[Divergence, ...] = ()
    """Those that `--fix` has removed."""


def lacks(stored: Sequence[JournalEntry], shown: Sequence[JournalEntry]) -> bool:
    """Return whether the stored journal lacks entries of the shown one.

    A claim and its workflow begin at different times, so the first entries may differ. Authors and
    notes are not compared: a person who was forgotten has a pseudonym in the store.
    """
    return [_step(entry) for entry in stored[1 : len(shown)]] != [
        _step(entry) for entry in shown[1:]
    ]


def _step(entry: JournalEntry) -> tuple[object, ...]:
    return entry.at, entry.event, entry.from_state, entry.to_state


def compare_invitation(stored: Invitation, shown: Invitation) -> DivergenceKind | None:
    """Return the kind of the difference between the record and the last write of its workflow.

    What follows an acceptance is carried out again from the record, so it is not compared.
    """
    if stored.state.accepted:
        ended = stored.state.final and not shown.state.final
        behind = ended or not shown.state.accepted
        return DivergenceKind.WORKFLOW_BEHIND if behind else None
    if shown.state.accepted:
        return DivergenceKind.ACCEPTANCE_MISSING
    if lacks(stored.journal, shown.journal):
        return DivergenceKind.RECORD_BEHIND
    if len(stored.journal) > len(shown.journal):
        return DivergenceKind.WORKFLOW_BEHIND
    same = (stored.sent_count, stored.expires_at) == (shown.sent_count, shown.expires_at)
    return None if same or stored.state.final else DivergenceKind.RECORD_BEHIND


def compare_order(stored: Order, shown: Order) -> DivergenceKind | None:
    """Return the kind of the difference between the record and the last write of its workflow."""
    if len(stored.journal) != len(shown.journal):
        behind = len(stored.journal) < len(shown.journal)
        return DivergenceKind.RECORD_BEHIND if behind else DivergenceKind.WORKFLOW_BEHIND
    return DivergenceKind.RECORD_BEHIND if _payments(stored) != _payments(shown) else None


def _payments(order: Order) -> tuple[object, ...]:
    return order.invoices, order.paid_until, order.tries, order.pending, order.quantity


def is_booked(stored: Refund, change: RefundChange) -> bool:
    """Return whether the stored refund has a change that its workflow has written."""
    known, entries = change.known_entries, len(stored.journal)
    if change.entry:
        return entries > known
    parts = {part.payment: part for part in stored.parts}
    same = all(_same_status(parts.get(part.payment), part) for part in change.parts)
    return entries > known or (entries == known and same)


def _same_status(stored: RefundPart | None, written: RefundPart) -> bool:
    # The provider's id is another one after its refund was requested again.
    return stored is not None and (stored.attempt, stored.state) == (written.attempt, written.state)


class RefundKey(NamedTuple):
    """The parts of the key with which a refund was requested from the provider."""

    refund_id: str
    payment: str
    attempt: int

    @classmethod
    def of(cls, key: str) -> "RefundKey":
        """Parse a key that `request_key` made."""
        refund_id, rest = key.split("/", 1)
        payment, attempt = rest.rsplit("/", 1)
        return cls(refund_id, payment, int(attempt))


def compare_part(part: RefundPart, report: PartReport) -> DivergenceKind | None:
    """Return the kind of the difference between a part and the provider's status of it.

    A status that the next look-up reads is no difference.
    """
    if part.provider_id is None and part.failure is None:
        return DivergenceKind.REFUND_MISSING
    arrived = report.state is PartState.SUCCEEDED
    contradicted = (part.state is PartState.SUCCEEDED and report.state.failed) or (
        arrived and (part.state.failed or part.state.converted_or_closed)
    )
    return DivergenceKind.REFUND_DIFFERS if contradicted else None
