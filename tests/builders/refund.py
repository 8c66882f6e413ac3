"""Accounts that have paid for something, and what their owners do with it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.invitation import AccountJoined
from domain.invitation import Choice, Invite
from domain.money import Money
from domain.refund import PartState, Refund, RefundPlan
from states.refund import initial_record
from tests.builders.invitation import NOON, Town, account, directory, user

PAULA = "paula@paid.example"
ACCEPTED_AT = NOON + timedelta(hours=1)

LINE = {
    "id": "sub-1",
    "product": "Pro",
    "kind": "plan",
    "quantity": 1,
    "cycle": "monthly",
    # On 2 March 20 of 40 days are unused.
    "period_start": "2026-02-10",
    "period_end": "2026-03-22",
    "payments": [
        {"id": "card-1", "method": "card", "amount": "60.00"},
        {"id": "bank-1", "method": "bank", "amount": "20.00"},
        {"id": "old-1", "method": "credit", "amount": "20.00"},
    ],
}


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


async def imported(town: Town, name: str = "paid", **more: object) -> None:
    """Paula's pro account: 100.00 paid, 50.00 unused, 40.00 of it by card and bank."""
    entry: dict[str, Any] = {
        "plan": "pro",
        "subscriptions": [LINE],
        "payment_methods": [{"id": "new-card", "kind": "card"}],
        **more,
    }
    owner = [] if entry.get("state") == "closed" else [user(f"paula@{name}.example", "owner")]
    await town.store.directory.import_(directory(account(name, *owner, **entry)))


async def accepted(
    town: Town, choice: Choice | None = Choice.REFUND, **more: Any
) -> tuple[Invite, AccountJoined]:
    """What came of Paula's acceptance."""
    await imported(town, **more)
    invite = town.invite(PAULA)
    return invite, await town.settle(invite, await town.pending(invite), choice)


async def refunding(town: Town) -> tuple[RefundPlan, Refund]:
    """A refund of 40.00 that has been requested: 30.00 to the card, 10.00 to the bank."""
    _, joined = await accepted(town, Choice.REFUND)
    assert joined.refund
    return joined.refund, initial_record(joined.refund)


def told(refund: Refund, *states: PartState) -> Refund:
    """The refund once its parts are in these states."""
    parts = (
        part.model_copy(update={"state": state})
        for part, state in zip(refund.parts, states, strict=True)
    )
    return refund.with_parts(tuple(parts))


async def balances(engine: AsyncEngine, *names: str) -> dict[str, str]:
    """What these ledger accounts have, in whole cents; without names, all that have anything."""
    async with engine.begin() as connection:
        rows = await connection.execute(
            text("SELECT ledger_account, currency, amount / 100 FROM balances WHERE amount <> 0")
        )
        found = {account: f"{currency} {cents}" for account, currency, cents in rows}
    return {name: found[name] for name in names or sorted(found) if name in found}
