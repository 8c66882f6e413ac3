"""A person who has left is taken out of every row of the store (OPS-9)."""

import pytest

from domain.error import ErrorCode, Refused
from tests.builders.invitation import StoreScenario
from tests.builders.person import LATE, NINA, dump, fill, traces

OTHERS = ("joannina@nord.example.org",)


async def test_nothing_is_left_of_a_person_who_was_everywhere(scenario: StoreScenario) -> None:
    """OPS-9: no table has the address, a name or content of the person; amounts stay."""
    await fill(scenario)
    before = await dump(scenario.engine)
    assert traces(before).keys() >= {
        "accounts", "announcements", "assignment_requests", "assignments", "bulk_rows",
        "divergences", "invitations", "managed_domains", "memberships", "moved_items", "orders",
        "people", "problems", "refunds",
    }  # fmt: skip
    assert (await scenario.store.audit()).violations == ()
    result = await scenario.store.people.forget(NINA, LATE)
    after = await dump(scenario.engine)
    left = {
        name: [line for line in lines if not any(other in line for other in OTHERS)]
        for name, lines in traces(after).items()
    }
    assert {name: lines for name, lines in left.items() if lines} == {}
    assert (await scenario.store.audit()).violations == ()
    for table in ("transfers", "balances", "payments", "subscriptions", "settlements"):
        assert before[table] == after[table]
    assert result.forgotten.keys() >= {"invitations", "memberships", "orders", "announcements"}
    assert result.kept["invitations"] >= 2
