"""The lifecycles as tables, as the domain's rules define them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from domain.assignment import AssignmentState
from domain.error import ErrorCode
from domain.invitation import InvitationState
from domain.order import OrderState
from domain.refund import RefundState
from states.assignment import AssignmentMachine
from states.invitation import InvitationMachine
from states.lifecycle import LifecycleMachine
from states.order import OrderMachine
from states.refund import RefundMachine

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass(frozen=True)
class TransitionTable:
    """A lifecycle as the domain's rules define it."""

    machine: type[LifecycleMachine]
    states: type[StrEnum]
    moves: Mapping[str, Mapping[str, str]]
    """Targets by state and event; all other events are refused."""
    codes: Mapping[str, ErrorCode] = field(default_factory=dict)
    """The refusal codes of states where it is not `conflict`."""

    @property
    def events(self) -> list[str]:
        return sorted({event for moves in self.moves.values() for event in moves})


INVITATION = TransitionTable(
    InvitationMachine,
    InvitationState,
    {
        "announced": {
            "invite": "sent",
            "bounce": "undeliverable",
            "revoke": "revoked",
            "supersede": "superseded",
        },
        "sent": {
            "deliver": "pending",
            "join": "accepted",
            "bounce": "undeliverable",
            "revoke": "revoked",
            "supersede": "superseded",
        },
        "pending": {
            "accept": "accepted",
            "block": "blocked",
            "resend": "pending",
            "remind": "pending",
            "decline": "declined",
            "expire": "expired",
            "bounce": "undeliverable",
            "revoke": "revoked",
            "supersede": "superseded",
        },
        "blocked": {
            "accept": "accepted",
            "block": "blocked",
            "unblock": "pending",
            "resend": "blocked",
            "remind": "blocked",
            "decline": "declined",
            "expire": "expired",
            "bounce": "undeliverable",
            "revoke": "revoked",
            "supersede": "superseded",
        },
        "accepted": {
            "refund": "refunding",
            "transfer": "transferring",
            "complete": "completed",
            "cancel_requested": "accepted",
        },
        "refunding": {"complete": "completed", "cancel_requested": "refunding"},
        "transferring": {"complete": "completed", "cancel_requested": "transferring"},
    },
    codes={
        "announced": ErrorCode.NOT_PENDING,
        "sent": ErrorCode.NOT_PENDING,
        "pending": ErrorCode.CONFLICT,
        "blocked": ErrorCode.BLOCKED,
        "accepted": ErrorCode.ALREADY_ACCEPTED,
        "refunding": ErrorCode.ALREADY_ACCEPTED,
        "transferring": ErrorCode.ALREADY_ACCEPTED,
        "completed": ErrorCode.ALREADY_ACCEPTED,
        "declined": ErrorCode.DECLINED,
        "revoked": ErrorCode.REVOKED,
        "expired": ErrorCode.EXPIRED,
        "undeliverable": ErrorCode.UNDELIVERABLE,
        "superseded": ErrorCode.SUPERSEDED,
    },
)
"""INV: the machine of an invitation."""

REFUND = TransitionTable(
    RefundMachine,
    RefundState,
    {
        "requested": {
            "submit": "processing",
            "settle": "settled",
            "fail": "failed",
            "fall_due": "overdue",
            "cancel_requested": "requested",
        },
        "processing": {
            "settle": "settled",
            "fail": "failed",
            "fall_due": "overdue",
            "cancel_requested": "processing",
        },
        "overdue": {
            "settle": "settled",
            "fail": "failed",
            "close": "closed",
            "cancel_requested": "overdue",
        },
        "failed": {
            "settle": "settled",
            "retry": "processing",
            "resume": "processing",
            "convert": "converted",
            "close": "closed",
            "cancel_requested": "failed",
        },
        "converted": {"settle": "settled", "cancel_requested": "converted"},
        "closed": {"settle": "settled", "cancel_requested": "closed"},
    },
)
"""REF: the machine of a refund."""

_DURING_THE_TERM = {
    "renew": "active",
    "decline": "payment_failed",
    "change_quantity": "active",
    "reduce": "active",
    "cancel": "active",
    "cancel_requested": "active",
    "end": "ended",
}

ORDER = TransitionTable(
    OrderMachine,
    OrderState,
    {
        "draft": {"review": "review", "place": "placed", "give_up": "cancelled"},
        "review": {
            "confirm": "placed",
            "lapse": "cancelled",
            "cancel": "cancelled",
            "give_up": "cancelled",
        },
        "placed": {
            "pay": "paid",
            "decline": "payment_failed",
            "cancel_requested": "placed",
            "give_up": "cancelled",
        },
        "paid": {"activate": "active", "end": "ended"},
        "active": _DURING_THE_TERM,
        "payment_failed": {
            "pay": "paid",
            "renew": "active",
            "decline": "payment_failed",
            "cancel": "cancelled",
            "cancel_requested": "payment_failed",
            "give_up": "cancelled",
            "end": "ended",
        },
    },
)
"""ADD: the machine of an order."""

ASSIGNMENT = TransitionTable(
    AssignmentMachine,
    AssignmentState,
    {
        "requested": {
            "assign": "assigned",
            "wait": "waiting",
            "refuse": "refused",
            "cancel_requested": "requested",
        },
        "waiting": {
            "assign": "assigned",
            "refuse": "refused",
            "release": "released",
            "cancel_requested": "waiting",
        },
        "assigned": {"release": "released"},
    },
)
"""ASG: the machine of one user's assignment."""

TABLES = (INVITATION, REFUND, ORDER, ASSIGNMENT)
