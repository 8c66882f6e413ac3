"""Requests to an invitation while its reads of the store fail or hang (OPS-4)."""

import asyncio
import time
from collections.abc import Awaitable

import pytest
from temporalio import activity

from activities.invitation import InvitationPreviewed, PreviewInvitation
from adapters.sql.invitations.invitation import SqlInvitations
from domain.error import Unavailable
from domain.invitation import InvitationState
from tests.world import ADMIN, JANE, World


class UnreachableReads(SqlInvitations):
    """The store; its reads for the workflow hang or fail until `reachable` is set."""

    def __init__(self, world: World, *, hangs: bool) -> None:
        super().__init__(world.store.engine)
        self.reachable = asyncio.Event()
        self.hangs = hangs

    async def authorize(self, account: str, admin: str) -> None:
        await self._reach()
        await super().authorize(account, admin)

    async def preview(self, request: PreviewInvitation) -> InvitationPreviewed:
        await self._reach()
        return await super().preview(request)

    async def _reach(self) -> None:
        if not activity.in_activity():
            # A command reads the store itself.
            return
        if self.hangs:
            await self.reachable.wait()
        elif not self.reachable.is_set():
            raise Unavailable("The database does not answer: connection refused")


async def slowest_view(world: World, during: Awaitable[object]) -> float:
    """Send queries until `during` ends; return the seconds that the slowest one took."""
    task, slowest = asyncio.ensure_future(during), 0.0
    while not task.done():
        started_at = time.monotonic()
        await world.show(JANE)
        slowest = max(slowest, time.monotonic() - started_at)
        await asyncio.wait([task], timeout=0.1)
    await task
    return slowest


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "fails"])
async def test_an_unreachable_store_is_the_answer_to_a_request_that_reads_it(
    world_without_worker: World, hangs: bool
) -> None:
    """OPS-4: the caller is answered in time, queries are not delayed, the workflow continues."""
    world = world_without_worker.patient()
    world.store.invitations = reads = UnreachableReads(world, hangs=hangs)
    async with world.working():
        await world.pending(JANE)

        async def refused() -> None:
            for send in (
                lambda: world.client.revoke(world.account, JANE, ADMIN),
                lambda: world.client.preview(world.account, JANE),
            ):
                async with asyncio.timeout(15):
                    with pytest.raises(Unavailable) as unavailable:
                        await send()
                assert not unavailable.value.outcome_unknown
                # The time may be up during an attempt.
                reasons = ("connection refused", "no answer in time; repeat the request.")
                assert unavailable.value.message.endswith(reasons)

        assert await slowest_view(world, refused()) < 3
        reads.reachable.set()
        await world.client.preview(world.account, JANE)
        revoked = await world.client.revoke(world.account, JANE, ADMIN)
        assert revoked.state is InvitationState.REVOKED


async def test_a_read_that_is_slow_for_a_moment_succeeds(world_without_worker: World) -> None:
    """OPS-4: a short fault is no answer."""
    world = world_without_worker.patient()
    world.store.invitations = reads = UnreachableReads(world, hangs=True)
    async with world.working():
        await world.pending(JANE)
        asyncio.get_running_loop().call_later(2, reads.reachable.set)
        revoked = await world.client.revoke(world.account, JANE, ADMIN)
    assert revoked.state is InvitationState.REVOKED
