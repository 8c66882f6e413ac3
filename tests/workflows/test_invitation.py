"""Tests of the Invitation workflow, from its first e-mail to each of its ends."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from activities.invitation import with_delivery
from domain.error import ErrorCode, Refused, Unavailable
from domain.invitation import Choice, InvitationState, License
from domain.journal import day_of
from domain.policy import Policy
from domain.remedy import Removal
from tests.smtp_server import Misbehaviour
from tests.world import ADMIN, JANE, MEMBER, OWNER, World, refusal_of

SECOND = timedelta(seconds=1)
BILLED = {
    "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED",
    "EVENT_TYPE_ACTIVITY_TASK_SCHEDULED",
    "EVENT_TYPE_MARKER_RECORDED",
    "EVENT_TYPE_TIMER_STARTED",
    "EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
    "EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED",
    "EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED",
    "EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED",
}
"""Events that Temporal Cloud bills as actions."""


async def test_an_invitation_is_sent_and_waits_for_an_answer(world: World) -> None:
    """INV-4, INV-6: pending from the delivery on, for thirty days."""
    row = await world.invite(JANE)
    assert (row.result, row.error) == ("invited", None)
    assert row.invitation is not None
    assert row.invitation.state is InvitationState.SENT
    pending = await world.until(JANE, "pending")
    delivered = pending.journal[-1]
    assert (delivered.event, delivered.to_state) == ("deliver", "pending")
    assert pending.expires_at == delivered.at + timedelta(days=30)
    [mail] = world.mails(to=JANE)
    assert pending.link is not None
    assert pending.link in mail.text
    assert pending.run_id == row.invitation.run_id


async def test_an_acceptance_adds_the_member_and_notifies_everyone(world: World) -> None:
    """INV-11: membership and `accepted` are committed together."""
    await world.pending(JANE)
    accepted = await world.client.accept(world.account, JANE)
    assert accepted.state.accepted
    closed = await world.until(JANE, "completed")
    assert closed.link is None
    assert closed.allowed == ()
    assert await world.members() == {OWNER, ADMIN, MEMBER, JANE}
    await world.mailed("welcome", JANE)
    await world.mailed("accepted", ADMIN)
    assert (await world.audit()) == ()


async def test_the_acceptance_of_a_free_account_costs_few_billed_actions(world: World) -> None:
    """The number of events and of billed actions; docs/performance.md has the figures."""
    await world.imported(f"{world.account}.free", plan="free", users=[(JANE, "owner")])
    await world.pending(JANE)
    await world.client.accept(world.account, JANE)
    await world.until(JANE, "completed")
    events = await world.events(JANE)
    assert len(events) <= 26
    assert sum(event in BILLED for event in events) <= 7
    await world.mailed("welcome", JANE)
    await world.mailed("accepted", ADMIN)


async def test_an_acceptance_waits_for_no_mail_server(world: World) -> None:
    """OPS-2: the letters are sent later; the invitation has ended, and its id is free (INV-8)."""
    await world.pending(JANE)
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    accepted = await world.client.accept(world.account, JANE)
    assert accepted.state is InvitationState.COMPLETED
    await world.remove_user(world.account, JANE, Removal.DELETE)
    assert (await world.invite(JANE)).result == "invited"
    assert world.mails(event="accepted") == []
    world.smtp.answers.clear()
    await world.mailed("accepted", ADMIN)


async def test_a_decline_sends_its_reason_to_the_inviter(world: World) -> None:
    """INV-7: the reason reaches the inviter."""
    await world.pending(JANE)
    declined = await world.client.decline(world.account, JANE, "I have left\r\nBcc: x@y.example")
    assert declined.state is InvitationState.DECLINED
    mail = await world.mailed("declined", ADMIN)
    assert "I have left Bcc: x@y.example" in mail.text
    assert await refusal_of(world.client.accept(world.account, JANE)) == "declined"
    assert await world.members() == {OWNER, ADMIN, MEMBER}


async def test_only_an_owner_or_admin_revokes_an_invitation(world: World) -> None:
    """INV-7: only an owner or admin of the target revokes."""
    await world.pending(JANE)
    by_member = world.client.revoke(world.account, JANE, MEMBER)
    assert await refusal_of(by_member) == "not_authorized"
    revoked = await world.client.revoke(world.account, JANE, OWNER)
    assert revoked.state is InvitationState.REVOKED
    assert revoked.journal[-1].by == OWNER
    assert await refusal_of(world.client.accept(world.account, JANE)) == "revoked"


async def test_an_invitation_expires_at_its_deadline_and_not_a_second_before(
    world: World,
) -> None:
    """INV-6: expiry is a transition, the inviter is notified once, accepting is refused."""
    pending = await world.pending(JANE, License.LICENSED)
    await world.go_to(JANE, pending.deadline - SECOND)
    assert (await world.show(JANE)).state is InvitationState.PENDING
    await world.go_to(JANE, pending.deadline)
    expired = await world.until(JANE, "expired")
    assert expired.journal[-1].event == "expire"
    await world.mailed("expired", ADMIN)
    assert await refusal_of(world.client.accept(world.account, JANE)) == "expired"
    assert await world.free_seats() == 2


async def test_an_answer_before_the_deadline_counts(world: World) -> None:
    """INV-6: an answer received before the deadline is finished."""
    pending = await world.pending(JANE)
    await world.go_to(JANE, pending.deadline - SECOND)
    assert (await world.client.accept(world.account, JANE)).state.accepted


async def test_a_bounce_ends_the_invitation_and_notifies_the_inviter(world: World) -> None:
    """INV-4: a 5xx to RCPT ends in `undeliverable`."""
    world.smtp.unknown.add(JANE)
    await world.invite(JANE, License.LICENSED)
    ended = await world.until(JANE, "undeliverable")
    assert "jane@" not in (ended.journal[-1].note or "")
    mail = await world.mailed("undeliverable", ADMIN)
    assert "no such user" in mail.text
    assert await world.free_seats() == 2


async def test_a_mail_server_that_is_down_delays_the_invitation(world: World) -> None:
    """INV-4: any failure but a 5xx to RCPT or DATA is retried; then the deadline starts."""
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await world.invite(JANE)
    await asyncio.sleep(0.5)
    assert (await world.show(JANE)).state is InvitationState.SENT
    answer = world.client.accept(world.account, JANE)
    assert await refusal_of(answer) == "not_pending"
    world.smtp.answers.clear()
    pending = await world.until(JANE, "pending")
    assert pending.expires_at == pending.journal[-1].at + timedelta(days=30)
    assert len(world.mails(to=JANE)) == 1


async def test_an_answer_before_the_workflow_knows_of_the_delivery_is_accepted(
    world: World,
) -> None:
    """INV-4: the store has the delivery a moment before the workflow."""
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await world.invite(JANE)
    stored = await world.store.invitations.latest(world.account, JANE)
    assert stored is not None
    out = with_delivery(stored.invitation, datetime.now(UTC), Policy())
    await world.store.invitations.record(stored.invitation_id, out)
    accepting = asyncio.create_task(world.client.accept(world.account, JANE))
    await asyncio.sleep(0.5)
    world.smtp.answers.clear()
    assert (await accepting).state.accepted


async def test_an_invitation_revoked_before_its_delivery_is_never_sent(world: World) -> None:
    """INV-7, OPS-2."""
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await world.invite(JANE)
    await world.client.revoke(world.account, JANE, ADMIN)
    world.smtp.answers.clear()
    await asyncio.sleep(3)
    assert world.mails(to=JANE) == []


async def test_a_resend_makes_a_new_link_and_disables_the_old_one(world: World) -> None:
    """INV-9: the deadline starts again; a second resend within the hour is refused."""
    first = await world.pending(JANE)
    assert first.link is not None
    with pytest.raises(Refused) as refused:
        await world.client.resend(world.account, JANE, ADMIN)
    assert refused.value.code is ErrorCode.RATE_LIMITED
    assert 3500 < int(str(refused.value.details["retry_after_seconds"])) <= 3600
    await world.pass_time(JANE, timedelta(hours=1))
    resent = await world.client.resend(world.account, JANE, ADMIN)
    assert (resent.state, resent.sent_count, resent.link) == (InvitationState.PENDING, 2, None)
    second = await world.show(JANE)
    assert second.link not in (None, first.link)
    assert await refusal_of(world.client.accept_link(first.link, None)) == "not_found"
    await world.mailed("invitation", JANE, times=2)
    renewed = await world.show(JANE)
    assert renewed.deadline >= first.deadline + timedelta(hours=1)
    assert second.link is not None
    assert (await world.client.accept_link(second.link, JANE)).state.accepted


async def test_a_resend_that_bounces_ends_the_invitation(world: World) -> None:
    """INV-9: it ends in `undeliverable`."""
    await world.pending(JANE)
    await world.pass_time(JANE, timedelta(hours=1))
    world.smtp.unknown.add(JANE)
    await world.client.resend(world.account, JANE, ADMIN)
    await world.until(JANE, "undeliverable")


async def test_an_ended_invitation_is_not_resent(world: World) -> None:
    """INV-9: the refusal has the code of its end."""
    await world.pending(JANE)
    await world.client.decline(world.account, JANE)
    assert await refusal_of(world.client.resend(world.account, JANE, ADMIN)) == "declined"


async def test_accepting_again_returns_the_same_result_before_and_after_the_end(
    world: World,
) -> None:
    """INV-10: the same choice, or none, returns the same invitation."""
    pending = await world.pending(JANE)
    await world.client.accept(world.account, JANE)
    await world.until(JANE, "completed")
    again = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert (again.run_id, again.state) == (pending.run_id, InvitationState.COMPLETED)
    assert pending.link is not None
    assert (await world.client.accept_link(pending.link, JANE)).run_id == pending.run_id
    assert await refusal_of(world.client.decline(world.account, JANE)) == "already_accepted"


async def test_fifty_concurrent_acceptances_make_one_membership(world: World) -> None:
    """INV-10: the server takes ten updates at a time; every caller gets the same invitation."""
    pending = await world.pending(JANE)
    answers = await asyncio.gather(*(world.client.accept(world.account, JANE) for _ in range(50)))
    assert {answer.run_id for answer in answers} == {pending.run_id}
    assert all(answer.state.accepted for answer in answers)
    closed = await world.until(JANE, "completed")
    assert [entry.event for entry in closed.journal].count("accept") == 1
    assert await world.audit() == ()


async def test_one_of_several_concurrent_answers_wins(world: World) -> None:
    """INV-10: the other answers get a code."""
    await world.pending(JANE, License.LICENSED)
    answers = await asyncio.gather(
        world.client.accept(world.account, JANE),
        world.client.decline(world.account, JANE),
        world.client.revoke(world.account, JANE, ADMIN),
        return_exceptions=True,
    )
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 1
    losers = {answer.code for answer in answers if isinstance(answer, Refused)}
    assert len(losers) == 1
    assert losers <= {ErrorCode.ALREADY_ACCEPTED, ErrorCode.DECLINED, ErrorCode.REVOKED}
    assert await world.audit() == ()


async def test_the_same_person_is_invited_again_at_once_after_an_end(world: World) -> None:
    """INV-8: a new run with a new link; the old link has the code of the old end."""
    first = await world.pending(JANE)
    await world.client.decline(world.account, JANE)
    row = await world.invite(JANE)
    assert row.result == "invited"
    second = await world.until(JANE, "pending")
    assert second.run_id != first.run_id
    assert first.link is not None
    assert second.link != first.link
    assert await refusal_of(world.client.accept_link(first.link, JANE)) == "declined"


async def test_the_same_person_is_invited_again_while_the_mail_server_is_down(
    world: World,
) -> None:
    """INV-8: unsent letters of the old invitation do not delay the new one."""
    await world.pending(JANE)
    world.smtp.answers["MAIL"] = "451 4.3.0 try later"
    await world.client.decline(world.account, JANE)
    assert (await world.invite(JANE)).result == "invited"
    world.smtp.answers.clear()
    await world.mailed("declined", ADMIN)


async def test_inviting_twice_at_once_starts_one_invitation(world: World) -> None:
    """INV-3: the live invitation is returned unchanged."""
    rows = await asyncio.gather(*(world.invite(JANE, License.LICENSED) for _ in range(5)))
    assert sorted(row.result for row in rows) == ["already_invited"] * 4 + ["invited"]
    assert len({row.invitation.run_id for row in rows if row.invitation}) == 1
    assert await world.free_seats() == 1


async def test_an_invalid_row_does_not_affect_the_others(world: World) -> None:
    """INV-2, INV-3, SRC-4: one result for each row, in the order requested, repeats once."""
    await world.imported(
        "other", plan="pro", users=[("o@other.example", "owner"), ("m@other.example", "member")]
    )
    rows = await world.invite_all(
        " JANE@example.com ", "no address", MEMBER, "m@other.example", JANE, "joe@example.com"
    )
    assert [(row.email, row.result, (row.error or {}).get("code")) for row in rows] == [
        (JANE, "invited", None),
        ("no address", "refused", "invalid_email"),
        (MEMBER, "refused", "already_member"),
        ("m@other.example", "refused", "belongs_to_other_account"),
        ("joe@example.com", "invited", None),
    ]


async def test_a_row_of_a_member_says_since_when(world: World) -> None:
    """INV-3: the day of the acceptance; of an imported member nobody knows it."""
    await world.pending(JANE)
    accepted = await world.client.accept(world.account, JANE)
    assert accepted.accepted_at
    rows = await world.invite_all(JANE, MEMBER)
    assert [(row.error or {}).get("message") for row in rows] == [
        f"{JANE} is on {world.account} since {day_of(accepted.accepted_at)}.",
        f"{MEMBER} is on {world.account} already.",
    ]


@pytest.mark.parametrize(
    ("by", "code"), [(MEMBER, "not_authorized"), ("nobody@example.com", "not_authorized")]
)
async def test_only_owners_and_admins_invite(world: World, by: str, code: str) -> None:
    """INV-1: no workflow, no e-mail, no seat."""
    assert await refusal_of(world.invite(JANE, by=by)) == code
    assert await world.client.list(world.account, everything=True) == []
    assert world.mails() == []


async def test_a_licensed_invitation_needs_a_free_seat(world: World) -> None:
    """INV-15: without a free seat no workflow starts; every end releases the seat."""
    rows = await world.invite_all("a@x.example", "b@x.example", "c@x.example", licensed=True)
    assert sorted(row.result for row in rows) == ["invited", "invited", "refused"]
    [refused] = [row for row in rows if row.result == "refused"]
    assert (refused.error or {})["code"] == "no_seats"
    [first, _] = [row.email for row in rows if row.result == "invited"]
    await world.client.revoke(world.account, first, ADMIN)
    assert (await world.invite("d@x.example", License.LICENSED)).result == "invited"
    assert await world.audit() == ()


async def test_a_target_that_stopped_paying_accepts_no_member(world: World) -> None:
    """INV-12: checked again at acceptance; the invitation stays valid."""
    await world.pending(JANE)
    await world.imported(world.account, suspended=True)
    assert await refusal_of(world.client.accept(world.account, JANE)) == "target_not_paid"
    await world.imported(world.account, suspended=False)
    assert (await world.client.accept(world.account, JANE)).state.accepted


async def test_the_owner_of_a_free_account_joins_and_the_account_closes(world: World) -> None:
    """SRC-2: the account has no users and is closed."""
    await world.imported("solo", plan="free", users=[(JANE, "owner")])
    await world.pending(JANE)
    await world.client.accept(world.account, JANE)
    [solo] = (await world.export("solo")).accounts
    assert (solo.state, solo.users) == ("closed", ())
    assert await world.audit() == ()


async def test_a_member_of_a_free_account_leaves_it_open(world: World) -> None:
    """SRC-3: the others stay, the account stays open."""
    await world.imported("club", plan="free", users=[("o@c.example", "owner"), (JANE, "member")])
    await world.pending(JANE)
    await world.client.accept(world.account, JANE)
    [club] = (await world.export("club")).accounts
    assert (club.state, [user.email for user in club.users]) == ("open", ["o@c.example"])


async def test_the_owner_of_a_paid_account_without_value_needs_no_choice(
    world: World,
) -> None:
    """QUO-4: without a subscription a given choice is ignored."""
    await world.imported("firm", plan="pro", users=[(JANE, "owner")])
    await world.pending(JANE)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert (accepted.choice, accepted.settlement) == (None, None)
    assert await world.audit() == ()


async def test_an_owner_with_other_users_is_blocked(world: World) -> None:
    """BLK-1, BLK-4: every blocker is listed, and the state is `blocked`."""
    await world.imported("club", plan="free", users=[(JANE, "owner"), ("bob@c.example", "member")])
    await world.pending(JANE)
    assert await refusal_of(world.client.accept(world.account, JANE)) == "blocked"
    blocked = await world.show(JANE)
    assert blocked.state is InvitationState.BLOCKED
    [blocker] = blocked.blockers
    assert (blocker.code, [item.id for item in blocker.items]) == ("1009", ["bob@c.example"])
    assert (await world.client.decline(world.account, JANE)).blockers == ()


async def test_the_inviters_removal_does_not_stop_the_invitation(world: World) -> None:
    """INV-12: the journal notes it."""
    await world.pending(JANE)
    await world.imported(world.account, users=[(ADMIN, "member")])
    accepted = await world.client.accept(world.account, JANE)
    assert "no longer" in str([entry.note for entry in accepted.journal])


async def test_the_link_is_for_the_invited_address(world: World) -> None:
    """INV-13: another address does not use it up; a forged link is not found."""
    pending = await world.pending(JANE)
    assert pending.link is not None
    other = world.client.accept_link(pending.link, "eve@example.com")
    assert await refusal_of(other) == "recipient_mismatch"
    forged = world.client.accept_link(pending.link[:-2] + "AA", JANE)
    assert await refusal_of(forged) == "not_found"
    assert (await world.client.accept_link(pending.link, " Jane@Example.com")).state.accepted


async def test_a_licensed_person_invited_as_basic_sees_what_they_lose(world: World) -> None:
    """INV-16: before accepting, in the preview and in the e-mail."""
    await world.imported("firm", plan="pro", users=[(JANE, "owner", True)])
    await world.pending(JANE)
    preview = await world.client.preview(world.account, JANE)
    assert "cloud_recording" in [loss.item for loss in preview.loses]
    [mail] = world.mails(to=JANE)
    assert "40" in mail.text


async def test_an_ended_invitation_answers_after_temporals_retention(world: World) -> None:
    """INV-7: the answer comes from the store."""
    pending = await world.pending(JANE)
    await world.client.accept(world.account, JANE)
    closed = await world.until(JANE, "completed")
    await world.forget(JANE)
    assert await world.show(JANE) == closed
    assert (await world.client.accept(world.account, JANE)).run_id == pending.run_id
    assert pending.link is not None
    assert (await world.client.accept_link(pending.link, JANE)).state.accepted
    assert await refusal_of(world.client.revoke(world.account, JANE, ADMIN)) == "already_accepted"


async def test_the_list_shows_live_invitations(world: World) -> None:
    """INV-5: with state and deadline; ended ones only on request."""
    await world.pending(JANE)
    await world.pending("joe@example.com")
    await world.client.decline(world.account, "joe@example.com")
    [live] = await world.client.list(world.account)
    assert live == (await world.show(JANE)).model_copy(update={"link": None})
    everything = await world.client.list(world.account, everything=True)
    assert {invitation.state.value for invitation in everything} == {"pending", "declined"}
    [declined] = await world.client.list(world.account, [InvitationState.DECLINED], everything=True)
    assert declined.email == "joe@example.com"


async def test_without_a_worker_the_outcome_is_unknown(
    world_without_worker: World,
) -> None:
    """Temporal is reachable, but no worker answers; repeating the request is safe."""
    world = world_without_worker
    await world.invite(JANE)
    for ask in (
        world.client.accept(world.account, JANE),
        world.client.preview(world.account, JANE),
        world.show(JANE),
    ):
        with pytest.raises(Unavailable) as unavailable:
            await ask
        assert unavailable.value.as_json()["outcome"] == "unknown"


async def test_a_letter_goes_to_the_address_as_it_was_written(world: World) -> None:
    """INV-3: the address is lower-cased for comparison only."""
    await world.invite("Jane.Strauß@Example.com")
    await world.until("jane.strauß@example.com", "pending")
    [mail] = world.mails()
    assert mail.to == "Jane.Strauß@example.com"


async def test_no_address_appears_in_a_failure_that_temporal_shows(world: World) -> None:
    """Failure messages are not encrypted by default, so addresses are masked."""
    await world.pending(JANE)
    await world.imported(world.account, users=[(JANE, "member")])
    assert await refusal_of(world.client.accept(world.account, JANE)) == "already_member"
    assert JANE not in await world.failures(JANE)


async def test_a_blank_reason_is_stored_as_none(world: World) -> None:
    """INV-7."""
    await world.pending(JANE)
    declined = await world.client.decline(world.account, JANE, " ")
    assert declined.journal[-1].note is None


async def test_a_reason_has_at_most_two_thousand_characters(world: World) -> None:
    """INV-7: longer text is refused."""
    await world.pending(JANE)
    declining = world.client.decline(world.account, JANE, "x" * 2_001)
    assert await refusal_of(declining) == "invalid_input"
    declined = await world.client.decline(world.account, JANE, "x" * 2_000)
    assert declined.journal[-1].note == "x" * 2_000


async def test_an_e_mail_is_not_sent_if_the_invitation_ends_first(world: World) -> None:
    """INV-7: the store is checked when the mail server is ready for the letter."""
    world.smtp.answers["RCPT"] = Misbehaviour.HESITATE
    await world.invite(JANE)
    await world.smtp.hesitates_at("RCPT")
    await world.client.revoke(world.account, JANE, ADMIN)
    world.smtp.go_on()
    await world.until(JANE, "revoked")
    # A later letter to another person is delivered.
    await world.pending("sue@solo.example")
    assert world.mails(to=JANE, event="invitation") == []


async def test_a_link_is_given_by_show_and_invite_alone(world: World) -> None:
    """INV-13: an admin who lists the invitations cannot answer for the invitees."""
    invited = await world.invite(JANE)
    assert invited.invitation and invited.invitation.link
    shown = await world.until(JANE, "pending")
    assert shown.link
    listed = await world.client.list(world.account)
    assert [(each.email, each.link) for each in listed] == [(JANE, None)]
    assert (await world.client.recheck(world.account, JANE)).link is None
    assert (await world.client.accept(world.account, JANE)).link is None


async def test_inviting_with_another_license_says_that_the_first_one_is_kept(world: World) -> None:
    """INV-3: the live invitation is returned unchanged, and the row says so."""
    first = await world.invite(JANE)
    again = await world.invite(JANE)
    other = await world.invite(JANE, License.LICENSED)
    assert [row.result for row in (first, again, other)] == [
        "invited",
        "already_invited",
        "already_invited",
    ]
    assert (first.note, again.note, other.error) == (None, None, None)
    assert other.note and other.note.startswith("Invited as basic on ")
    assert "this license is kept" in other.note
    assert other.invitation and other.invitation.license is License.BASIC


async def test_a_refused_answer_says_what_happened_and_when(world: World) -> None:
    """INV-10, QUO-4: the running workflow and the store refuse with the same words."""
    today = day_of(datetime.now(UTC))
    await world.pending(JANE)
    await world.client.decline(world.account, JANE)
    for answer, participle in (
        (world.client.accept(world.account, JANE), "accepted"),
        (world.client.revoke(world.account, JANE, ADMIN), "revoked"),
        (world.client.resend(world.account, JANE, ADMIN), "sent again"),
        (world.client.preview(world.account, JANE), "previewed"),
    ):
        with pytest.raises(Refused) as refused:
            await answer
        assert refused.value.message == f"Declined on {today}; it can no longer be {participle}."
