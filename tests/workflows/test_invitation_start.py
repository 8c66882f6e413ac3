"""Tests of managed domains and of the heads-up (INV-17, INV-18)."""

from datetime import timedelta

from domain.batch import BatchRow
from domain.invitation import InvitationState, Person
from tests.smtp_server import Misbehaviour
from tests.world import ADMIN, JANE, OWNER, World, refusal_of

NINA = "nina@acme.example"


async def import_managed_domain(world: World) -> None:
    await world.imported(world.account, managed_domains=["acme.example"])


async def test_a_user_of_a_managed_domain_joins_without_an_answer(world: World) -> None:
    """INV-18: notified afterwards, without a link."""
    await import_managed_domain(world)
    await world.invite(NINA)
    joined = await world.until(NINA, "completed")
    assert [entry.event for entry in joined.journal] == ["invite", "join", "complete"]
    await world.mailed("welcome", NINA)
    assert [mail.event for mail in world.mails(to=NINA)] == ["welcome"]
    assert NINA in await world.members()
    assert await world.audit() == ()


async def test_a_user_with_something_to_lose_must_answer(world: World) -> None:
    """INV-18: owners of a paid account, or of one with other users or a room."""
    await import_managed_domain(world)
    await world.imported("nina-pro", plan="pro", users=[(NINA, "owner")])
    await world.imported(
        "duo", plan="free", users=[("ann@acme.example", "owner"), ("b@b.example", "member")]
    )
    await world.imported(
        "studio", plan="free", users=[("cy@acme.example", "owner")], rooms=[{"id": "r"}]
    )
    for email in (NINA, "ann@acme.example", "cy@acme.example"):
        await world.pending(email)
    await world.pending(JANE)


async def test_the_only_user_of_a_free_account_joins_and_the_account_closes(world: World) -> None:
    """INV-18, SRC-2."""
    await import_managed_domain(world)
    await world.imported("nina-free", plan="free", users=[(NINA, "owner")])
    await world.invite(NINA)
    await world.until(NINA, "completed")
    [left] = (await world.export("nina-free")).accounts
    assert left.state == "closed"


async def test_the_invitation_carries_the_inviter_s_note(world: World) -> None:
    """INV-1: --note of one invitation and of a batch; a note that is too long invites nobody."""
    await world.client.invite(world.account, [Person(email=JANE)], ADMIN, note=" Hi\nJane \n")
    assert "\r\n> Hi\r\n> Jane\r\n" in (await world.mailed("invitation", JANE)).text
    rows = [BatchRow(position=0, person=Person(email=NINA))]
    batch = await world.bulk.submit(world.account, rows, ADMIN, note="See you")
    assert (await world.bulk.submit(world.account, rows, ADMIN, note="See you")) == batch
    assert "\r\n> See you\r\n" in (await world.mailed("invitation", NINA)).text
    too_long, ben = "n" * 501, [Person(email="ben@club.example")]
    invited = world.client.invite(world.account, ben, ADMIN, note=too_long)
    assert await refusal_of(invited) == "invalid_input"
    filed = world.bulk.submit(world.account, rows, ADMIN, note=too_long)
    assert await refusal_of(filed) == "invalid_input"
    assert len(await world.client.list(world.account, everything=True)) == 2


async def announced(world: World, days: int = 3) -> InvitationState:
    [row] = await world.client.invite(
        world.account, [Person(email=JANE)], ADMIN, heads_up_days=days
    )
    assert row.invitation is not None
    return row.invitation.state


async def test_a_heads_up_is_sent_before_the_invitation(world: World) -> None:
    """INV-17: before its day it can only be revoked; the deadline counts from the delivery."""
    assert await announced(world) is InvitationState.ANNOUNCED
    await world.mailed("heads_up", JANE)
    assert await refusal_of(world.client.accept(world.account, JANE)) == "not_pending"
    assert await refusal_of(world.client.resend(world.account, JANE, ADMIN)) == "not_pending"
    assert [mail.event for mail in world.mails(to=JANE)] == ["heads_up"]
    waiting = await world.show(JANE)
    assert waiting.goes_out_at is not None
    await world.go_to(JANE, waiting.goes_out_at)
    pending = await world.until(JANE, "pending")
    assert pending.deadline - waiting.goes_out_at >= timedelta(days=30)
    assert (await world.client.accept(world.account, JANE)).state.accepted


async def test_an_announced_invitation_is_revoked(world: World) -> None:
    """INV-17."""
    await announced(world)
    revoked = await world.client.revoke(world.account, JANE, OWNER)
    assert revoked.state is InvitationState.REVOKED


async def test_a_heads_up_is_not_sent_if_the_invitation_ends_first(world: World) -> None:
    """INV-17: the store is checked when the mail server is ready for the letter."""
    world.smtp.answers["RCPT"] = Misbehaviour.HESITATE
    await announced(world)
    await world.smtp.hesitates_at("RCPT")
    await world.client.revoke(world.account, JANE, OWNER)
    world.smtp.go_on()
    # A later letter to another person is delivered.
    await world.pending("sue@solo.example")
    assert world.mails(event="heads_up") == []


async def test_a_heads_up_that_bounces_ends_the_invitation(world: World) -> None:
    """INV-4."""
    world.smtp.unknown.add(JANE)
    await announced(world)
    await world.until(JANE, "undeliverable")
