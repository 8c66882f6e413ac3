"""Seats of invitations that no workflow looks after are given back."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from domain.address import invitee_key
from domain.invitation import InvitationState, Invite, License
from runtime import sweep
from states.invitation import opening
from tests.world import ADMIN, JANE, World, refusal_of


async def a_claim(world: World) -> Invite:
    """What a command leaves behind that dies between its claim and the start."""
    invite = Invite(
        invitation_id=uuid.uuid4().hex,
        account=world.account,
        key=invitee_key(JANE, world.settings.id_key),
        email=JANE,
        license=License.LICENSED,
        invited_by=ADMIN,
    )
    now = datetime.now(UTC)
    await world.store.invitations.claim(invite, opening(invite, run_id="", at=now), now)
    return invite


async def test_a_claim_without_a_workflow_is_released(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INV-15: the seat is free again, and the person can be invited."""
    await a_claim(world)
    await sweep.settle_unstarted(world.temporal.client, world.store.invitations)
    assert await world.store.invitations.latest(world.account, JANE) is not None
    monkeypatch.setattr(sweep, "ABANDONED_AFTER", timedelta())
    await sweep.settle_unstarted(world.temporal.client, world.store.invitations)
    assert await world.store.invitations.latest(world.account, JANE) is None
    assert await world.free_seats() == 2
    assert (await world.pending(JANE, License.LICENSED)).state is InvitationState.PENDING
    assert await world.audit() == ()


async def test_inviting_after_a_command_died_waits_for_the_sweep_and_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inviting again is safe at any time."""
    monkeypatch.setattr(sweep, "ABANDONED_AFTER", timedelta(seconds=1))
    await a_claim(world)
    assert (await world.invite(JANE, License.LICENSED)).result == "invited"
    assert await world.free_seats() == 1


async def test_an_invitation_whose_workflow_was_terminated_is_taken_back(world: World) -> None:
    """Ended from outside: the store says so, the seat is free, answers are refused."""
    pending = await world.pending(JANE, License.LICENSED)
    client = world.temporal.client
    await client.get_workflow_handle(pending.workflow_id).terminate("by hand")
    while (await world.store.invitations.listed(world.account, (), None, False)) != []:
        await sweep.end_abandoned(client, world.store.invitations)
    revoked = await world.show(JANE)
    assert revoked.state is InvitationState.REVOKED
    assert "ended from outside" in (revoked.journal[-1].note or "")
    assert await refusal_of(world.client.accept(world.account, JANE)) == "revoked"
    assert await world.free_seats() == 2
