"""What is recorded: one life of an invitation for each ending and each blocker."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from tests.world import ADMIN, JANE, World

Scenario = Callable[[World], Awaitable[object]]


async def completed(world: World) -> None:
    await world.pending(JANE)
    await world.client.accept(world.account, JANE)
    await world.until(JANE, "completed")


async def declined(world: World) -> None:
    await world.pending(JANE)
    await world.client.decline(world.account, JANE, "no, thank you")


async def revoked(world: World) -> None:
    await world.pending(JANE)
    await world.client.revoke(world.account, JANE, ADMIN)


async def revoked_before_it_went_out(world: World) -> None:
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await world.invite(JANE)
    await world.client.revoke(world.account, JANE, ADMIN)


async def expired(world: World) -> None:
    pending = await world.pending(JANE)
    await world.go_to(JANE, pending.deadline)
    await world.until(JANE, "expired")


async def undeliverable(world: World) -> None:
    world.smtp.unknown.add(JANE)
    await world.invite(JANE)
    await world.until(JANE, "undeliverable")


async def resent_and_completed(world: World) -> None:
    await world.pending(JANE)
    await world.client.preview(world.account, JANE)
    await world.pass_time(JANE, timedelta(hours=1))
    await world.client.resend(world.account, JANE, ADMIN)
    await world.mailed("invitation", JANE, times=2)
    await world.client.accept(world.account, JANE)
    await world.until(JANE, "completed")


async def blocked_by_1009_and_declined(world: World) -> None:
    await world.imported("club", plan="free", users=[(JANE, "owner"), ("b@c.example", "member")])
    await world.pending(JANE)
    try:
        await world.client.accept(world.account, JANE)
    finally:
        await world.client.decline(world.account, JANE)


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        completed,
        declined,
        revoked,
        revoked_before_it_went_out,
        expired,
        undeliverable,
        resent_and_completed,
        blocked_by_1009_and_declined,
    )
}
