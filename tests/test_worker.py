"""A killed worker, after which another one continues and repeats no effect."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from adapters.sql.database.schema import LicensePoolRow, ProviderChargeRow, ProviderRefundRow
from adapters.sql.database.transaction import reading
from domain.assignment import AssignmentState
from domain.charge import ChargeState
from domain.invitation import Choice, License
from domain.license import Sku
from domain.order import OrderState
from domain.refund import RefundState
from tests.eventually import TIMEOUT
from tests.smtp_server import Misbehaviour
from tests.world import ADMIN, ANN, JANE, World, a_paying_owner, licensed_users

ROOT = Path(__file__).parent.parent


@asynccontextmanager
async def a_worker(world: World, **settings_of_its_own: str) -> AsyncIterator[Process]:
    """Run `worker.py` as a process."""
    async with a_process(world, "worker.py", **settings_of_its_own) as worker:
        yield worker


@asynccontextmanager
async def a_process(
    world: World, *arguments: str, **settings_of_its_own: str
) -> AsyncIterator[Process]:
    """Run a worker or a command on the backends of the world, until the end of the body."""
    settings = world.settings
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=ROOT,
        env={
            **os.environ,
            "TEMPORAL_ADDRESS": world.temporal.client.service_client.config.target_host,
            "SEATFLOW_DATABASE_URL": settings.database_url.get_secret_value(),
            "SEATFLOW_SMTP_URL": settings.smtp_url.get_secret_value(),
            "SEATFLOW_SECRET_KEY": ",".join(settings.secret_keys),
            "SEATFLOW_TASK_QUEUE": settings.task_queue,
            **settings_of_its_own,
        },
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def killed(worker: Process) -> None:
    """Kill the worker, as the kernel does when memory runs out."""
    worker.send_signal(signal.SIGKILL)
    assert await worker.wait() == -signal.SIGKILL


async def as_soon_as(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait without pauses, so that the worker is killed before its next step."""
    async with asyncio.timeout(TIMEOUT.total_seconds()):
        while not await condition():
            await asyncio.sleep(0)


async def test_a_worker_killed_between_invite_and_accept_loses_nothing(
    world_without_worker: World,
) -> None:
    """INV-4, INV-10: another worker continues, and no second e-mail is sent."""
    world = world_without_worker.patient()
    async with a_worker(world) as worker:
        await world.pending(JANE, License.LICENSED)
        await killed(worker)
    async with a_worker(world):
        await world.client.accept(world.account, JANE)
        await world.until(JANE, "completed")
        await world.mailed("accepted", ADMIN)
    assert len(world.mails(to=JANE, event="invitation")) == 1
    assert await world.audit() == ()


@pytest.mark.full
async def test_a_worker_killed_after_the_acceptance_makes_one_refund(
    world_without_worker: World,
) -> None:
    """REF-5: it is killed after the commit and before the request to the provider."""
    world = world_without_worker.patient()

    async def accepted_in_the_store() -> bool:
        return (await world.stored(JANE)).state.accepted

    async with a_worker(world) as worker:
        await a_paying_owner(world)
        accepting = asyncio.create_task(world.client.accept(world.account, JANE, Choice.REFUND))
        await as_soon_as(accepted_in_the_store)
        await killed(worker)
    async with a_worker(world):
        accepted = await accepting
        assert accepted.settlement is not None
        refund_id = accepted.settlement.refund_id or ""
        refund = await world.refund_until(refund_id, RefundState.PROCESSING)
        await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
        await world.refund_until(refund_id, RefundState.SETTLED)
        await world.until(JANE, "completed")
    assert len(await world.store.refunds.listed(None)) == 1
    assert await world.audit() == ()


async def refunds_at_provider(world: World) -> set[str]:
    """Return the provider's ids of its refunds."""
    async with reading(world.store.engine) as session:
        return {row.provider_id for row in await session.scalars(select(ProviderRefundRow))}


async def test_a_worker_killed_after_the_provider_s_refund_and_before_our_record_refunds_once(
    world_without_worker: World,
) -> None:
    """REF-5: the provider refunded, its response was lost, then the worker was killed."""
    world = world_without_worker.patient()
    async with a_worker(world, SEATFLOW_LEDGER_FAULTS="timeout-after") as worker:
        await a_paying_owner(world)
        accepting = asyncio.create_task(world.client.accept(world.account, JANE, Choice.REFUND))
        await as_soon_as(lambda: refunds_at_provider(world))
        await killed(worker)
    refunded = await refunds_at_provider(world)
    [recorded] = await world.store.refunds.listed(None)
    assert recorded.state is RefundState.REQUESTED
    async with a_worker(world):
        accepted = await accepting
        assert accepted.settlement is not None
        refund_id = accepted.settlement.refund_id or ""
        refund = await world.refund_until(refund_id, RefundState.PROCESSING)
        await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
        settled = await world.refund_until(refund_id, RefundState.SETTLED)
        await world.until(JANE, "completed")
    all_refunded = await refunds_at_provider(world)
    assert refunded <= all_refunded == {part.provider_id for part in settled.parts}
    assert len(all_refunded) == len(settled.parts)
    assert await world.audit() == ()


async def test_a_stopped_worker_hands_a_stalled_e_mail_to_the_next_one(
    world_without_worker: World,
) -> None:
    """A drain ends within 20 seconds, whatever a mail server does."""
    world = world_without_worker.patient()
    async with a_worker(world) as worker:
        world.smtp.answers["MAIL"] = Misbehaviour.HESITATE
        await world.invite(JANE)
        await world.smtp.hesitates_at("MAIL")
        worker.terminate()
        async with asyncio.timeout(20):
            assert await worker.wait() == 0
    world.smtp.go_on()
    async with a_worker(world):
        await world.until(JANE, "pending")
    assert len(world.mails(to=JANE, event="invitation")) == 1


async def charges(world: World) -> list[str]:
    """Return the states of the charges at the provider."""
    query = select(ProviderChargeRow).where(ProviderChargeRow.account_id == world.account)
    async with reading(world.store.engine) as session:
        return [row.state for row in await session.scalars(query)]


async def bought(world: World) -> int:
    """Return the number of Large Meeting licenses in the account's pools."""
    query = select(LicensePoolRow).where(
        LicensePoolRow.account_id == world.account, LicensePoolRow.sku == Sku.LARGE_MEETING
    )
    async with reading(world.store.engine) as session:
        return sum(row.bought for row in await session.scalars(query))


@pytest.mark.full
async def test_a_worker_killed_between_payment_and_pool_charges_and_grows_once(
    world_without_worker: World,
) -> None:
    """ADD-5, REF-5: the charge succeeded, its response was lost, then the worker was killed."""
    world = world_without_worker.patient()
    async with a_worker(world, SEATFLOW_LEDGER_FAULTS="timeout-after") as worker:
        buying = asyncio.create_task(
            world.orders.buy(
                world.account,
                Sku.LARGE_MEETING,
                capacity=500,
                quantity=3,
                cycle="monthly",
                by=ADMIN,
            )
        )
        await as_soon_as(lambda: charges(world))
        await killed(worker)
    assert await bought(world) == 0
    async with a_worker(world):
        order = await buying
        assert order.state is OrderState.ACTIVE
        await world.mailed("order_confirmed", ADMIN)
    assert await charges(world) == [ChargeState.SUCCEEDED]
    assert await bought(world) == 3
    assert await world.audit() == ()


async def holders(world: World) -> list[str]:
    """Return the addresses of the holders of a Large Meeting license."""
    pools = await world.licenses.licenses(world.account)
    return [email for pool in pools if pool.sku is Sku.LARGE_MEETING for email in pool.holders]


@pytest.mark.full
async def test_a_worker_killed_between_claim_and_effect_assigns_one_license(
    world_without_worker: World,
) -> None:
    """ASG-6: it is killed after the store's transaction, before the holder is notified."""
    world = world_without_worker.patient()
    await licensed_users(world)
    async with a_worker(world) as worker:
        assigning = asyncio.create_task(
            world.licenses.assign(world.account, Sku.LARGE_MEETING, [ANN], ADMIN)
        )
        await as_soon_as(lambda: holders(world))
        await killed(worker)
    async with a_worker(world):
        [result] = await assigning
        assert result.state is AssignmentState.ASSIGNED
        await world.mailed("license_assigned", ANN)
    assert await holders(world) == [ANN]
    assert len(world.mails(to=ANN)) == 1
    assert await world.audit() == ()
