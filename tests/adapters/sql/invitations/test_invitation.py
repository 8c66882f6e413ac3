"""Invitations in the store: claimed once, recorded, ended once and listed."""

from datetime import timedelta

import pytest

from adapters.sql.database.transaction import writing
from adapters.sql.membership import current_membership
from domain.error import ErrorCode, Refused
from domain.invitation import InvitationState, License
from domain.journal import day_of
from domain.letter.base import Reader
from domain.preview import BASE_LICENSE_FEATURES
from states.invitation import InvitationMachine, initial_record
from states.lifecycle import after
from tests.builders.account import ADMIN, NOON, OWNER, account, directory
from tests.builders.invitation import StoreScenario, delivered, ended
from tests.builders.refund import PAULA, accept_as_owner

HOUR = timedelta(hours=1)


async def refusal_of_a_claim(scenario: StoreScenario, email: str, **more: str) -> Refused:
    license = License(more.pop("license", License.BASIC))
    with pytest.raises(Refused) as refused:
        await scenario.claim(scenario.new_invite(email, license=license, **more))
    return refused.value


@pytest.mark.parametrize(
    ("email", "more", "code"),
    [
        ("new@person.example", {"into": "nobody"}, ErrorCode.NOT_FOUND),
        ("new@person.example", {"by": "stranger@acme.example"}, ErrorCode.NOT_AUTHORIZED),
        ("new@person.example", {"by": "zoe@zeta.example"}, ErrorCode.NOT_AUTHORIZED),
        (
            "new@person.example",
            {"into": "solo", "by": "sue@solo.example"},
            ErrorCode.TARGET_NOT_PAID,
        ),
        (OWNER, {}, ErrorCode.ALREADY_MEMBER),
        ("max@rich.example", {}, ErrorCode.BELONGS_TO_OTHER_ACCOUNT),
    ],
)
async def test_a_claim_is_refused_with_its_code(
    scenario: StoreScenario, email: str, more: dict[str, str], code: ErrorCode
) -> None:
    """INV-1, INV-3, SRC-4: each cause has its code."""
    assert (await refusal_of_a_claim(scenario, email, **more)).code is code
    assert await scenario.store.invitations.latest("acme", email) is None


async def test_the_refusal_of_a_member_says_since_when(scenario: StoreScenario) -> None:
    """INV-3: the day of joining; nobody knows that of an imported membership."""
    invite = scenario.new_invite("new@person.example")
    await scenario.send_and_accept(invite)
    joined = await refusal_of_a_claim(scenario, invite.email)
    assert joined.message == f"new@person.example is on acme since {day_of(NOON + HOUR)}."
    imported = await refusal_of_a_claim(scenario, OWNER)
    assert imported.message == f"{OWNER} is on acme already."


async def test_a_suspended_account_invites_nobody(scenario: StoreScenario) -> None:
    """INV-1: neither the claim nor the check before it succeeds."""
    await scenario.store.directory.import_(
        directory(account("acme", plan="business", suspended=True))
    )
    refused = await refusal_of_a_claim(scenario, "new@person.example")
    assert refused.code is ErrorCode.TARGET_NOT_PAID
    with pytest.raises(Refused) as caught:
        await scenario.store.invitations.authorize_inviter("acme", ADMIN)
    assert caught.value.code is ErrorCode.TARGET_NOT_PAID
    await scenario.store.invitations.authorize("acme", ADMIN)


@pytest.mark.parametrize(
    "email",
    ["new@person.example", "sue@solo.example", "rita@rich.example", "lee@crowd.example"],
)
async def test_every_invitable_person_can_be_claimed(scenario: StoreScenario, email: str) -> None:
    """SRC-1: no account, an owner of a free or paid account, a member of a free one."""
    record = await scenario.claim(scenario.new_invite(email))
    found = await scenario.store.invitations.latest("acme", email)
    assert found
    assert (found.invitation, found.started) == (record, False)


@pytest.mark.parametrize("key", ["key-of-new@person.example", "under another id key"])
async def test_a_second_claim_of_the_same_person_returns_the_first(
    scenario: StoreScenario, key: str
) -> None:
    """INV-3: one live row for each account and person, also after a lost id key was replaced."""
    first = scenario.new_invite("new@person.example")
    second = scenario.new_invite("new@person.example").model_copy(update={"key": key})
    await scenario.send(first)
    stored_claim = await scenario.store.invitations.claim(
        second, initial_record(second, run_id="", at=NOON), NOON
    )
    assert stored_claim
    assert stored_claim.invitation_id == first.invitation_id
    assert stored_claim.invitation.state is InvitationState.PENDING
    assert await scenario.store.invitations.by_id(second.invitation_id) is None


async def test_licensed_claims_reserve_seats_until_none_is_free(
    scenario: StoreScenario,
) -> None:
    """INV-15: of 6 licenses 1 is assigned: five seats."""
    for number in range(5):
        await scenario.claim(
            scenario.new_invite(f"p{number}@person.example", license=License.LICENSED)
        )
    refused = await refusal_of_a_claim(scenario, "p5@person.example", license="licensed")
    assert refused.code is ErrorCode.NO_SEATS
    await scenario.claim(scenario.new_invite("p5@person.example"))
    assert (await scenario.store.audit()).violations == ()


@pytest.mark.parametrize("event", ["decline", "revoke", "expire", "bounce"])
async def test_every_end_releases_the_seat(scenario: StoreScenario, event: str) -> None:
    """INV-7, INV-15: seat and end in one transaction, once."""
    await scenario.store.directory.import_(directory(account("acme", plan="business", licenses=2)))
    invite = scenario.new_invite("new@person.example", license=License.LICENSED)
    end = ended(await scenario.send(invite), event)
    for _ in range(2):
        kept = await scenario.store.invitations.end(invite.invitation_id, end)
        assert kept.invitation.state is end.state
    await scenario.claim(scenario.new_invite("other@person.example", license=License.LICENSED))
    assert (await scenario.store.audit()).violations == ()


async def test_the_first_end_is_kept(scenario: StoreScenario) -> None:
    """INV-10: revoke and expiry that race have one winner."""
    invite = scenario.new_invite("new@person.example")
    record = await scenario.send(invite)
    await scenario.store.invitations.end(invite.invitation_id, ended(record, "revoke"))
    kept = await scenario.store.invitations.end(invite.invitation_id, ended(record, "expire"))
    assert kept.invitation.state is InvitationState.REVOKED


async def test_after_an_end_the_person_may_be_invited_again(scenario: StoreScenario) -> None:
    """INV-8: in a new row; the old one keeps its end."""
    first, second = (
        scenario.new_invite("new@person.example"),
        scenario.new_invite("new@person.example"),
    )
    await scenario.store.invitations.end(first.invitation_id, ended(await scenario.send(first)))
    await scenario.claim(second, NOON - HOUR)
    latest = await scenario.store.invitations.latest("acme", "new@person.example")
    assert latest
    assert latest.invitation_id == second.invitation_id
    old = await scenario.store.invitations.by_id(first.invitation_id)
    assert old
    assert old.invitation.state is InvitationState.DECLINED


async def test_while_a_settlement_is_open_the_person_is_not_invited_again(
    scenario: StoreScenario,
) -> None:
    """INV-8: `conflict`, which names the earlier invitation."""
    _, joined = await accept_as_owner(scenario)
    record = joined.invitation
    second = scenario.new_invite(PAULA, into="zeta", by="zoe@zeta.example")
    with pytest.raises(Refused, match="another paid account"):
        await scenario.claim(second)
    await _unlink(scenario, PAULA)
    refused = await refusal_of_a_claim(scenario, PAULA)
    assert refused.code is ErrorCode.CONFLICT
    assert refused.details == {"workflow_id": record.workflow_id, "run_id": record.run_id}


async def test_a_claim_whose_workflow_never_started_is_released(scenario: StoreScenario) -> None:
    """INV-15: row and seat are removed."""
    invite = scenario.new_invite("new@person.example", license=License.LICENSED)
    await scenario.claim(invite)
    [unstarted] = await scenario.store.invitations.abandoned_claims(NOON + HOUR)
    assert unstarted.invitation_id == invite.invitation_id
    assert await scenario.store.invitations.abandoned_claims(NOON) == []
    for _ in range(2):
        await scenario.store.invitations.release(invite.invitation_id)
    assert await scenario.store.invitations.by_id(invite.invitation_id) is None
    await scenario.claim(invite)
    assert (await scenario.store.audit()).violations == ()


async def test_a_claim_with_a_started_workflow_is_not_released(scenario: StoreScenario) -> None:
    """INV-15: its seat stays reserved."""
    invite = scenario.new_invite("new@person.example", license=License.LICENSED)
    await scenario.claim(invite)
    await scenario.store.invitations.bind(invite.invitation_id, "run-1")
    await scenario.store.invitations.bind(invite.invitation_id, "run-2")
    await scenario.store.invitations.release(invite.invitation_id)
    found = await scenario.store.invitations.by_id(invite.invitation_id)
    assert found
    assert (found.started, found.invitation.run_id) == (True, "run-1")
    assert await scenario.store.invitations.abandoned_claims(NOON + HOUR) == []


async def test_a_released_claim_cannot_be_bound(scenario: StoreScenario) -> None:
    """INV-15: a workflow that starts too late finds no claim."""
    with pytest.raises(Refused) as refused:
        await scenario.store.invitations.bind("nothing", "run-1")
    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_an_older_record_is_ignored(scenario: StoreScenario) -> None:
    """INV-10: a late write never reverts an invitation."""
    invite = scenario.new_invite("new@person.example")
    opened = await scenario.claim(invite)
    newer = delivered(opened)
    await scenario.store.invitations.record(invite.invitation_id, newer)
    await scenario.store.invitations.record(invite.invitation_id, opened)
    found = await scenario.store.invitations.by_id(invite.invitation_id)
    assert found
    assert found.invitation == newer


async def test_a_recorded_state_can_neither_accept_nor_end(scenario: StoreScenario) -> None:
    """INV-11: never `accepted` without a membership."""
    invite = scenario.new_invite("new@person.example", license=License.LICENSED)
    pending = await scenario.send(invite)
    for event in ("accept", "decline"):
        await scenario.store.invitations.record(invite.invitation_id, ended(pending, event))
    found = await scenario.store.invitations.by_id(invite.invitation_id)
    assert found
    assert found.invitation.state is InvitationState.PENDING


async def test_an_accepted_invitation_is_completed_by_its_record(scenario: StoreScenario) -> None:
    """INV-11: after the acceptance the workflow's record is stored."""
    invite, joined = await accept_as_owner(scenario)
    done = after(InvitationMachine, joined.invitation, "complete", at=NOON, by="seatflow")
    await scenario.store.invitations.record(invite.invitation_id, done)
    assert await scenario.store.invitations.listed("acme", [], None, False) == []
    [kept] = await scenario.store.invitations.listed("acme", [], None, True)
    assert kept.invitation == done


async def test_live_invitations_are_listed_oldest_first(scenario: StoreScenario) -> None:
    """INV-5: ended ones only on request."""
    invites = [scenario.new_invite(f"p{number}@person.example") for number in range(3)]
    records = [await scenario.send(invites[n], NOON + n * HOUR) for n in (2, 0, 1)]
    await scenario.store.invitations.end(invites[1].invitation_id, ended(records[2]))

    async def listed(*states: InvitationState, everything: bool = False) -> list[str]:
        found = await scenario.store.invitations.listed("acme", states, None, everything)
        return [stored.invitation.email[:2] for stored in found]

    # A claim is no invitation until its workflow has started.
    await scenario.claim(scenario.new_invite("p4@person.example"))
    assert await listed() == ["p0", "p2"]
    assert await listed(everything=True) == ["p0", "p1", "p2"]
    assert await listed(InvitationState.DECLINED) == ["p1"]
    with pytest.raises(Refused) as refused:
        await scenario.store.invitations.listed("nobody", [], None, False)
    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_quiet_invitations_had_neither_e_mail_nor_answer_lately(
    scenario: StoreScenario,
) -> None:
    """REM-1: counted from the last e-mail to the invitee or their last answer."""
    quiet, heard = (
        scenario.new_invite("quiet@person.example"),
        scenario.new_invite("heard@person.example"),
    )
    await scenario.send(quiet)
    record = await scenario.send(heard)
    blocked = after(InvitationMachine, record, "block", at=NOON + 2 * HOUR, by="invitee")
    await scenario.store.invitations.record(heard.invitation_id, blocked)
    [found] = await scenario.store.invitations.listed("acme", [], NOON + HOUR, False)
    assert found.invitation.email == "quiet@person.example"


async def test_readers_are_addressed_in_their_own_language_and_zone(
    scenario: StoreScenario,
) -> None:
    """TXT-1: their own locale, else the invitation's, else English."""
    invite = scenario.new_invite("new@person.example", locale="fr", name="Nia")
    await scenario.claim(invite)
    parties = await scenario.store.invitations.parties(invite)
    assert parties.account_name == "Acme"
    assert parties.inviter == Reader(
        email=ADMIN, name="Adam", locale="fr", time_zone="Europe/Berlin"
    )
    assert parties.invitee == Reader(
        email="new@person.example", name="Nia", locale="fr", time_zone="Europe/Berlin"
    )


async def test_the_owner_gets_the_letters_of_an_inviter_who_has_left(
    scenario: StoreScenario,
) -> None:
    """INV-12: removing the inviter does not stop the invitation."""
    invite = scenario.new_invite("sue@solo.example")
    await scenario.claim(invite)
    gone = invite.model_copy(update={"invited_by": "gone@acme.example"})
    parties = await scenario.store.invitations.parties(gone)
    assert (parties.inviter.email, parties.inviter.locale) == (OWNER, "de")
    assert parties.invitee.locale == "en"


async def test_the_letter_about_an_expired_invitation_names_another_admin(
    scenario: StoreScenario,
) -> None:
    """TXT-4: the inviter reads it, and the invitee has not answered."""
    invite = scenario.new_invite("sue@solo.example")
    sent = await scenario.send(invite)
    await scenario.take_letters()
    await scenario.store.invitations.end(invite.invitation_id, ended(sent, "expire"))
    [letter] = await scenario.queued_letters()
    assert (letter.event, letter.reader.email) == ("expired", ADMIN)
    assert letter.contact and letter.contact.email == OWNER


async def test_a_released_claim_has_no_readers(
    scenario: StoreScenario,
) -> None:
    """INV-15: no letter is sent about it."""
    with pytest.raises(Refused) as refused:
        await scenario.store.invitations.parties(scenario.new_invite("new@person.example"))
    assert refused.value.code is ErrorCode.CONFLICT


async def test_a_licensed_person_invited_as_basic_sees_their_losses(
    scenario: StoreScenario,
) -> None:
    """INV-16: cloud recording, long meetings and so on."""
    basic = scenario.new_invite("sue@solo.example")
    await scenario.claim(basic)
    licensed = basic.model_copy(update={"license": License.LICENSED})
    assert (await scenario.store.invitations.parties(basic)).loses == BASE_LICENSE_FEATURES
    assert (await scenario.preview(basic)).preview.loses == BASE_LICENSE_FEATURES
    assert (await scenario.store.invitations.parties(licensed)).loses == ()


async def test_a_preview_names_the_blockers_of_an_owner_only(scenario: StoreScenario) -> None:
    """QUO-8, SRC-3: a plain member of the same account sees none."""

    async def blockers(email: str) -> list[str]:
        previewed = await scenario.preview(scenario.new_invite(email))
        return [blocker.code for blocker in previewed.preview.blockers]

    assert await blockers("kim@crowd.example") == ["1009", "outstanding_invoice"]
    assert await blockers("lee@crowd.example") == []
    assert await blockers("new@person.example") == []


async def _unlink(scenario: StoreScenario, email: str) -> None:
    """End the membership of this person, as unlinking does."""
    async with writing(scenario.engine) as session:
        membership = await current_membership(session, email)
        assert membership
        membership.until, membership.leaving = NOON, "unlink"
