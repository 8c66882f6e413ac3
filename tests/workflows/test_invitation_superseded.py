"""Tests of two invitations of one person: the first committed acceptance wins (INV-14)."""

import asyncio
from dataclasses import replace

from domain.error import Refused
from domain.invitation import Choice, License, Person
from tests.world import JANE, World, a_paying_owner, refusal_of

RIVAL = "boss@rival.example"


async def a_rival(world: World) -> str:
    """Import another paid account, which also invites Jane."""
    rival = f"rival-{world.account}"
    await world.imported(rival, users=[(RIVAL, "owner")], licenses=60)
    return rival


async def until_superseded(world: World, account: str) -> None:
    await replace(world, account=account).until(JANE, "superseded")


async def test_the_other_invitation_is_superseded_and_its_inviter_notified(world: World) -> None:
    """INV-14: its seat is released; accepting it is refused with `superseded`."""
    rival = await a_rival(world)
    await world.client.invite(rival, [Person(email=JANE, license=License.LICENSED)], RIVAL)
    await world.pending(JANE)
    await world.client.accept(world.account, JANE)
    await until_superseded(world, rival)
    await world.mailed("superseded", RIVAL)
    assert await refusal_of(world.client.accept(rival, JANE)) == "superseded"
    assert await refusal_of(world.client.preview(rival, JANE)) == "superseded"
    assert await replace(world, account=rival).free_seats() == 60
    assert await world.audit() == ()


async def test_of_two_concurrent_acceptances_one_wins(world: World) -> None:
    """INV-14: one settlement; the other invitation is superseded."""
    rival = await a_rival(world)
    await a_paying_owner(world)
    await world.client.invite(rival, [Person(email=JANE)], RIVAL)
    await replace(world, account=rival).until(JANE, "pending")

    async def accept(account: str) -> str:
        try:
            await world.client.accept(account, JANE, Choice.TRANSFER)
        except Refused as refused:
            return refused.code.value
        return account

    answers = await asyncio.gather(accept(world.account), accept(rival))
    [winner] = {world.account, rival} & set(answers)
    loser = rival if winner == world.account else world.account
    assert sorted(answers) == sorted([winner, "superseded"])
    await until_superseded(world, loser)
    assert await world.audit() == ()
