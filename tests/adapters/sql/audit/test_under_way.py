"""Work that is under way is no violation (AUD)."""

import asyncio

import pytest

from domain.invitation import Choice
from domain.order import Order
from tests.builders.account import NOON, account, directory, user
from tests.builders.invitation import StoreScenario
from tests.builders.order import OrderScenario, an_order
from tests.builders.refund import import_paid_account
from tests.builders.whole_store import fill

PAIRS = 3
PAUSE = 0.1
"""The seconds between two audits, which would otherwise take the whole processor."""


@pytest.mark.full
async def test_no_audit_during_the_work_of_many_reports_a_violation(
    scenario: StoreScenario,
) -> None:
    """AUD: audits follow each other while all operations run, several of them at once."""
    work = asyncio.ensure_future(_work(scenario))
    audits = 0
    while not work.done():
        assert (await scenario.store.audit()).violations == ()
        audits += 1
        await asyncio.sleep(PAUSE)
    await work
    assert audits > PAIRS
    assert (await scenario.store.audit()).violations == ()


async def _work(scenario: StoreScenario) -> None:
    await asyncio.gather(
        fill(scenario),
        *(_leave(scenario, f"leaver{number}") for number in range(PAIRS)),
        *(_buy(scenario, f"shop{number}") for number in range(PAIRS)),
    )


async def _leave(scenario: StoreScenario, name: str) -> None:
    """Accept as the owner of a paid account, whose value is refunded or transferred."""
    await import_paid_account(scenario, name, credit="5.00")
    invite = scenario.new_invite(f"paula@{name}.example")
    choice = Choice.REFUND if name[-1] in "02" else Choice.TRANSFER
    await scenario.join_account(invite, await scenario.send(invite), choice)


async def _buy(scenario: StoreScenario, name: str) -> None:
    """Buy, renew and end an order; the account's invoice is paid meanwhile."""
    boss = user(f"boss@{name}.example", "owner", licensed=True)
    shop = account(
        name,
        boss,
        plan="business",
        billing_day=1,
        credit="7.00",
        collection="net_terms",
        payment_methods=[{"id": "visa", "kind": "card"}],
        invoices=[{"id": "i1", "amount_due": "3.00", "due_on": "2026-03-01"}],
    )
    await scenario.store.directory.import_(directory(shop))
    purchases = OrderScenario(scenario)
    placed = await purchases.place(an_order(account=name, bought_by=boss["email"]))
    await asyncio.gather(_renew_and_end(purchases, placed), scenario.pay_invoice(name, "i1"))


async def _renew_and_end(purchases: OrderScenario, placed: Order) -> None:
    orders = purchases.scenario.store.orders
    paid = await purchases.pay(placed)
    april, may = NOON.replace(month=4, day=1), NOON.replace(month=5, day=1)
    renewed = await purchases.pay(paid, april)
    ended = await orders.term_ended(await purchases.plan_reduction(renewed, 0), may)
    await purchases.apply_events(ended, "end", at=may)
