"""Blockers of an owner's acceptance."""

from decimal import Decimal

from domain.invitation import Blocker
from tests.builders.source_account import OWNER, a_source, blockers_of


def blocked_by(*items: str) -> Blocker:
    """Return the blocker of an account with these rooms."""
    [found] = blockers_of(a_source(rooms=[{"id": item} for item in items]))
    return found


def test_nothing_blocks_a_clean_account() -> None:
    """BLK-1 to BLK-3: no other users, rooms, invoices and cancellations."""
    assert blockers_of(a_source()) == ()


def test_every_blocker_is_found_at_once_with_its_items() -> None:
    """BLK-1, BLK-2, BLK-3: all blockers are found together, each with its items."""
    account = a_source(
        users=[
            {"email": OWNER, "role": "owner"},
            {"email": "bob@example.com", "role": "member"},
        ],
        rooms=[{"id": "room-1"}],
        invoices=[
            {"id": "inv-1", "amount_due": "12.50", "due_on": "2026-12-01"},
            {"id": "inv-2", "amount_due": "0.00", "due_on": "2026-10-01", "status": "paid"},
        ],
        subscriptions=[
            {
                "id": "sub-1",
                "product": "Pro",
                "kind": "plan",
                "quantity": 1,
                "cycle": "monthly",
                "period_start": "2026-11-01",
                "period_end": "2026-12-01",
                "cancellation_pending": True,
                "payments": [],
            }
        ],
    )
    found = blockers_of(account)
    assert {blocker.code: [item.id for item in blocker.items] for blocker in found} == {
        "1009": ["bob@example.com", "room-1"],
        "outstanding_invoice": ["inv-1"],
        "cancellation_pending": ["sub-1"],
    }
    assert found[0].kinds == {"user": 1, "room": 1}
    open_invoice = found[1]
    assert open_invoice.items[0].amount is not None
    assert open_invoice.items[0].amount.amount == Decimal("12.50")


def test_a_blocker_lists_fifty_items_and_counts_all() -> None:
    """BLK-1, OPS-7: its size does not depend on their number."""
    few, many = (blocked_by(*(f"room-{n}" for n in range(1000, end))) for end in (1050, 9000))
    assert (few.count, few.unlisted) == (50, 0)
    assert (many.count, many.unlisted, many.kinds) == (8000, 7950, {"room": 8000})
    assert many.items == few.items
    assert len(many.model_dump_json()) < len(few.model_dump_json()) + 10


def test_blockers_with_the_same_items_are_equal() -> None:
    """BLK-4: a change of an item that is not listed is a change of the list."""
    rooms = [f"room-{n}" for n in range(60)]
    assert blocked_by(*rooms) == blocked_by(*rooms)
    assert blocked_by(*rooms) != blocked_by(*rooms[:-1], "other")
    assert blocked_by("ab", "c") != blocked_by("a", "bc")
