"""The result of an audit of the store (AUD)."""

from domain.model import Value


class Violation(Value):
    """A violated invariant."""

    rule: str
    """The id of the violated rule, for example `INV-11`."""
    subject: str
    """The account, user or invitation that violates it."""
    message: str


class AuditReport(Value):
    """The numbers of checked records, and the violations found."""

    checked: dict[str, int]
    """The number of checked records of each kind."""
    violations: tuple[Violation, ...]
