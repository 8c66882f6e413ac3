"""A restored database beside Stripe, which keeps its charges and refunds (OPS-6)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from temporalio.testing import WorkflowEnvironment

from domain.invitation import Choice
from domain.license import Sku
from domain.order import Order, OrderState
from domain.reconciliation import Reconciliation
from domain.refund import RefundState
from tests.builders.account import directory
from tests.clients.test_reconciliation import check, fix, forget_workflow, kinds
from tests.outages.test_outages import database, empty_world
from tests.restore.snapshot import Snapshot
from tests.stripe_server import API_KEY, StripeServer, localstripe
from tests.world import ADMIN, JANE, OWNER, World, import_paying_owner

DINA = "dina@dinar.example"


@pytest.fixture
async def server() -> AsyncIterator[StripeServer]:
    async with localstripe() as behind, StripeServer(behind, initial_status="pending") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(
    request: pytest.FixtureRequest,
    temporal: WorkflowEnvironment,
    server: StripeServer,
    tmp_path: Path,
) -> AsyncIterator[World]:
    """Return a world that pays at Stripe, with a paying owner who is invited."""
    at_stripe = {
        "billing": "stripe",
        "given_stripe_api_key": SecretStr(API_KEY),
        "stripe_api_base": server.url,
    }
    async with (
        database(request.param, tmp_path) as url,
        empty_world(temporal, url, **at_stripe) as world,
    ):
        customer = await server.customer()
        await world.imported(
            world.account,
            users=[(OWNER, "owner"), (ADMIN, "admin")],
            licenses=2,
            billing_customer=customer,
            payment_methods=[{"id": await server.card(customer), "kind": "card"}],
        )
        await a_paying_owner(world, server)
        yield world


async def a_paying_owner(world: World, server: StripeServer) -> None:
    payment = {"id": await server.paid(20000), "method": "card", "amount": "200.00"}
    await import_paying_owner(world, payment)


async def refunded(world: World) -> str:
    """Accept with a refund; return its id once Stripe has accepted it."""
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement and accepted.settlement.refund_id
    await world.refund_until(accepted.settlement.refund_id, RefundState.PROCESSING)
    return accepted.settlement.refund_id


def refunds_made(server: StripeServer) -> int:
    return server.requests.count("POST /v1/refunds")


async def settle(world: World, server: StripeServer, refund_id: str) -> None:
    """Report the refund as arrived, and wait for the end of the invitation."""
    refund = await world.store.refunds.latest(refund_id)
    [part] = refund.parts
    assert part.provider_id
    server.set_status(part.provider_id, "succeeded")
    await world.refunds.notify(refund_id, part.provider_id)
    await world.refund_until(refund_id, RefundState.SETTLED)
    await world.until(JANE, "completed")


@pytest.mark.parametrize("temporal_is_lost", [False, True])
async def test_a_refund_that_stripe_has_and_the_restored_store_lacks_is_booked(
    world: World, server: StripeServer, tmp_path: Path, *, temporal_is_lost: bool
) -> None:
    """OPS-6, REF-5: without a second one, also if Temporal has lost the acceptance as well."""
    async with world.working():
        await world.pending(JANE)
        snapshot = await Snapshot.of(world, tmp_path)
        refund_id = await refunded(world)
    await snapshot.restore(world)
    if temporal_is_lost:
        stored = await world.stored(JANE)
        await forget_workflow(world, stored.workflow_id)
        await forget_workflow(world, f"refund/{refund_id}")
    found = await check(world)
    assert "refund_missing" in kinds(found)
    assert (await fix(world)).divergences == ()
    assert (await check(world)).divergences == ()
    assert (await world.store.refunds.latest(refund_id)).state is RefundState.PROCESSING
    assert refunds_made(server) == 1
    assert await world.audit() == ()
    async with world.working():
        await settle(world, server, refund_id)
    assert refunds_made(server) == 1
    assert await world.audit() == ()


async def test_a_refund_whose_acceptance_is_not_possible_any_more_waits_for_a_person(
    world: World, server: StripeServer, tmp_path: Path
) -> None:
    """OPS-6, OPS-5: another amount would be refunded, so nothing is booked."""
    async with world.working():
        await world.pending(JANE)
        snapshot = await Snapshot.of(world, tmp_path)
        refund_id = await refunded(world)
    await snapshot.restore(world)
    await a_paying_owner(world, server)
    left = await fix(world)
    assert set(kinds(left)) == {"acceptance_missing", "record_missing", "refund_missing"}
    assert (await world.stored(JANE)).state == "revoked"
    assert (await check(world)).divergences == ()
    cases = [each for each in await world.store.attention.cases() if each.kind == "divergence"]
    assert len(cases) == len(left.divergences)
    assert any(refund_id in case.id for case in cases)
    assert await world.audit() == ()


async def an_order(world: World) -> Order:
    return await world.orders.buy(
        world.account, Sku.LARGE_MEETING, capacity=500, quantity=2, cycle="monthly", by=ADMIN
    )


@pytest.mark.parametrize("temporal_is_lost", [False, True])
async def test_a_charge_that_stripe_has_and_the_restored_store_lacks_is_booked(
    world: World, server: StripeServer, tmp_path: Path, *, temporal_is_lost: bool
) -> None:
    """OPS-6, ADD-5: a renewal is charged once, also if Temporal has lost the order."""
    async with world.working():
        order = await an_order(world)
        snapshot = await Snapshot.of(world, tmp_path)
        assert order.paid_until
        await world.clock.go_to(order.workflow_id, order.paid_until)
        renewed = await world.order_until(order.order_id, OrderState.ACTIVE, payments=2)
    assert len(server.charged) == 2
    await snapshot.restore(world)
    if temporal_is_lost:
        await forget_workflow(world, order.workflow_id)
    found = await check(world)
    assert "charge_missing" in kinds(found)
    assert (await fix(world)).divergences == ()
    assert (await check(world)).divergences == ()
    assert await world.audit() == ()
    async with world.working():
        again = await world.order_until(order.order_id, OrderState.ACTIVE, payments=2)
    assert again.paid_until == renewed.paid_until
    assert [each.state for each in again.invoices] == ["paid", "paid"]
    assert len(server.charged) == 2
    assert await world.audit() == ()


async def import_dinar(world: World, server: StripeServer, currency: str, price: str) -> None:
    """Import an account that pays an uneven price for one license a month."""
    customer = await server.customer()
    await world.imported(
        "dinar",
        users=[(DINA, "owner")],
        currency=currency,
        billing_customer=customer,
        payment_methods=[{"id": await server.card(customer), "kind": "card"}],
    )
    await world.store.directory.import_(directory(catalog={"large-meeting": {"500": price}}))


async def an_order_of_dinar(world: World) -> Order:
    return await world.orders.buy(
        "dinar", Sku.LARGE_MEETING, capacity=500, quantity=1, cycle="monthly", by=DINA
    )


@pytest.mark.parametrize(
    ("currency", "price", "paid", "carried"),
    [("KWD", "5.124", "5.120", "0.004"), ("EUR", "0.20", "0.00", "0.20")],
)
async def test_what_stripe_cannot_charge_is_carried_in_a_restored_store_as_well(
    world: World,
    server: StripeServer,
    tmp_path: Path,
    currency: str,
    price: str,
    paid: str,
    carried: str,
) -> None:
    """OPS-6, ADD-4: the payment has the amount that Stripe has charged."""
    await import_dinar(world, server, currency, price)
    async with world.working():
        snapshot = await Snapshot.of(world, tmp_path)
        order = await an_order_of_dinar(world)
    assert order.carried
    assert f"{order.carried.amount:f}" == carried
    await snapshot.restore(world)
    assert (await fix(world)).divergences == ()
    assert await world.store.orders.find(order.order_id) == order
    assert [f"{each.amount.amount:f}" for each in order.invoices] == [paid]
    assert (await check(world)).divergences == ()
    assert await world.audit() == ()


@pytest.mark.parametrize(
    ("currency", "price", "before", "paid", "after"),
    [
        ("KWD", "5.124", "0.004", "5.120", "0.008"),
        # Stripe charges at least 0.50: the first month is paid with the second.
        pytest.param("EUR", "0.30", "0.30", "0.60", None, marks=pytest.mark.full),
    ],
)
async def test_a_renewal_of_which_a_part_was_charged_is_booked_without_its_history(
    world: World,
    server: StripeServer,
    tmp_path: Path,
    currency: str,
    price: str,
    before: str,
    paid: str,
    after: str | None,
) -> None:
    """OPS-6, ADD-4: Temporal has lost the order, so only Stripe knows the renewal's charge."""
    await import_dinar(world, server, currency, price)
    async with world.working():
        order = await an_order_of_dinar(world)
        assert carried(order) == before
        snapshot = await Snapshot.of(world, tmp_path)
        assert order.paid_until
        await world.clock.go_to(order.workflow_id, order.paid_until)
        renewed = await world.order_until(order.order_id, OrderState.ACTIVE, payments=2)
    charges = len(server.charged)
    await snapshot.restore(world)
    await forget_workflow(world, order.workflow_id)
    assert kinds(await check(world)) == ["charge_missing", "workflow_missing"]
    assert (await fix(world)).divergences == ()
    again = await world.store.orders.find(order.order_id)
    assert again and again.paid_until == renewed.paid_until
    assert f"{again.invoices[-1].amount.amount:f}" == paid
    assert [each.state for each in again.invoices] == ["paid", "paid"]
    assert carried(again) == carried(renewed) == after
    assert (await check(world)).divergences == ()
    assert await world.audit() == ()
    async with world.working():
        await world.order_until(order.order_id, OrderState.ACTIVE, payments=2)
    assert len(server.charged) == charges
    assert await world.audit() == ()


def carried(order: Order) -> str | None:
    """Return what Stripe could not charge, which the next invoice has."""
    return f"{order.carried.amount:f}" if order.carried else None


async def test_a_charge_without_an_order_waits_for_a_person(
    world: World, server: StripeServer, tmp_path: Path
) -> None:
    """OPS-6, OPS-5: nobody but Stripe knows of it, so it is not booked."""
    async with world.working():
        snapshot = await Snapshot.of(world, tmp_path)
        order = await an_order(world)
    await snapshot.restore(world)
    await forget_workflow(world, order.workflow_id)
    left: Reconciliation = await fix(world)
    assert kinds(left) == ["charge_missing"]
    assert order.order_id in left.divergences[0].remedy
    assert (await check(world)).divergences == ()
    [case] = await world.store.attention.cases()
    assert case.kind == "divergence"
    assert await world.audit() == ()
