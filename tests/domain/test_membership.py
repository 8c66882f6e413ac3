"""Rules about the accounts that people may be invited into."""

import pytest

from domain.error import ErrorCode, Refused
from domain.membership import require_paid


class Target:
    """An account."""

    def __init__(self, *, paid: bool, suspended: bool, state: str) -> None:
        self.id, self.paid, self.suspended, self.state = "acme", paid, suspended, state


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target(paid=False, suspended=False, state="open"), "acme has the free plan; only a paid"),
        (Target(paid=True, suspended=True, state="open"), "acme is suspended."),
        (Target(paid=True, suspended=True, state="closed"), "acme is closed."),
    ],
)
def test_the_refusal_of_an_account_names_the_true_reason(target: Target, message: str) -> None:
    """INV-1, INV-12: `target_not_paid`."""
    with pytest.raises(Refused) as refused:
        require_paid(target)
    assert refused.value.code is ErrorCode.TARGET_NOT_PAID
    assert refused.value.message.startswith(message)
