"""Many lifecycles under way when the database is set back, and when Temporal is lost (OPS-6)."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select
from temporalio.testing import WorkflowEnvironment

from activities.billing import ListedRefund
from adapters.sql.database.schema import AssignmentRow, InvitationRow, OrderRow, RefundRow
from adapters.sql.database.transaction import reading
from domain.error import Refused, Unavailable
from domain.invitation import Choice, Invitation, InvitationState
from domain.license import Sku
from domain.order import Order, OrderState, Portal
from domain.reconciliation import Reconciliation, RefundKey
from domain.refund import RefundState
from runtime.clients import Clients
from runtime.provider import open_provider
from runtime.recovery import CLOSED
from tests.clients.test_reconciliation import check, fix
from tests.outages.lifecycle import (
    BOUNCED,
    PATIENCE,
    PRO,
    Case,
    Play,
    admin_of,
    import_accounts,
    invite_all,
    licensed_of,
    order_licenses,
)
from tests.outages.test_outages import SEED, database, empty_world
from tests.restore.snapshot import Snapshot
from tests.stripe_server import API_KEY, StripeServer, localstripe
from tests.world import World, temporal_server

NEED_AN_OUTAGE = {"untold", "unheard"}
"""The kinds of lifecycles that wait for an outage of the payment provider."""


@pytest.mark.parametrize(
    ("count", "kind"),
    [
        (20, "sqlite"),
        pytest.param(200, "sqlite", marks=pytest.mark.full),
        pytest.param(200, "postgresql", marks=pytest.mark.full),
    ],
)
async def test_every_lifecycle_ends_after_the_loss_of_either_side(
    count: int, kind: str, tmp_path: Path
) -> None:
    """OPS-6: the database is set back, then Temporal is lost; nothing is paid twice."""
    seed = int(os.environ.get(SEED) or random.randrange(1_000_000))
    print(f"{SEED}={seed}")
    # A server of its own: runs of another database would have the same workflow ids.
    async with (
        temporal_server() as temporal,
        a_play(count, kind, temporal, tmp_path, seed) as play,
    ):
        async with playing(play, start(play)):
            await play.until(lambda: play.progress >= 0.3)
            snapshot = await Snapshot.of(play.world, tmp_path)
            note_states(play, "snapshot", await states(play.world))
            await play.until(lambda: play.progress >= 0.6)
        note_states(play, "the database is lost", await states(play.world))
        await snapshot.restore(play.world)
        await reconcile(play)

        play.ended = 0
        async with playing(play, [finish(play, case) for case in play.cases]):
            await play.until(lambda: play.progress >= 0.75)
        note_states(play, "Temporal is lost", await states(play.world))
        async with temporal_server() as another:
            play.world = connected(play.world, another)
            await play.world.store.restore.mark()
            await reconcile(play)

            play.ended = 0
            async with playing(play, finish_all(play)):
                await play.until(lambda: play.ended >= len(play.cases) + len(play.shops))
                await everything_agrees(play.world)
            note_states(play, "the end", await states(play.world))
            await nothing_was_paid_twice(play)


@asynccontextmanager
async def a_play(
    count: int, kind: str, temporal: WorkflowEnvironment, folder: Path, seed: int
) -> AsyncIterator[Play]:
    async with (
        database(kind, folder) as url,
        localstripe() as behind,
        StripeServer(behind, initial_status="pending") as provider,
        empty_world(
            temporal,
            url,
            billing="stripe",
            given_stripe_api_key=SecretStr(API_KEY),
            stripe_api_base=provider.url,
        ) as world,
    ):
        play = Play(world, provider, random.Random(seed), count)
        play.cases = [case for case in play.cases if case.kind.name not in NEED_AN_OUTAGE]
        world.smtp.unknown.update(case.email for case in play.cases if case.kind.name == BOUNCED)
        await import_accounts(play)
        yield play


def connected(world: World, temporal: WorkflowEnvironment) -> World:
    """Return the same world on another, empty Temporal server."""
    clients = Clients.connected(world.settings, world.store, temporal.client)
    return replace(world, temporal=temporal, clients=clients)


@asynccontextmanager
async def playing(play: Play, acts: Sequence[Awaitable[None]]) -> AsyncIterator[None]:
    """Run a worker, and the people of all lifecycles, until the end of the body."""
    # The search releases the claims of people who were interrupted.
    async with play.world.working(sweeps=[CLOSED]):
        tasks = [asyncio.ensure_future(act) for act in (play.watch(), *acts)]
        failed = asyncio.gather(*tasks)
        body = asyncio.current_task()
        assert body
        failed.add_done_callback(lambda ended: ended.cancelled() or body.cancel())
        try:
            yield
        except asyncio.CancelledError:
            if failed.done() and not failed.cancelled():
                failed.result()
            raise
        finally:
            failed.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await failed


def start(play: Play) -> list[Awaitable[None]]:
    return [
        invite_all(play),
        *(order_licenses(play, shop) for shop in play.shops),
        *(begin_orders(play, shop) for shop in play.shops),
        *(play.play(case) for case in play.cases),
    ]


def finish_all(play: Play) -> list[Awaitable[None]]:
    return [
        *(finish(play, case) for case in play.cases),
        *(finish_shop(play, shop) for shop in play.shops),
    ]


async def reconcile(play: Play) -> None:
    """Compare, remove the differences, and print what was found and done."""
    found = await check(play.world)
    assert found.divergences, "nothing was lost"
    begun = time.monotonic()
    fixed = await fix(play.world)
    took = time.monotonic() - begun
    print(f"checked {found.checked}")
    print(f"found {_counted(found)}")
    print(f"removed {len(fixed.fixed)} in {took:.1f} s; left {_counted(fixed)}")
    for each in fixed.divergences:
        print(f"  {each.kind} {each.subject}: {each.store} / {each.elsewhere}: {each.remedy}")
    assert (await check(play.world)).divergences == ()
    report = await play.world.store.audit()
    assert report.violations == ()
    print(f"audit: {report.checked}")
    cases = await play.world.store.attention.cases()
    reported = [each for each in cases if each.kind == "divergence"]
    assert len(reported) >= len(fixed.divergences)


def _counted(found: Reconciliation) -> dict[str, int]:
    return dict(Counter(f"{each.kind}" for each in found.divergences))


async def everything_agrees(world: World) -> None:
    """Check that no difference is left while all workers run."""
    assert (await check(world)).divergences == ()
    assert await world.audit() == ()


# The people, from whatever state a lifecycle is in.


async def finish(play: Play, case: Case) -> None:
    """Drive a lifecycle to an end, from the state that the store has."""
    failure: Exception | None = None
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while not await _is_ended(play, case):
                try:
                    await _act(play, case)
                except (Refused, Unavailable) as refused:
                    failure = refused
                await asyncio.sleep(0.3)
    except TimeoutError as late:
        stored = await play.world.store.invitations.latest(case.account, case.email)
        late.add_note(f"{case.email} into {case.account}, last refusal: {failure}")
        late.add_note(f"the record: {stored}")
        raise
    play.ended += 1
    await play.announce()


async def _is_ended(play: Play, case: Case) -> bool:
    stored = await play.world.store.invitations.latest(case.account, case.email)
    return stored is not None and stored.invitation.state.final


async def _act(play: Play, case: Case) -> None:
    world = play.world
    stored = await world.store.invitations.latest(case.account, case.email)
    if stored is None:
        await world.client.invite(case.account, [case.person], admin_of(case.account))
        return
    match stored.invitation.state:
        case InvitationState.PENDING:
            choice = Choice.REFUND if case.kind.own_account is PRO else None
            async with play.slots:
                await world.client.accept(case.account, case.email, choice)
        case InvitationState.BLOCKED:
            await _clear(play, case)
        case state if state.accepted:
            await _settle(play, stored.invitation)


async def _clear(play: Play, case: Case) -> None:
    with suppress(Refused):
        await play.world.remove_user(case.source, f"colleague-{case.number}@people.example")
    with suppress(Refused):
        await play.world.remove_room(case.source, "room-1")


async def _settle(play: Play, invitation: Invitation) -> None:
    if invitation.settlement is None or invitation.settlement.refund_id is None:
        return
    refund = await play.world.store.refunds.latest(invitation.settlement.refund_id)
    match refund.state:
        case RefundState.PROCESSING | RefundState.OVERDUE:
            await play.world.refunds.notify(refund.refund_id, play.report(refund, "succeeded"))
        case RefundState.FAILED:
            await play.world.refunds.convert(refund.refund_id)


async def begin_orders(play: Play, shop: str) -> None:
    """Begin an order that is reviewed, one that is declined, and assignments that wait."""
    world, by = play.world, admin_of(shop)
    await world.licenses.assign(shop, Sku.WEBINAR, licensed_of(shop), by, capacity=500)
    await _buy(world, shop, Sku.WEBINAR, portal="account")
    await _buy(world, play.targets[0], Sku.LARGE_MEETING)


async def _buy(world: World, account: str, sku: Sku, portal: Portal = "plans") -> Order:
    return await world.orders.buy(
        account,
        sku,
        capacity=500,
        quantity=3,
        cycle="monthly",
        by=admin_of(account),
        portal=portal,
    )


async def finish_shop(play: Play, shop: str) -> None:
    """Order and assign whatever is not ordered and assigned."""
    world, users, by = play.world, licensed_of(shop), admin_of(shop)
    ordered = await world.orders.list(shop)
    for sku in (Sku.LARGE_MEETING, Sku.WEBINAR):
        if sku not in {order.sku for order in ordered}:
            await _buy(world, shop, sku)
        await world.licenses.assign(shop, sku, users, by, capacity=500)
    for order in await world.orders.list(shop):
        if order.state is OrderState.REVIEW:
            await world.orders.confirm(order.order_id)
    # An account without a customer at Stripe: its payments are declined.
    for order in await world.orders.list(play.targets[0]):
        if order.state is OrderState.PAYMENT_FAILED:
            with suppress(Refused):
                await world.orders.cancel(order.order_id)
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while not await _is_served(world, shop, len(users)):
            await asyncio.sleep(0.3)
    play.ended += 1
    await play.announce()


async def _is_served(world: World, shop: str, users: int) -> bool:
    pools = await world.store.assignments.licenses(shop)
    held = [len(pool.holders) == users for pool in pools if pool.capacity]
    active = {order.state for order in await world.orders.list(shop)} == {OrderState.ACTIVE}
    return len(held) == 2 and all(held) and active


# Figures and checks.


async def states(world: World) -> dict[str, Counter[str]]:
    """Count the records in each state."""
    found = dict[str, Counter[str]]()
    async with reading(world.store.engine) as session:
        for name, column in (
            ("invitations", InvitationRow.state),
            ("refunds", RefundRow.state),
            ("orders", OrderRow.state),
            ("assignments", AssignmentRow.state),
        ):
            rows = await session.execute(select(column, func.count()).group_by(column))
            found[name] = Counter({str(state): count for state, count in rows})
    return found


def note_states(play: Play, moment: str, found: dict[str, Counter[str]]) -> None:
    play.note(moment)
    for name, counts in found.items():
        print(f"  {name}: {dict(counts)}")


async def nothing_was_paid_twice(play: Play) -> None:
    """Check that Stripe has one refund of each part, and one charge of each invoice."""
    async with open_provider(play.world.settings, play.world.store) as provider:
        refunds = [each async for each in provider.refunds()]
        charges = [each async for each in provider.charges()]
    assert len({each.key for each in refunds}) == len(refunds)
    assert {RefundKey.of(each.key).attempt for each in refunds} <= {1}
    per_payment = Counter(RefundKey.of(each.key).payment for each in refunds)
    assert set(per_payment.values()) <= {1}
    invoices = Counter("/".join(each.key.split("/")[:2]) for each in charges)
    assert set(invoices.values()) == {1}
    print(f"{len(refunds)} refunds and {len(charges)} charges, each once")
    await _agrees_with_the_store(play, refunds)


async def _agrees_with_the_store(play: Play, refunds: Sequence[ListedRefund]) -> None:
    lost = {
        each.id.split("/")[0]
        for each in await play.world.store.attention.cases()
        if each.kind == "divergence"
    }
    for each in refunds:
        found = await play.world.store.refunds.find(RefundKey.of(each.key).refund_id)
        assert found or RefundKey.of(each.key).refund_id in lost, each.key
