"""Tests of the bounded history of an invitation."""

import asyncio
from datetime import timedelta

import pytest

from activities.invitation import InvitationPreviewed, KeptInvitation, PreviewInvitation
from domain.error import ErrorCode, Refused
from domain.invitation import Invitation, InvitationState, License
from tests.eventually import eventually
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


async def test_a_bounce_that_is_being_recorded_is_not_lost_by_a_new_run(
    world_without_worker: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INV-4: continue-as-new waits for the workflow's own task."""
    world = world_without_worker.patient()
    invitations = world.store.invitations
    previewing, ending = asyncio.Event(), asyncio.Event()
    preview, end = invitations.preview, invitations.end

    async def slow_preview(request: PreviewInvitation) -> InvitationPreviewed:
        await previewing.wait()
        return await preview(request)

    async def slow_end(invitation_id: str, invitation: Invitation) -> KeptInvitation:
        await ending.wait()
        return await end(invitation_id, invitation)

    async def completed_activities() -> int:
        return (await world.events(JANE)).count("EVENT_TYPE_ACTIVITY_TASK_COMPLETED")

    async with worker_with_short_runs(world):
        await world.pending(JANE)
        await world.pass_time(JANE, timedelta(hours=1))
        monkeypatch.setattr(invitations, "preview", slow_preview)
        monkeypatch.setattr(invitations, "end", slow_end)
        world.smtp.slow.add(JANE)
        world.smtp.unknown.add(JANE)
        await world.client.resend(world.account, JANE, ADMIN)
        before = await completed_activities()
        # Three updates make the history long. Behind them the bounce waits for the lock.
        previews = [
            asyncio.create_task(world.client.preview(world.account, JANE)) for _ in range(2)
        ]
        await asyncio.sleep(0.5)
        world.smtp.go_on()
        await eventually(completed_activities, lambda count: count > before)
        previewing.set()
        await asyncio.gather(*previews)
        await asyncio.sleep(0.5)
        ending.set()
        ended = await world.until(JANE, "undeliverable")
        assert ended.journal[-1].event == "bounce"
