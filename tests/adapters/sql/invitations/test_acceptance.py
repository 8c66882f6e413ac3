"""Acceptances: one transaction commits membership, seat, source account and state, or nothing."""

from datetime import UTC, timedelta
from typing import cast

import pytest

from domain.error import ErrorCode, Refused
from domain.invitation import Choice, InvitationState, License
from domain.manifest import Item, ItemStatus
from domain.remedy import Removal
from tests.builders.account import ADMIN, NOON, OWNER, ZOE, account, directory, user
from tests.builders.invitation import StoreScenario, ended


async def refusal(scenario: StoreScenario, email: str, choice: Choice | None = None) -> Refused:
    """Return the refusal of the acceptance; the store must be unchanged."""
    invite = scenario.new_invite(email)
    record = await scenario.send(invite)
    before = await scenario.store.directory.export(None)
    with pytest.raises(Refused) as refused:
        await scenario.accept(invite, record, choice)
    assert await scenario.store.directory.export(None) == before
    found = await scenario.store.invitations.by_id(invite.invitation_id)
    assert found
    assert found.invitation.state is InvitationState.PENDING
    return refused.value


async def test_a_new_person_becomes_a_member(scenario: StoreScenario) -> None:
    """INV-11: membership and `accepted` are committed together; nothing remains to be done."""
    kept = await scenario.send_and_accept(scenario.new_invite("new@person.example", name="Nia"))
    assert kept.state is InvitationState.COMPLETED
    assert [entry.event for entry in kept.journal[-2:]] == ["accept", "complete"]
    joined = (await scenario.account("acme")).user("new@person.example")
    assert joined
    assert (joined.name, joined.role, joined.licensed) == ("Nia", "member", False)
    assert (await scenario.store.audit()).violations == ()


async def test_accepting_again_changes_nothing(scenario: StoreScenario) -> None:
    """INV-10, INV-11: a repeated acceptance returns the stored record."""
    invite = scenario.new_invite("new@person.example", license=License.LICENSED)
    record = await scenario.send(invite)
    assert await scenario.accept(invite, record) == await scenario.accept(invite, record)
    assert (await scenario.store.audit()).violations == ()


async def test_an_ended_invitation_is_not_accepted(scenario: StoreScenario) -> None:
    """INV-7: the stored end is returned."""
    invite = scenario.new_invite("new@person.example")
    record = await scenario.send(invite)
    await scenario.store.invitations.end(invite.invitation_id, ended(record, "expire"))
    assert (await scenario.accept(invite, record)).state is InvitationState.EXPIRED
    assert "new@person.example" not in await scenario.users("acme")


async def test_an_accepted_invitation_is_not_ended(scenario: StoreScenario) -> None:
    """INV-10: acceptance and end have one winner."""
    invite = scenario.new_invite("new@person.example")
    record = await scenario.send(invite)
    await scenario.accept(invite, record)
    kept = await scenario.store.invitations.end(invite.invitation_id, ended(record, "revoke"))
    assert kept.invitation.state is InvitationState.COMPLETED


async def test_the_reserved_seat_is_assigned_to_the_member(scenario: StoreScenario) -> None:
    """INV-15: a person counts once."""
    await scenario.store.directory.import_(directory(account("acme", plan="business", licenses=2)))
    await scenario.send_and_accept(
        scenario.new_invite("new@person.example", license=License.LICENSED)
    )
    assert (await scenario.account("acme")).users[-1].licensed
    assert (await scenario.store.audit()).violations == ()
    invite = scenario.new_invite("other@person.example", license=License.LICENSED)
    with pytest.raises(Refused) as refused:
        await scenario.claim(invite)
    assert refused.value.code is ErrorCode.NO_SEATS


async def test_the_acceptance_of_its_owner_closes_a_free_account(scenario: StoreScenario) -> None:
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
    await scenario.store.directory.import_(directory(account("solo", subscriptions=[line])))
    await scenario.send_and_accept(scenario.new_invite("sue@solo.example"))
    closed = await scenario.account("solo")
    assert (closed.state, closed.users) == ("closed", ())
    [ended_line] = closed.subscriptions
    assert ended_line.period_end == NOON + timedelta(hours=1)
    assert [payment.id for payment in ended_line.payments] == ["p1"]
    assert (await scenario.store.audit()).violations == ()


async def test_the_export_of_a_closed_account_can_be_imported(
    scenario: StoreScenario,
) -> None:
    """SRC-2: its payments and its state stay readable."""
    await scenario.send_and_accept(scenario.new_invite("sue@solo.example"))
    exported = await scenario.store.directory.export(None)
    await scenario.store.directory.import_(exported)
    assert await scenario.store.directory.export(None) == exported


async def test_a_plain_member_of_a_free_account_leaves_it(scenario: StoreScenario) -> None:
    """SRC-3: blockers of its owner do not apply."""
    await scenario.send_and_accept(scenario.new_invite("lee@crowd.example"))
    assert await scenario.users("crowd") == {"kim@crowd.example"}
    assert "lee@crowd.example" in await scenario.users("acme")


async def test_the_base_license_on_the_source_account_is_released(scenario: StoreScenario) -> None:
    """SRC-3: a plain member's license returns to the pool of the account that they leave."""
    await scenario.store.directory.import_(
        directory(account("crowd", user("lee@crowd.example", licensed=True)))
    )
    await scenario.send_and_accept(scenario.new_invite("lee@crowd.example"))
    assert (await scenario.account("crowd")).licenses == 1
    assert (await scenario.store.audit()).violations == ()


async def test_the_data_of_a_person_moves_with_them(scenario: StoreScenario) -> None:
    """TRF-1: profile, settings and data are those of the person."""
    meeting = {"id": "m1", "topic": "Weekly", "starts_at": "2026-04-01T09:00:00Z"}
    await scenario.store.directory.import_(
        directory(account("solo", user("sue@solo.example", "owner", meetings=[meeting])))
    )
    await scenario.send_and_accept(scenario.new_invite("sue@solo.example"))
    joined = (await scenario.account("acme")).user("sue@solo.example")
    assert joined
    assert [meeting.id for meeting in joined.meetings] == ["m1"]
    assert joined.meetings[0].starts_at.tzinfo is UTC


async def test_the_accepted_record_has_the_manifest(scenario: StoreScenario) -> None:
    """TRF-1: counts are those before leaving; items without data are `moved` at once."""
    sue = user("sue@solo.example", "owner", recordings=3, chat_messages=8)
    await scenario.store.directory.import_(directory(account("solo", sue)))
    kept = await scenario.send_and_accept(scenario.new_invite("sue@solo.example"))
    assert kept.state is InvitationState.ACCEPTED
    counts = {item.item: (item.count, item.status) for item in kept.manifest}
    assert len(counts) == len(Item)
    assert counts[Item.PROFILE] == (1, ItemStatus.MOVED)
    assert counts[Item.RECORDINGS] == (3, ItemStatus.PENDING)
    assert counts[Item.CHAT_HISTORY] == (8, ItemStatus.PENDING)
    assert counts[Item.CONTACTS] == (0, ItemStatus.MOVED)
    # The workflow's record has no manifest.
    recorded = kept.model_copy(update={"manifest": (), "with_errors": True})
    invitation_id = kept.run_id.removeprefix("run-")
    await scenario.store.invitations.record(invitation_id, recorded)
    found = await scenario.store.invitations.by_id(invitation_id)
    assert found
    assert (found.invitation.manifest, found.invitation.with_errors) == (kept.manifest, False)


async def test_an_account_counts_only_messages_after_joining(scenario: StoreScenario) -> None:
    """TRF-4: also in its export, whose import changes nothing."""
    sue = user("sue@solo.example", "owner", chat_messages=8)
    await scenario.store.directory.import_(directory(account("solo", sue)))
    await scenario.send_and_accept(scenario.new_invite("sue@solo.example"))
    assert await _messages(scenario, "acme") == 0
    written = user("sue@solo.example", chat_messages=5)
    await scenario.store.directory.import_(directory(account("acme", written, plan="business")))
    assert await _messages(scenario, "acme") == 5
    exported = await scenario.store.directory.export(None)
    await scenario.store.directory.import_(exported)
    assert await scenario.store.directory.export(None) == exported
    # All messages belong to the person.
    [changed] = await scenario.store.remedies.remove_user(
        "acme", "sue@solo.example", Removal.UNLINK, NOON
    )
    assert await _messages(scenario, str(changed.to)) == 13


async def _messages(scenario: StoreScenario, name: str) -> int:
    found = (await scenario.account(name)).user("sue@solo.example")
    assert found
    return found.chat_messages


async def test_an_owner_with_blockers_is_refused_with_all_of_them(scenario: StoreScenario) -> None:
    """BLK-4: the refusal lists each blocker with its items."""
    refused = await refusal(scenario, "kim@crowd.example")
    assert refused.code is ErrorCode.BLOCKED
    blockers = cast(list[dict[str, object]], refused.details["blockers"])
    assert [blocker["code"] for blocker in blockers] == ["1009", "outstanding_invoice"]


async def test_an_owner_whose_quote_is_zero_need_not_choose(
    scenario: StoreScenario,
) -> None:
    """QUO-4: a choice is ignored, and nothing is settled."""
    invite = scenario.new_invite("zoe@zeta.example")
    kept = await scenario.accept(invite, await scenario.send(invite), Choice.REFUND)
    assert (kept.choice, kept.settlement) == (None, None)
    assert (await scenario.account("zeta")).state == "closed"
    assert (await scenario.store.audit()).violations == ()


@pytest.mark.parametrize("change", [{"plan": "free"}, {"suspended": True}])
async def test_a_target_account_that_is_no_longer_paid_cannot_be_joined(
    scenario: StoreScenario, change: dict[str, object]
) -> None:
    """INV-12: checked again at acceptance, before the blockers."""
    invite = scenario.new_invite("kim@crowd.example")
    record = await scenario.send(invite)
    await scenario.store.directory.import_(directory({**account("acme", plan="pro"), **change}))
    with pytest.raises(Refused) as refused:
        await scenario.accept(invite, record)
    assert refused.value.code is ErrorCode.TARGET_NOT_PAID


async def test_without_a_reserved_seat_one_must_be_free(scenario: StoreScenario) -> None:
    """INV-12: `no_seats` comes before `blocked`."""
    await scenario.store.directory.import_(directory(account("acme", plan="pro", licenses=1)))
    basic = scenario.new_invite("kim@crowd.example")
    record = await scenario.send(basic)
    licensed = basic.model_copy(update={"license": License.LICENSED})
    with pytest.raises(Refused) as refused:
        await scenario.accept(licensed, record)
    assert refused.value.code is ErrorCode.NO_SEATS


async def test_a_person_imported_meanwhile_is_already_a_member(scenario: StoreScenario) -> None:
    """INV-3: accepting is refused with `already_member`."""
    invite = scenario.new_invite("new@person.example")
    record = await scenario.send(invite)
    await scenario.store.directory.import_(
        directory(account("acme", user("new@person.example"), plan="pro"))
    )
    with pytest.raises(Refused) as refused:
        await scenario.accept(invite, record)
    assert refused.value.code is ErrorCode.ALREADY_MEMBER


async def test_a_person_imported_into_another_paid_account_meanwhile_stays_there(
    scenario: StoreScenario,
) -> None:
    """SRC-4: no account takes people from another company."""
    invite = scenario.new_invite("new@person.example")
    record = await scenario.send(invite)
    await scenario.store.directory.import_(
        directory(account("zeta", user("new@person.example"), plan="pro"))
    )
    with pytest.raises(Refused) as refused:
        await scenario.accept(invite, record)
    assert refused.value.code is ErrorCode.BELONGS_TO_OTHER_ACCOUNT


async def test_an_acceptance_supersedes_the_person_s_other_invitations(
    scenario: StoreScenario,
) -> None:
    """INV-14: in one transaction they end, release their seats and are signalled."""
    second = scenario.new_invite("new@person.example", "zeta", license=License.LICENSED, by=ZOE)
    record = await scenario.send(second)
    await scenario.send_and_accept(scenario.new_invite("new@person.example"))
    [signalled] = await scenario.take_signals()
    assert (signalled.workflow_id, signalled.run_id) == (
        second.workflow_id,
        f"run-{second.invitation_id}",
    )
    kept = await scenario.accept(second, record)
    assert kept.state is InvitationState.SUPERSEDED
    assert (kept.journal[-1].event, kept.journal[-1].by) == ("supersede", "seatflow")
    again = await scenario.store.invitations.end(second.invitation_id, ended(record))
    assert again.invitation == kept
    # Its one seat is free again.
    await scenario.claim(
        scenario.new_invite("p1@person.example", "zeta", license=License.LICENSED, by=ZOE)
    )
    assert (await scenario.store.audit()).violations == ()


async def test_a_refused_acceptance_supersedes_nothing(scenario: StoreScenario) -> None:
    """INV-14: only a committed acceptance wins."""
    second = scenario.new_invite("kim@crowd.example", into="zeta", by=ZOE)
    await scenario.send(second)
    assert (await refusal(scenario, "kim@crowd.example")).code is ErrorCode.BLOCKED
    found = await scenario.store.invitations.by_id(second.invitation_id)
    assert found
    assert found.invitation.state is InvitationState.PENDING
    assert await scenario.take_signals() == []


async def test_a_superseded_claim_is_signalled_once_its_workflow_has_started(
    scenario: StoreScenario,
) -> None:
    """INV-14: it was superseded between its claim and its start."""
    second = scenario.new_invite("new@person.example", into="zeta", by=ZOE)
    await scenario.claim(second)
    await scenario.send_and_accept(scenario.new_invite("new@person.example"))
    assert await scenario.take_signals() == []
    await scenario.store.invitations.bind(second.invitation_id, "run-2")
    assert [signalled.run_id for signalled in await scenario.take_signals()] == ["run-2"]


async def test_a_superseded_claim_that_never_started_is_released(scenario: StoreScenario) -> None:
    """INV-14, INV-15: no workflow exists for it, so that recovery deletes the row."""
    second = scenario.new_invite("new@person.example", into="zeta", by=ZOE)
    await scenario.claim(second)
    await scenario.send_and_accept(scenario.new_invite("new@person.example"))
    await scenario.store.invitations.release(second.invitation_id)
    assert await scenario.store.invitations.by_id(second.invitation_id) is None


async def test_the_journal_records_an_inviter_who_is_no_longer_admin(
    scenario: StoreScenario,
) -> None:
    """INV-12: the invitation continues."""
    invite = scenario.new_invite("new@person.example")
    record = await scenario.send(invite)
    await scenario.store.directory.import_(directory(account("acme", user(ADMIN), plan="pro")))
    kept = await scenario.accept(invite, record)
    assert kept.journal[-2].note == "The inviter no longer administers the account."
    found = await scenario.store.invitations.by_id(invite.invitation_id)
    assert found
    assert found.invitation == kept


async def test_the_journal_does_not_mention_a_current_admin(scenario: StoreScenario) -> None:
    """INV-12: the note is only for inviters who have lost their authority."""
    kept = await scenario.send_and_accept(scenario.new_invite("new@person.example", by=OWNER))
    assert kept.journal[-2].note is None
