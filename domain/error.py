"""Errors: refusals by business rules, and unavailable backends."""

from enum import StrEnum
from typing import TypeVar

from pydantic import JsonValue

from domain.model import Value

Result = TypeVar("Result")


class ErrorCode(StrEnum):
    """Error codes; callers match on the code, never on the message."""

    NOT_AUTHORIZED = "not_authorized"
    NOT_FOUND = "not_found"
    INVALID_EMAIL = "invalid_email"
    INVALID_INPUT = "invalid_input"
    ALREADY_MEMBER = "already_member"
    ALREADY_ACCEPTED = "already_accepted"
    BELONGS_TO_OTHER_ACCOUNT = "belongs_to_other_account"
    NOT_PENDING = "not_pending"
    EXPIRED = "expired"
    DECLINED = "declined"
    REVOKED = "revoked"
    UNDELIVERABLE = "undeliverable"
    SUPERSEDED = "superseded"
    RECIPIENT_MISMATCH = "recipient_mismatch"
    BLOCKED = "blocked"
    CHOICE_REQUIRED = "choice_required"
    QUOTE_EXPIRED = "quote_expired"
    CURRENCY_MISMATCH = "currency_mismatch"
    NO_SEATS = "no_seats"
    TARGET_NOT_PAID = "target_not_paid"
    RATE_LIMITED = "rate_limited"
    INVALID_CAPACITY = "invalid_capacity"
    INVALID_QUANTITY = "invalid_quantity"
    INVALID_CYCLE = "invalid_cycle"
    CAPACITY_REQUIRED = "capacity_required"
    BASE_LICENSE_REQUIRED = "base_license_required"
    INSUFFICIENT_LICENSES = "insufficient_licenses"
    ASSIGNED_EXCEEDS_QUANTITY = "assigned_exceeds_quantity"
    DEPENDENCY_VIOLATION = "dependency_violation"
    PAYMENT_DECLINED = "payment_declined"
    CONFLICT = "conflict"
    INVARIANT_BROKEN = "invariant_broken"
    BACKEND_UNAVAILABLE = "backend_unavailable"


class Refused(Exception):
    """A refusal by a business rule; nothing was changed.

    `details` are further members of the JSON error, for example `retry_after_seconds` or
    `blockers`; they must be JSON.
    """

    def __init__(self, code: ErrorCode, message: str, **details: JsonValue) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def as_json(self) -> dict[str, JsonValue]:
        """Return the error as the command line and the pages print it."""
        return {"code": self.code.value, "message": self.message, **self.details}


class Refusal(Value):
    """A refusal as the result of an activity, which is then no failure in Temporal's UI."""

    code: ErrorCode
    message: str
    details: dict[str, JsonValue]

    @classmethod
    def of(cls, refused: Refused) -> "Refusal":
        """Return the refusal as a value.

        A broken invariant is raised: it is a failure, which operators have to see (OPS-4).
        """
        if refused.code is ErrorCode.INVARIANT_BROKEN:
            raise refused
        return cls(code=refused.code, message=refused.message, details=refused.details)

    def as_error(self) -> Refused:
        """Return the refusal as an exception."""
        return Refused(self.code, self.message, **self.details)


def unless_refused(result: Result | Refusal) -> Result:
    """Return the result of an activity. Raises Refused if it is a refusal."""
    if isinstance(result, Refusal):
        raise result.as_error()
    return result


class Unavailable(Exception):
    """A failure to reach a backend (Temporal, the database, the mail server).

    With `outcome_unknown` the request may still be carried out later; repeating it is safe.
    """

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.outcome_unknown = outcome_unknown

    def as_json(self) -> dict[str, JsonValue]:
        """Return the error as the command line and the pages print it."""
        outcome: dict[str, JsonValue] = {"outcome": "unknown"} if self.outcome_unknown else {}
        return {
            "code": ErrorCode.BACKEND_UNAVAILABLE.value,
            "message": self.message,
            **outcome,
        }
