"""Tests of the bounded history of an invitation."""

from datetime import timedelta

import pytest

from domain.error import ErrorCode, Refused
from domain.invitation import InvitationState, License
from tests.workflows.small_limits import worker_with_short_runs
from tests.world import ADMIN, JANE, World


async def test_a_long_history_continues_as_new_and_loses_nothing(
    world_without_worker: World,
) -> None:
    """INV-9: run id, journal, deadline, link and cool-down are carried over."""
    world = world_without_worker.patient()
    async with worker_with_short_runs(world):
        before = await world.pending(JANE, License.LICENSED)
        runs = {await world.run_now(JANE)}
        for _ in range(10):
            await world.client.preview(world.account, JANE)
            runs.add(await world.run_now(JANE))
        assert len(runs) > 2
        assert await world.show(JANE) == before
        await world.pass_time(JANE, timedelta(hours=1))
        resent = await world.client.resend(world.account, JANE, ADMIN)
        assert resent.sent_count == 2
        await world.mailed("invitation", JANE, times=2)
        accepted = await world.client.accept(world.account, JANE)
        assert accepted.run_id == before.run_id
        assert (await world.until(JANE, "completed")).state is InvitationState.COMPLETED


async def test_an_update_that_is_not_allowed_leaves_no_event(world: World) -> None:
    """INV-10: a validator rejects it before history is written."""
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await world.invite(JANE)
    for _ in range(5):
        with pytest.raises(Refused) as refused:
            await world.client.accept(world.account, JANE)
        assert refused.value.code is ErrorCode.NOT_PENDING
    # A busy server may record the workflow task, but not the update.
    assert not [event for event in await world.events(JANE) if "UPDATE" in event]
    world.smtp.answers.clear()
    await world.until(JANE, "pending")
