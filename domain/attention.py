"""The operators' list: everything that waits for a person (OPS-5)."""

import shlex
from collections.abc import Iterator
from enum import StrEnum

from pydantic import AwareDatetime

from domain.address import masked
from domain.invitation import Invitation, InvitationState
from domain.manifest import ItemStatus
from domain.model import Value
from domain.money import Money
from domain.refund import Refund, RefundPlan, RefundState
from domain.reversal import Reversal, ReversalKind, ReversalStatus


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
    REFUND_REVERSED = "refund_reversed"
    """A refund that had arrived and came back (REF-4)."""
    PAYMENT_DISPUTED = "payment_disputed"
    """A payment that the payer disputes, until it is won or an operator closes it."""
    CREDIT_LEFT_BEHIND = "credit_left_behind"
    """Credit of a closed account that could not move to another currency (QUO-6)."""
    MOVE_FAILED = "move_failed"
    """Data of a person that could not be moved; retries have ended (TRF-1)."""
    LETTER_UNDELIVERABLE = "letter_undeliverable"
    """A letter that was refused, or that could not be sent for a day (OPS-1)."""
    FOLLOW_UP_FAILING = "follow_up_failing"
    """Another row of the outbox that was given up, or that failed for a day (OPS-1)."""
    INVARIANT_BROKEN = "invariant_broken"
    """A change that the store refused, because it would break an invariant (OPS-4)."""
    WORKFLOW_TASK_FAILING = "workflow_task_failing"
    """A workflow whose task fails again and again, so that it does not continue."""
    WORKFLOW_ENDED = "workflow_ended"
    """A workflow that was ended from outside or failed, while its record has not ended."""
    ACTIVITY_FAILING = "activity_failing"
    """An activity of a workflow that has been failing for an hour."""
    DIVERGENCE = "divergence"
    """A difference from Temporal or the provider that `reconcile` could not remove (OPS-6)."""
    TEMPORAL_UNREACHABLE = "temporal_unreachable"
    """Temporal does not answer, so that the cases that it knows are missing."""


class AttentionCase(Value):
    """A case for an operator; it leaves the list when it is settled."""

    kind: AttentionKind
    since: AwareDatetime
    account: str
    """The account concerned; for a refund, the account that the payee has joined."""
    id: str
    """The id of the refund, reversal, account or workflow, or the number of a row."""
    message: str
    """English text: the problem and its remedy; its only personal data is a masked address."""
    remedy: str
    """The command that does something about it; without personal data."""


class Problem(Value):
    """A failing activity, or a broken invariant, that a worker has found."""

    kind: AttentionKind = AttentionKind.ACTIVITY_FAILING
    key: str
    """The workflow id, run id and activity id, joined by slashes.

    For a broken invariant the type of the activity instead of its id.
    """
    since: AwareDatetime
    """The time at which it was scheduled first, or at which the invariant was broken."""
    message: str
    """The activity and its last failure, without personal data."""

    @property
    def activity(self) -> tuple[str, str, str]:
        """Return the workflow id, which may contain slashes, the run id and the activity id."""
        workflow_id, run_id, activity_id = self.key.rsplit("/", 2)
        return workflow_id, run_id, activity_id


def cases_of_refund(plan: RefundPlan, refund: Refund) -> Iterator[AttentionCase]:
    """Yield the cases of this refund in its present state, if any."""
    payee = masked(plan.payee)
    if refund.state is RefundState.OVERDUE:
        yield _case_of(
            AttentionKind.REFUND_OVERDUE,
            refund.entered_at,
            plan,
            f"{_text(refund.amount_open)} to {payee} should have arrived by"
            f" {refund.arrives_between[1]}. Contact the payment provider; closing gives it up.",
            command("seatflow", "refund", "close", plan.refund_id, "--reason", "TEXT"),
        )
    if refund.state is RefundState.FAILED:
        reason = f": {refund.failure}" if refund.failure else ""
        yield _case_of(
            AttentionKind.REFUND_FAILED,
            refund.entered_at,
            plan,
            f"{_text(refund.failed)} to {payee} could not be returned{reason}."
            " Convert it to credit, retry it, or close it.",
            command("seatflow", "refund", "convert", plan.refund_id, "--to-credit"),
        )
    if late := refund.not_reversed:
        yield _case_of(
            AttentionKind.REFUND_NOT_REVERSED,
            late.at,
            plan,
            f"{_text(late.amount)} to {payee} has arrived after it was credited,"
            " and the credit has been used already. Claim the amount back, or waive it.",
            command("seatflow", "credit", "show", plan.target),
        )
    if failing := refund.lookup_failure:
        yield _case_of(
            AttentionKind.REFUND_LOOKUP_FAILING,
            failing.since,
            plan,
            f"The status of {_text(refund.amount_open)} to {payee} is not known: {failing.reason}."
            " Correct the provider's key or settings; look-ups continue.",
            command("seatflow", "refund", "show", plan.refund_id),
        )


def case_of_unanswered_request(plan: RefundPlan, refund: Refund) -> AttentionCase:
    """Return the case of a refund that the provider has not accepted or refused."""
    return _case_of(
        AttentionKind.REFUND_NOT_REQUESTED,
        refund.requested_at,
        plan,
        f"The request of {_text(refund.amount)} to {masked(plan.payee)} has no answer."
        " Check that the payment provider answers; the request is repeated.",
        command("seatflow", "refund", "show", plan.refund_id),
    )


def case_of_reversal(reversal: Reversal) -> AttentionCase:
    """Return the case of a disputed payment or a returned refund."""
    because = f" ({reversal.reason})" if reversal.reason else ""
    amount = _text(reversal.amount)
    match reversal.kind, reversal.status:
        case ReversalKind.REFUND, _:
            kind = AttentionKind.REFUND_REVERSED
            message = (
                f"{amount} of the refund {reversal.subject} had arrived and came back{because}."
                " Agree with the payee on another way, then close the case."
            )
        case _, ReversalStatus.LOST:
            kind = AttentionKind.PAYMENT_DISPUTED
            message = (
                f"The dispute about the payment {reversal.subject} was lost{because}:"
                f" {amount} are gone. Agree with the account how to pay them, then close the case."
            )
        case _:
            kind = AttentionKind.PAYMENT_DISPUTED
            next_step = (
                f"Answer at the payment provider by {reversal.answer_by:%Y-%m-%d %H:%M} UTC;"
                " closing gives no answer."
                if reversal.answer_by
                else "The bank is deciding; a lost dispute is listed again."
            )
            message = (
                f"{amount} of the payment {reversal.subject} are disputed{because}. {next_step}"
            )
    return AttentionCase(
        kind=kind,
        since=reversal.since,
        account=reversal.account,
        id=reversal.reversal_id,
        message=message,
        remedy=command("seatflow", "reversal", "close", reversal.reversal_id, "--reason", "TEXT"),
    )


def case_of_credit(account: str, credit: Money, since: AwareDatetime) -> AttentionCase:
    """Return the case of the credit that remains on a closed account."""
    return AttentionCase(
        kind=AttentionKind.CREDIT_LEFT_BEHIND,
        since=since,
        account=account,
        id=account,
        message=f"{_text(credit)} of credit stayed behind when the account was closed."
        " Agree with the former owner what happens to it.",
        remedy=command("seatflow", "credit", "show", account),
    )


def case_of_divergence(
    number: int, subject: str, account: str, since: AwareDatetime, message: str
) -> AttentionCase:
    """Return the case of a difference that only a person can remove."""
    return AttentionCase(
        kind=AttentionKind.DIVERGENCE,
        since=since,
        account=account,
        id=subject,
        message=message,
        remedy=command("seatflow", "reconcile", "--settled", str(number)),
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
            message=f"Not moved for {masked(invitation.email)}: {items}."
            " Fix the cause, then retry the move.",
            # The key in the workflow id instead of the address.
            remedy=command(
                "seatflow",
                "retry-move",
                invitation.account,
                invitation.workflow_id.rpartition("/")[2],
            ),
        )


def command(*words: str) -> str:
    """Return a command line that a shell reads as these words."""
    return shlex.join(words)


def _case_of(
    kind: AttentionKind, since: AwareDatetime, plan: RefundPlan, message: str, remedy: str
) -> AttentionCase:
    return AttentionCase(
        kind=kind,
        since=since,
        account=plan.target,
        id=plan.refund_id,
        message=message,
        remedy=remedy,
    )


def _text(amount: Money) -> str:
    return f"{amount.amount:f} {amount.currency}"
