"""The authors of changes that a request makes besides its answer (OPS-8)."""

from dataclasses import replace
from datetime import timedelta

from domain.author import Author
from domain.change import Change
from domain.error import ErrorCode
from domain.invitation import Choice, Invitation, InvitationState
from runtime.wiring import worker_for
from tests.workflows.test_invitation_blocked import blocked_invitation, clear_blockers
from tests.world import JANE, World, a_paying_owner, refusal_of

HOUR = timedelta(hours=1)
ANN_FOR_JANE = f"operator Ann for {JANE}"


def used_by(world: World, operator: str) -> World:
    """Return the same world; its commands are those of this operator."""
    return replace(world, clients=replace(world.clients, author=Author(operator=operator)))


async def previews(world: World) -> list[Change]:
    changes = await world.store.changes.listed(world.account)
    return [change for change in changes if change.action == "preview"]


async def test_a_recorded_quote_names_the_operator_who_previewed(world: World) -> None:
    """OPS-8, QUO-8: once; while the quote is valid, a preview records nothing."""
    await a_paying_owner(world)
    workflow_id = (await world.show(JANE)).workflow_id
    for operator in ("Ann", "Ann", "Bob"):
        await used_by(world, operator).client.preview(world.account, JANE)
    [preview] = await previews(world)
    assert (preview.by, preview.subject) == (ANN_FOR_JANE, workflow_id)
    await world.pass_time(JANE, 48 * HOUR)
    answer = used_by(world, "Bob").client.accept(world.account, JANE, Choice.REFUND)
    assert await refusal_of(answer) == ErrorCode.QUOTE_EXPIRED
    assert [each.by for each in await previews(world)] == [
        ANN_FOR_JANE,
        f"operator Bob for {JANE}",
    ]


async def test_a_preview_without_a_quote_records_nothing(world: World) -> None:
    """OPS-8, QUO-4: there is nothing to choose, so no quote binds."""
    await world.pending(JANE)
    await used_by(world, "Ann").client.preview(world.account, JANE)
    assert await previews(world) == []


async def test_the_review_page_records_the_quote_as_the_invitee(world: World) -> None:
    """OPS-8, QUO-5: a request in Temporal that names nobody counts as theirs, too."""
    await a_paying_owner(world)
    invitation = await world.show(JANE)
    handle = world.temporal.client.get_workflow_handle(invitation.workflow_id)
    await handle.execute_update("review")
    await world.pass_time(JANE, 48 * HOUR)
    await handle.execute_update("quote")
    assert [each.by for each in await previews(world)] == ["invitee", "invitee"]


async def resumed(world: World, invitation: Invitation) -> str:
    """Return the author of the last entry, which is that of the resumption."""
    assert invitation.state is InvitationState.PENDING
    assert invitation.journal[-1].event == "unblock"
    assert (await world.stored(JANE)).journal[-1] == invitation.journal[-1]
    return invitation.journal[-1].by


async def test_a_recheck_that_resumes_the_invitation_names_its_operator(
    world_without_worker: World,
) -> None:
    """OPS-8, BLK-4: without the relay there is no signal that resumes it first."""
    world = world_without_worker
    async with worker_for(world.temporal.client, world.settings, world.store):
        await blocked_invitation(world)
        await used_by(world, "Ann").client.recheck(world.account, JANE)
        await clear_blockers(world)
        rechecked = await used_by(world, "Ann").client.recheck(world.account, JANE)
        assert await resumed(world, rechecked) == ANN_FOR_JANE


async def test_an_invitation_that_resumes_by_itself_names_seatflow(world: World) -> None:
    """OPS-8, BLK-4: the relay has signaled the remedy."""
    await blocked_invitation(world)
    await clear_blockers(world)
    assert await resumed(world, await world.until(JANE, "pending")) == "seatflow"
