"""Builders of paid accounts, and of the refunds of their owners."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.invitation import KeptInvitation
from domain.invitation import Choice, Invite
from domain.refund import PartState, Refund, RefundChange, RefundPlan
from states.refund import initial_record
from tests.builders.account import NOON, account, directory, user
from tests.builders.invitation import StoreScenario

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


async def import_paid_account(scenario: StoreScenario, name: str = "paid", **more: object) -> None:
    """Import Paula's pro account: 100.00 paid, 50.00 unused, 40.00 of it by card and bank."""
    entry: dict[str, Any] = {
        "plan": "pro",
        "subscriptions": [LINE],
        "payment_methods": [{"id": "new-card", "kind": "card"}],
        **more,
    }
    owner = [] if entry.get("state") == "closed" else [user(f"paula@{name}.example", "owner")]
    await scenario.store.directory.import_(directory(account(name, *owner, **entry)))


async def accept_as_owner(
    scenario: StoreScenario, choice: Choice | None = Choice.REFUND, **more: Any
) -> tuple[Invite, KeptInvitation]:
    """Import, invite and accept as Paula; return the invite and the committed acceptance."""
    await import_paid_account(scenario, **more)
    invite = scenario.new_invite(PAULA)
    return invite, await scenario.join_account(invite, await scenario.send(invite), choice)


async def request_refund(scenario: StoreScenario) -> tuple[RefundPlan, Refund]:
    """Request a refund of 40.00: 30.00 to the card, 10.00 to the bank."""
    _, joined = await accept_as_owner(scenario, Choice.REFUND)
    assert joined.refund
    return joined.refund, initial_record(joined.refund)


def with_part_states(refund: Refund, *states: PartState) -> Refund:
    """Return the refund with its parts in these states."""
    parts = (
        part.model_copy(update={"state": state})
        for part, state in zip(refund.parts, states, strict=True)
    )
    return refund.with_parts(tuple(parts))


async def book(scenario: StoreScenario, refund: Refund, at: datetime) -> Refund | None:
    """Book the change from the stored record to `refund`."""
    stored = await scenario.store.refunds.latest(refund.refund_id)
    change = RefundChange.between(stored, refund)
    return await scenario.store.refunds.book(refund.refund_id, change, at)


async def ledger_balances(engine: AsyncEngine, *names: str) -> dict[str, str]:
    """Return the balances of these ledger accounts in cents, by default all but 0."""
    async with engine.begin() as connection:
        rows = await connection.execute(
            text("SELECT ledger_account, currency, amount / 100 FROM balances WHERE amount <> 0")
        )
        found = {account: f"{currency} {cents}" for account, currency, cents in rows}
    return {name: found[name] for name in names or sorted(found) if name in found}
