"""What an audit of the store found (AUD)."""

from domain.model import Value


class Violation(Value):
    """Something that must be true and is not."""

    rule: str
    """The rule that it breaks, for example `INV-11`."""
    subject: str
    """What breaks it: an account, a user, an invitation."""
    message: str


class AuditReport(Value):
    """What was looked at, and what is wrong."""

    checked: dict[str, int]
    """How many of each kind were looked at."""
    violations: tuple[Violation, ...]
