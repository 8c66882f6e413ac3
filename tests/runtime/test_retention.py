"""People are forgotten in a running installation (OPS-9)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from domain.invitation import InvitationState
from domain.journal import OPERATOR
from domain.remedy import Removal
from runtime.recovery import RETENTION, SWEEPS, Recovery
from tests.builders.person import dump, traces
from tests.eventually import eventually
from tests.world import ADMIN, JANE, MEMBER, OWNER, World

DAYS = 30


async def search(world: World, days: int | None) -> timedelta:
    """Carry out the nightly search with this retention period; return its interval."""
    settings = world.clients.settings.model_copy(update={"retention_days": days})
    await world.store.outbox.add_sweeps([RETENTION])
    now = datetime.now(UTC)
    [row] = [
        each
        for each in await world.store.outbox.lease(10, timedelta(minutes=1))
        if each.key == RETENTION
    ]
    after = await Recovery(replace(world.clients, settings=settings)).sweep(row)
    await world.store.outbox.postpone(row, -(datetime.now(UTC) - now))
    return after


async def remove(world: World, email: str, days_ago: int) -> None:
    at = datetime.now(UTC) - timedelta(days=days_ago)
    await world.store.remedies.remove_user(world.account, email, Removal.DELETE, at)


async def test_ended_records_are_pseudonymized_after_the_retention_period(
    world_without_worker: World,
) -> None:
    """OPS-9: off by default; older ends are forgotten, recent ones and users are not."""
    world = world_without_worker
    await world.imported(world.account, users=[("new@person.example", "member")])
    await remove(world, MEMBER, days_ago=DAYS + 1)
    await remove(world, "new@person.example", days_ago=DAYS - 1)
    await search(world, None)
    assert traces(await dump(world.store.engine), MEMBER)
    assert await search(world, DAYS) == SWEEPS[RETENTION] == timedelta(days=1)
    left = await dump(world.store.engine)
    assert traces(left, MEMBER) == {}
    assert traces(left, "new@person.example")
    assert traces(left, OWNER)
    assert await world.audit() == ()


async def test_an_invitation_continues_when_its_inviter_is_forgotten(world: World) -> None:
    """OPS-9: its workflow knows the inviter, and is replaced; the link stays valid."""
    pending = await world.pending(JANE)
    await remove(world, ADMIN, days_ago=0)
    first = await world.run_now(JANE)
    await world.store.people.forget(ADMIN, datetime.now(UTC), by=OPERATOR)
    await eventually(lambda: world.run_now(JANE), until=lambda run: run != first)
    await world.client.accept(world.account, JANE)
    completed = await world.until(JANE, "completed")
    assert completed.state is InvitationState.COMPLETED
    assert completed.sent_count == pending.sent_count == 1
    assert len(world.mails(to=JANE, event="invitation")) == 1
    assert traces(await dump(world.store.engine), ADMIN) == {}
    assert await world.audit() == ()
    async with world.clients.reconciliation() as client:
        assert (await client.check()).divergences == ()
