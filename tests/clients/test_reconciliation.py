"""Restored databases and lost workflows: differences are found, and removed without loss."""

from datetime import timedelta

from domain.invitation import Choice, License
from domain.reconciliation import Reconciliation
from domain.refund import RefundState
from tests.restore.snapshot import Snapshot
from tests.world import ADMIN, JANE, World, a_paying_owner, refusal_of

BOB = "bob@example.com"


async def check(world: World) -> Reconciliation:
    async with world.clients.reconciliation() as client:
        return await client.check()


async def fix(world: World) -> Reconciliation:
    async with world.clients.reconciliation() as client:
        return await client.fix()


def kinds(found: Reconciliation) -> list[str]:
    return sorted(each.kind for each in found.divergences)


async def test_a_healthy_installation_has_no_differences(world: World) -> None:
    """OPS-6: running and ended lifecycles agree on all sides."""
    await a_paying_owner(world)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement
    await world.refund_until(accepted.settlement.refund_id or "", RefundState.PROCESSING)
    await world.pending(BOB, License.LICENSED)
    await world.pending("eve@example.com")
    await world.client.decline(world.account, "eve@example.com")
    found = await check(world)
    assert found.divergences == ()
    assert found.checked["workflows"] == 4
    assert (found.checked["refunds"], found.checked["provider_refunds"]) == (2, 2)


async def test_an_acceptance_that_a_restored_database_lacks_is_committed_again(
    world_without_worker: World,
) -> None:
    """OPS-6, INV-11: with the same run, refund and settlement; nothing is refunded twice."""
    world = world_without_worker.patient()
    async with world.working():
        await a_paying_owner(world)
        snapshot = Snapshot.of(world)
        accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
        assert accepted.settlement
        refund_id = accepted.settlement.refund_id or ""
        before = await world.refund_until(refund_id, RefundState.PROCESSING)
    await snapshot.restore(world)
    found = await check(world)
    assert kinds(found) == ["acceptance_missing", "record_missing"]
    acceptance = next(each for each in found.divergences if each.kind == "acceptance_missing")
    assert (acceptance.store, acceptance.elsewhere) == ("pending", "refunding")

    fixed = await fix(world)
    assert (fixed.divergences, len(fixed.fixed)) == ((), len(found.divergences) + 2)
    assert (await check(world)).divergences == ()
    assert await world.audit() == ()
    stored = await world.stored(JANE)
    assert (stored.run_id, stored.settlement) == (accepted.run_id, accepted.settlement)
    async with world.working():
        after = await world.refund_until(refund_id, RefundState.PROCESSING)
        assert [part.amount for part in after.parts] == [part.amount for part in before.parts]
        await world.clock.pass_time(after.workflow_id, timedelta(days=8))
        await world.refund_until(refund_id, RefundState.SETTLED)
        await world.clock.pass_time(accepted.workflow_id, timedelta(days=1))
        await world.until(JANE, "completed")
    assert await world.audit() == ()
    assert (await check(world)).divergences == ()


async def test_a_completed_acceptance_is_committed_again_with_the_data_that_moved(
    world_without_worker: World,
) -> None:
    """OPS-6, TRF-1: the workflow has ended; the person and their data join the account again."""
    world = world_without_worker.patient()
    async with world.working():
        await world.imported(
            "janes",
            plan="free",
            users=[(JANE, "owner")],
        )
        await world.pending(JANE, License.LICENSED)
        snapshot = Snapshot.of(world)
        await world.client.accept(world.account, JANE)
        completed = await world.until(JANE, "completed")
    await snapshot.restore(world)
    fixed = await fix(world)
    assert [each.kind for each in fixed.fixed] == ["acceptance_missing"]
    async with world.working():
        again = await world.until(JANE, "completed")
    assert [item.status for item in again.manifest] == [item.status for item in completed.manifest]
    assert JANE in await world.members()
    assert await world.audit() == ()
    assert (await check(world)).divergences == ()


async def test_invitations_made_after_the_snapshot_are_written_from_their_workflows(
    world_without_worker: World,
) -> None:
    """OPS-6, INV-7, INV-15: pending ones with their seat, ended ones with their end."""
    world = world_without_worker.patient()
    async with world.working():
        snapshot = Snapshot.of(world)
        pending = await world.pending(JANE, License.LICENSED)
        await world.pending(BOB, License.LICENSED)
        await world.client.decline(world.account, BOB, "No time.")
        second = await world.pending(BOB)
    await snapshot.restore(world)
    assert kinds(await check(world)) == ["record_missing"] * 3
    assert (await fix(world)).divergences == ()
    assert await world.free_seats() == 1
    assert (await world.stored(JANE)).journal == pending.journal
    assert (await world.stored(BOB)).run_id == second.run_id
    ended = await world.client.list(world.account, everything=True)
    assert sorted(each.state for each in ended) == ["declined", "pending", "pending"]
    async with world.working():
        assert (await world.client.accept(world.account, JANE)).state.accepted
        assert (await world.client.accept(world.account, BOB)).state.accepted
        await world.until(JANE, "completed")
    assert await world.audit() == ()


async def test_an_acceptance_that_is_not_possible_any_more_ends_the_invitation(
    world_without_worker: World,
) -> None:
    """OPS-6, INV-8: a blocker is back; operators see it, and the person can be invited again."""
    world = world_without_worker.patient()
    async with world.working():
        await world.imported(
            "janes",
            plan="free",
            users=[(JANE, "owner"), (BOB, "member")],
        )
        await world.pending(JANE)
        snapshot = Snapshot.of(world)
        await world.remove_user("janes", BOB)
        await world.client.accept(world.account, JANE)
        await world.until(JANE, "completed")
    await snapshot.restore(world)
    left = await fix(world)
    assert kinds(left) == ["acceptance_missing"]
    assert (await world.stored(JANE)).state == "revoked"
    assert (await check(world)).divergences == ()
    [case] = [each for each in await world.store.attention.cases() if each.kind == "divergence"]
    assert case.account == world.account
    assert case.id.startswith("invitation/")
    assert JANE not in case.message
    assert await world.store.restore.settle(int(case.remedy.rpartition(" ")[2]))
    assert await world.store.attention.cases() == []
    async with world.working():
        assert (await world.invite(JANE)).result == "invited"
    assert await world.audit() == ()


async def test_lost_workflows_are_restarted_from_their_records(
    world_without_worker: World,
) -> None:
    """OPS-6: as if Temporal were new, a pending invitation keeps its link and its deadline."""
    world = world_without_worker.patient()
    async with world.working():
        await a_paying_owner(world)
        accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
        assert accepted.settlement
        refund_id = accepted.settlement.refund_id or ""
        refund = await world.refund_until(refund_id, RefundState.PROCESSING)
        pending = await world.pending(BOB, License.LICENSED)
        await world.forget(JANE)
        await world.forget(BOB)
    found = await check(world)
    assert kinds(found) == ["workflow_missing"] * 2
    assert (await fix(world)).divergences == ()
    assert (await check(world)).divergences == ()
    async with world.working():
        shown = await world.show(BOB)
        assert (shown.expires_at, shown.link) == (pending.expires_at, pending.link)
        assert await refusal_of(world.client.resend(world.account, BOB, ADMIN)) == "rate_limited"
        await world.clock.pass_time(refund.workflow_id, timedelta(days=8))
        await world.refund_until(refund_id, RefundState.SETTLED)
        await world.until(JANE, "completed")
    assert await world.audit() == ()
