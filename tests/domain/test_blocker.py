"""Blockers of an owner's acceptance."""

from decimal import Decimal
from typing import Any

from domain.account import Account
from domain.blocker import find_blockers

OWNER = "ann@example.com"


def an_account(**parts: Any) -> Account:
    return Account.model_validate(
        {
            "id": "solo",
            "name": "Solo",
            "plan": "free",
            "currency": "EUR",
            "time_zone": "Europe/Berlin",
            "country": "DE",
            "collection": "autopay",
            "users": [{"email": OWNER, "role": "owner"}],
            **parts,
        }
    )


def test_nothing_blocks_a_clean_account() -> None:
    """BLK-1 to BLK-3: no other users, rooms, invoices and cancellations."""
    assert find_blockers(an_account(), OWNER) == ()


def test_every_blocker_is_found_at_once_with_its_items() -> None:
    """BLK-1, BLK-2, BLK-3: all blockers are found together, each with its items."""
    account = an_account(
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
    found = {
        blocker.code: [item.id for item in blocker.items]
        for blocker in find_blockers(account, OWNER)
    }
    assert found == {
        "1009": ["bob@example.com", "room-1"],
        "outstanding_invoice": ["inv-1"],
        "cancellation_pending": ["sub-1"],
    }
    [open_invoice] = [b for b in find_blockers(account, OWNER) if b.code == "outstanding_invoice"]
    assert open_invoice.items[0].amount is not None
    assert open_invoice.items[0].amount.amount == Decimal("12.50")
