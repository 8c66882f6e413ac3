"""Builders of source accounts with paid subscriptions."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from domain.account import Account, Role
from domain.blocker import find_blockers
from domain.invitation import Blocker, BlockerItem

OWNER = "ann@example.com"


def a_payment(
    amount: str, method: str = "card", *, id: str = "pay-1", refundable: bool = True
) -> dict[str, Any]:
    return {"id": id, "method": method, "amount": amount, "refundable": refundable}


def a_line(
    start: date | datetime,
    end: date | datetime,
    payments: Sequence[dict[str, Any]] = (),
    *,
    id: str = "sub-1",
    cancellation_pending: bool = False,
) -> dict[str, Any]:
    return {
        "id": id,
        "product": "Pro",
        "kind": "plan",
        "quantity": 1,
        "cycle": "monthly",
        "period_start": start,
        "period_end": end,
        "cancellation_pending": cancellation_pending,
        "payments": payments,
    }


def a_source(*lines: dict[str, Any], **parts: Any) -> Account:
    return Account.model_validate(
        {
            "id": "solo",
            "name": "Solo",
            "plan": "pro",
            "currency": "EUR",
            "time_zone": "Europe/Berlin",
            "country": "DE",
            "collection": "autopay",
            "users": [{"email": OWNER, "role": "owner"}],
            "subscriptions": lines,
            **parts,
        }
    )


def blockers_of(source: Account) -> tuple[Blocker, ...]:
    """Return the blockers of the owner of an account that is complete."""
    others = [user for user in source.users if user.role is not Role.OWNER]
    users = (BlockerItem(kind="user", id=user.email, name=user.name) for user in others)
    rooms = (BlockerItem(kind="room", id=room.id, name=room.name) for room in source.rooms)
    return find_blockers(source, (*users, *rooms))
