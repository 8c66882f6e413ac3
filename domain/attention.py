"""What waits for an operator: the one list to go through each day (REF-3, REF-4, QUO-6, TRF-1)."""

from collections.abc import Iterator
from enum import StrEnum

from pydantic import AwareDatetime

from domain.address import masked
from domain.invitation import Invitation, InvitationState
from domain.manifest import ItemStatus
from domain.model import Value
from domain.money import Money
from domain.refund import Refund, RefundOrder, RefundState


class AttentionKind(StrEnum):
    """Why an operator is wanted."""

    REFUND_OVERDUE = "refund_overdue"
    """Later than was promised; it is still looked up (REF-3)."""
    REFUND_FAILED = "refund_failed"
    """The provider will not return it, and nobody has decided (REF-4)."""
    REFUND_NOT_REVERSED = "refund_not_reversed"
    """It has arrived after all, and the credit that it had become is used (REF-4)."""
    CREDIT_LEFT_BEHIND = "credit_left_behind"
    """Credit of a closed account, which could not follow into another currency (QUO-6)."""
    MOVE_FAILED = "move_failed"
    """Some of a person's data was not moved, and is not tried any more (TRF-1)."""


class AttentionCase(Value):
    """One case that nothing but an operator moves on; it goes when it is settled."""

    kind: AttentionKind
    since: AwareDatetime
    account: str
    """The account that it is about; of a refund, the one that the payee has joined."""
    id: str
    """What it is found by: a refund's id, for credit the account itself, for data the id of the
    invitation's workflow."""
    message: str
    """English; no personal data but a masked address."""


def cases_of_refund(order: RefundOrder, refund: Refund) -> Iterator[AttentionCase]:
    """Why an operator is wanted for this refund as it stands, if at all."""
    payee = masked(order.payee)
    if refund.state is RefundState.OVERDUE:
        yield _case_of(
            AttentionKind.REFUND_OVERDUE,
            refund.journal[-1].at,
            order,
            f"{_said(refund.amount_open)} to {payee} should have arrived by"
            f" {refund.arrives_between[1]}.",
        )
    if refund.state is RefundState.FAILED:
        reason = f": {refund.failure}" if refund.failure else ""
        yield _case_of(
            AttentionKind.REFUND_FAILED,
            refund.journal[-1].at,
            order,
            f"{_said(refund.failed)} to {payee} could not be returned{reason}.",
        )
    if late := refund.not_reversed:
        yield _case_of(
            AttentionKind.REFUND_NOT_REVERSED,
            late.at,
            order,
            f"{_said(late.amount)} to {payee} has arrived after it was credited,"
            " and the credit has been used already.",
        )


def case_of_credit(account: str, credit: Money, since: AwareDatetime) -> AttentionCase:
    """Credit that a closed account was left with."""
    return AttentionCase(
        kind=AttentionKind.CREDIT_LEFT_BEHIND,
        since=since,
        account=account,
        id=account,
        message=f"{_said(credit)} of credit stayed behind when the account was closed.",
    )


def cases_of_move(invitation: Invitation) -> Iterator[AttentionCase]:
    """What was given up of the data that a person was to take along, if anything."""
    given_up = [entry for entry in invitation.manifest if entry.status is ItemStatus.FAILED]
    if given_up:
        items = ", ".join(f"{entry.item} ({entry.count})" for entry in given_up)
        yield AttentionCase(
            kind=AttentionKind.MOVE_FAILED,
            # So long have they gone without it.
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
    kind: AttentionKind, since: AwareDatetime, order: RefundOrder, message: str
) -> AttentionCase:
    return AttentionCase(
        kind=kind, since=since, account=order.target, id=order.refund_id, message=message
    )


def _said(amount: Money) -> str:
    return f"{amount.amount:f} {amount.currency}"
