"""The operators' list: cases that only a person can settle (REF-3, REF-4, QUO-6, TRF-1)."""

from collections.abc import Iterator
from enum import StrEnum

from pydantic import AwareDatetime

from domain.address import masked
from domain.invitation import Invitation, InvitationState
from domain.manifest import ItemStatus
from domain.model import Value
from domain.money import Money
from domain.refund import Refund, RefundPlan, RefundState


class AttentionKind(StrEnum):
    """The reason for a case on the operators' list."""

    REFUND_OVERDUE = "refund_overdue"
    """A refund that has not arrived in time; look-ups continue (REF-3)."""
    REFUND_FAILED = "refund_failed"
    """A refund that the provider has failed, with no decision yet (REF-4)."""
    REFUND_NOT_REVERSED = "refund_not_reversed"
    """A refund that arrived after its conversion to credit, which is used already (REF-4)."""
    REFUND_LOOKUP_FAILING = "refund_lookup_failing"
    """A refund whose status the provider does not report; look-ups continue (OPS-3)."""
    REFUND_NOT_REQUESTED = "refund_not_requested"
    """A refund whose request has had no answer for a day (OPS-3)."""
    CREDIT_LEFT_BEHIND = "credit_left_behind"
    """Credit of a closed account that could not move to another currency (QUO-6)."""
    MOVE_FAILED = "move_failed"
    """Data of a person that could not be moved; retries have ended (TRF-1)."""


class AttentionCase(Value):
    """A case for an operator; it leaves the list when it is settled."""

    kind: AttentionKind
    since: AwareDatetime
    account: str
    """The account concerned; for a refund, the account that the payee has joined."""
    id: str
    """The refund's id; for credit the account's id; for data the invitation's workflow id."""
    message: str
    """English text; its only personal data is a masked address."""


def cases_of_refund(plan: RefundPlan, refund: Refund) -> Iterator[AttentionCase]:
    """Yield the cases of this refund in its present state, if any."""
    payee = masked(plan.payee)
    if refund.state is RefundState.OVERDUE:
        yield _case_of(
            AttentionKind.REFUND_OVERDUE,
            refund.entered_at,
            plan,
            f"{_text(refund.amount_open)} to {payee} should have arrived by"
            f" {refund.arrives_between[1]}.",
        )
    if refund.state is RefundState.FAILED:
        reason = f": {refund.failure}" if refund.failure else ""
        yield _case_of(
            AttentionKind.REFUND_FAILED,
            refund.entered_at,
            plan,
            f"{_text(refund.failed)} to {payee} could not be returned{reason}.",
        )
    if late := refund.not_reversed:
        yield _case_of(
            AttentionKind.REFUND_NOT_REVERSED,
            late.at,
            plan,
            f"{_text(late.amount)} to {payee} has arrived after it was credited,"
            " and the credit has been used already.",
        )
    if failing := refund.lookup_failure:
        yield _case_of(
            AttentionKind.REFUND_LOOKUP_FAILING,
            failing.since,
            plan,
            f"The status of {_text(refund.amount_open)} to {payee} is not known: {failing.reason}.",
        )


def case_of_unanswered_request(plan: RefundPlan, refund: Refund) -> AttentionCase:
    """Return the case of a refund that the provider has not accepted or refused."""
    return _case_of(
        AttentionKind.REFUND_NOT_REQUESTED,
        refund.requested_at,
        plan,
        f"The request of {_text(refund.amount)} to {masked(plan.payee)} has no answer.",
    )


def case_of_credit(account: str, credit: Money, since: AwareDatetime) -> AttentionCase:
    """Return the case of the credit that remains on a closed account."""
    return AttentionCase(
        kind=AttentionKind.CREDIT_LEFT_BEHIND,
        since=since,
        account=account,
        id=account,
        message=f"{_text(credit)} of credit stayed behind when the account was closed.",
    )


def cases_of_move(invitation: Invitation) -> Iterator[AttentionCase]:
    """Yield the case of the data that could not be moved, if any."""
    failed = [entry for entry in invitation.manifest if entry.status is ItemStatus.FAILED]
    if failed:
        items = ", ".join(f"{entry.item} ({entry.count})" for entry in failed)
        yield AttentionCase(
            kind=AttentionKind.MOVE_FAILED,
            # The person has been without the data since the acceptance.
            since=next(
                entry.at
                for entry in invitation.journal
                if entry.to_state == InvitationState.ACCEPTED
            ),
            account=invitation.account,
            id=invitation.workflow_id,
            message=f"Not moved for {masked(invitation.email)}: {items}.",
        )


def _case_of(
    kind: AttentionKind, since: AwareDatetime, plan: RefundPlan, message: str
) -> AttentionCase:
    return AttentionCase(
        kind=kind, since=since, account=plan.target, id=plan.refund_id, message=message
    )


def _text(amount: Money) -> str:
    return f"{amount.amount:f} {amount.currency}"
