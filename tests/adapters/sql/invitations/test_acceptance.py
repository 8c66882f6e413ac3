"""An acceptance commits everything that must be true at once, or nothing."""

from datetime import UTC, timedelta
from typing import cast

import pytest

from domain.error import ErrorCode, Refused
from domain.invitation import Choice, InvitationState, License
from domain.manifest import Item, ItemStatus
from domain.remedy import Removal
from tests.builders.invitation import (
    ADMIN,
    NOON,
    OWNER,
    ZOE,
    Town,
    account,
    directory,
    ended,
    user,
)


async def refusal(town: Town, email: str, choice: Choice | None = None) -> Refused:
    """How the store refuses the acceptance, having changed nothing."""
    invite = town.invite(email)
    record = await town.pending(invite)
    before = await town.store.directory.export(None)
    with pytest.raises(Refused) as refused:
        await town.join(invite, record, choice)
    assert await town.store.directory.export(None) == before
    found = await town.store.invitations.by_id(invite.invitation_id)
    assert found
    assert found.invitation.state is InvitationState.PENDING
    return refused.value


async def test_a_new_person_becomes_a_member(town: Town) -> None:
    """INV-11: membership and `accepted` in one; nothing remains to be done."""
    kept = await town.joined(town.invite("new@person.example", name="Nia"))
    assert kept.state is InvitationState.COMPLETED
    assert [entry.event for entry in kept.journal[-2:]] == ["accept", "complete"]
    joined = (await town.account("acme")).user("new@person.example")
    assert joined
    assert (joined.name, joined.role, joined.licensed) == ("Nia", "member", False)
    assert (await town.store.audit()).violations == ()


async def test_accepting_again_changes_nothing(town: Town) -> None:
    """INV-10, INV-11: once per invitation; the record that is kept."""
    invite = town.invite("new@person.example", license=License.LICENSED)
    record = await town.pending(invite)
    assert await town.join(invite, record) == await town.join(invite, record)
    assert (await town.store.audit()).violations == ()


async def test_what_has_ended_is_not_accepted(town: Town) -> None:
    """INV-7: the end that is kept answers."""
    invite = town.invite("new@person.example")
    record = await town.pending(invite)
    await town.store.invitations.end(invite.invitation_id, ended(record, "expire"))
    assert (await town.join(invite, record)).state is InvitationState.EXPIRED
    assert "new@person.example" not in await town.users("acme")


async def test_an_accepted_invitation_is_not_ended(town: Town) -> None:
    """INV-10: one winner."""
    invite = town.invite("new@person.example")
    record = await town.pending(invite)
    await town.join(invite, record)
    kept = await town.store.invitations.end(invite.invitation_id, ended(record, "revoke"))
    assert kept.state is InvitationState.COMPLETED


async def test_the_reserved_seat_becomes_the_members(town: Town) -> None:
    """INV-15: a person counts once."""
    await town.store.directory.import_(directory(account("acme", plan="business", licenses=2)))
    await town.joined(town.invite("new@person.example", license=License.LICENSED))
    assert (await town.account("acme")).users[-1].licensed
    assert (await town.store.audit()).violations == ()
    invite = town.invite("other@person.example", license=License.LICENSED)
    with pytest.raises(Refused) as refused:
        await town.claimed(invite)
    assert refused.value.code is ErrorCode.NO_SEATS


async def test_the_owner_of_a_free_account_closes_it_behind_them(town: Town) -> None:
    """SRC-2: no users, subscriptions end at that moment, payments stay readable."""
    line = {
        "id": "s1",
        "product": "Extra",
        "kind": "addon",
        "quantity": 1,
        "cycle": "monthly",
        "period_start": "2026-03-01",
        "period_end": "2026-04-01",
        "payments": [{"id": "p1", "method": "card", "amount": "5.00"}],
    }
    await town.store.directory.import_(directory(account("solo", subscriptions=[line])))
    await town.joined(town.invite("sue@solo.example"))
    closed = await town.account("solo")
    assert (closed.state, closed.users) == ("closed", ())
    [ended_line] = closed.subscriptions
    assert ended_line.period_end == NOON + timedelta(hours=1)
    assert [payment.id for payment in ended_line.payments] == ["p1"]
    assert (await town.store.audit()).violations == ()


async def test_a_closed_account_is_imported_again_as_it_was_exported(town: Town) -> None:
    await town.joined(town.invite("sue@solo.example"))
    exported = await town.store.directory.export(None)
    await town.store.directory.import_(exported)
    assert await town.store.directory.export(None) == exported


async def test_a_member_of_a_free_account_just_leaves_it(town: Town) -> None:
    """SRC-3: whatever blocks its owner."""
    await town.joined(town.invite("lee@crowd.example"))
    assert await town.users("crowd") == {"kim@crowd.example"}
    assert "lee@crowd.example" in await town.users("acme")


async def test_the_seat_on_the_source_account_is_given_back(town: Town) -> None:
    await town.store.directory.import_(
        directory(account("crowd", user("lee@crowd.example", licensed=True)))
    )
    await town.joined(town.invite("lee@crowd.example"))
    assert (await town.account("crowd")).licenses == 1
    assert (await town.store.audit()).violations == ()


async def test_what_is_the_persons_own_comes_with_them(town: Town) -> None:
    meeting = {"id": "m1", "topic": "Weekly", "starts_at": "2026-04-01T09:00:00Z"}
    await town.store.directory.import_(
        directory(account("solo", user("sue@solo.example", "owner", meetings=[meeting])))
    )
    await town.joined(town.invite("sue@solo.example"))
    joined = (await town.account("acme")).user("sue@solo.example")
    assert joined
    assert [meeting.id for meeting in joined.meetings] == ["m1"]
    assert joined.meetings[0].starts_at.tzinfo is UTC


async def test_the_record_opens_with_what_moves_along(town: Town) -> None:
    """TRF-1: as it was before leaving; where there is nothing, nothing has to be moved."""
    sue = user("sue@solo.example", "owner", recordings=3, chat_messages=8)
    await town.store.directory.import_(directory(account("solo", sue)))
    kept = await town.joined(town.invite("sue@solo.example"))
    assert kept.state is InvitationState.ACCEPTED
    counts = {item.item: (item.count, item.status) for item in kept.manifest}
    assert len(counts) == len(Item)
    assert counts[Item.PROFILE] == (1, ItemStatus.MOVED)
    assert counts[Item.RECORDINGS] == (3, ItemStatus.PENDING)
    assert counts[Item.CHAT_HISTORY] == (8, ItemStatus.PENDING)
    assert counts[Item.CONTACTS] == (0, ItemStatus.MOVED)
    # Whoever records the invitation says nothing of the move.
    told = kept.model_copy(update={"manifest": (), "with_errors": True})
    invitation_id = kept.run_id.removeprefix("run-")
    await town.store.invitations.record(invitation_id, told)
    found = await town.store.invitations.by_id(invitation_id)
    assert found
    assert (found.invitation.manifest, found.invitation.with_errors) == (kept.manifest, False)


async def test_an_account_knows_only_the_messages_since_joining(town: Town) -> None:
    """TRF-4: in what is exported, which imports to the same."""
    sue = user("sue@solo.example", "owner", chat_messages=8)
    await town.store.directory.import_(directory(account("solo", sue)))
    await town.joined(town.invite("sue@solo.example"))
    assert await _messages(town, "acme") == 0
    written = user("sue@solo.example", chat_messages=5)
    await town.store.directory.import_(directory(account("acme", written, plan="business")))
    assert await _messages(town, "acme") == 5
    exported = await town.store.directory.export(None)
    await town.store.directory.import_(exported)
    assert await town.store.directory.export(None) == exported
    # All of it is their own, wherever it was written.
    [changed] = await town.store.remedies.remove_user(
        "acme", "sue@solo.example", Removal.UNLINK, NOON
    )
    assert await _messages(town, str(changed.to)) == 13


async def _messages(town: Town, name: str) -> int:
    found = (await town.account(name)).user("sue@solo.example")
    assert found
    return found.chat_messages


async def test_an_owner_with_blockers_is_refused_with_all_of_them(town: Town) -> None:
    """BLK: each with its items."""
    refused = await refusal(town, "kim@crowd.example")
    assert refused.code is ErrorCode.BLOCKED
    blockers = cast(list[dict[str, object]], refused.details["blockers"])
    assert [blocker["code"] for blocker in blockers] == ["1009", "outstanding_invoice"]


async def test_an_owner_whose_plan_is_worth_nothing_need_not_choose(town: Town) -> None:
    """QUO-4: a choice that is given all the same is ignored, and nothing is settled."""
    invite = town.invite("zoe@zeta.example")
    kept = await town.join(invite, await town.pending(invite), Choice.REFUND)
    assert (kept.choice, kept.settlement) == (None, None)
    assert (await town.account("zeta")).state == "closed"
    assert (await town.store.audit()).violations == ()


@pytest.mark.parametrize("change", [{"plan": "free"}, {"suspended": True}])
async def test_a_target_that_is_no_longer_paid_is_not_joined(
    town: Town, change: dict[str, object]
) -> None:
    """INV-12: looked at again at acceptance, and before the blockers."""
    invite = town.invite("kim@crowd.example")
    record = await town.pending(invite)
    await town.store.directory.import_(directory({**account("acme", plan="pro"), **change}))
    with pytest.raises(Refused) as refused:
        await town.join(invite, record)
    assert refused.value.code is ErrorCode.TARGET_NOT_PAID


async def test_a_seat_that_nobody_reserved_must_still_be_free(town: Town) -> None:
    """INV-12: `no_seats` comes before `blocked`."""
    await town.store.directory.import_(directory(account("acme", plan="pro", licenses=1)))
    basic = town.invite("kim@crowd.example")
    record = await town.pending(basic)
    licensed = basic.model_copy(update={"license": License.LICENSED})
    with pytest.raises(Refused) as refused:
        await town.join(licensed, record)
    assert refused.value.code is ErrorCode.NO_SEATS


async def test_who_was_imported_meanwhile_is_a_member_already(town: Town) -> None:
    invite = town.invite("new@person.example")
    record = await town.pending(invite)
    await town.store.directory.import_(
        directory(account("acme", user("new@person.example"), plan="pro"))
    )
    with pytest.raises(Refused) as refused:
        await town.join(invite, record)
    assert refused.value.code is ErrorCode.ALREADY_MEMBER


async def test_who_was_imported_into_another_paid_account_meanwhile_stays_there(
    town: Town,
) -> None:
    """SRC-4: no account draws people out of another."""
    invite = town.invite("new@person.example")
    record = await town.pending(invite)
    await town.store.directory.import_(
        directory(account("zeta", user("new@person.example"), plan="pro"))
    )
    with pytest.raises(Refused) as refused:
        await town.join(invite, record)
    assert refused.value.code is ErrorCode.BELONGS_TO_OTHER_ACCOUNT


async def test_the_other_invitations_of_who_has_accepted_are_superseded(town: Town) -> None:
    """INV-14: ended, their seats free, their workflows told; in one with the acceptance."""
    second = town.invite("new@person.example", "zeta", license=License.LICENSED, by=ZOE)
    record = await town.pending(second)
    await town.joined(town.invite("new@person.example"))
    [told] = await town.announced()
    assert (told.workflow_id, told.run_id) == (
        second.workflow_id,
        f"run-{second.invitation_id}",
    )
    kept = await town.join(second, record)
    assert kept.state is InvitationState.SUPERSEDED
    assert (kept.journal[-1].event, kept.journal[-1].by) == ("supersede", "seatflow")
    assert await town.store.invitations.end(second.invitation_id, ended(record)) == kept
    # Its one seat is free again.
    await town.claimed(town.invite("p1@person.example", "zeta", license=License.LICENSED, by=ZOE))
    assert (await town.store.audit()).violations == ()


async def test_what_is_refused_supersedes_nothing(town: Town) -> None:
    second = town.invite("kim@crowd.example", into="zeta", by=ZOE)
    await town.pending(second)
    assert (await refusal(town, "kim@crowd.example")).code is ErrorCode.BLOCKED
    found = await town.store.invitations.by_id(second.invitation_id)
    assert found
    assert found.invitation.state is InvitationState.PENDING
    assert await town.announced() == []


async def test_a_superseded_claim_is_told_once_its_workflow_has_started(town: Town) -> None:
    """INV-14: it was superseded between the claim and the start."""
    second = town.invite("new@person.example", into="zeta", by=ZOE)
    await town.claimed(second)
    await town.joined(town.invite("new@person.example"))
    assert await town.announced() == []
    await town.store.invitations.bind(second.invitation_id, "run-2")
    assert [told.run_id for told in await town.announced()] == ["run-2"]


async def test_a_superseded_claim_that_never_started_is_released(town: Town) -> None:
    second = town.invite("new@person.example", into="zeta", by=ZOE)
    await town.claimed(second)
    await town.joined(town.invite("new@person.example"))
    await town.store.invitations.release(second.invitation_id)
    assert await town.store.invitations.by_id(second.invitation_id) is None


async def test_the_journal_says_that_the_inviter_no_longer_administers(town: Town) -> None:
    """INV-12: it does not stop the invitation."""
    invite = town.invite("new@person.example")
    record = await town.pending(invite)
    await town.store.directory.import_(directory(account("acme", user(ADMIN), plan="pro")))
    kept = await town.join(invite, record)
    assert kept.journal[-2].note == "The inviter no longer administers the account."
    found = await town.store.invitations.by_id(invite.invitation_id)
    assert found
    assert found.invitation == kept


async def test_an_inviter_who_is_still_there_is_not_mentioned(town: Town) -> None:
    kept = await town.joined(town.invite("new@person.example", by=OWNER))
    assert kept.journal[-2].note is None
