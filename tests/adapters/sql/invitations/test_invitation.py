"""Invitations are claimed once, kept as they stand, and found as they ended."""

from datetime import timedelta

import pytest

from adapters.sql.database.transaction import writing
from adapters.sql.membership import current_membership
from domain.error import ErrorCode, Refused
from domain.invitation import InvitationState, License
from domain.letter.base import Reader
from domain.preview import BASE_LICENSE_FEATURES
from states.invitation import InvitationMachine, initial_record
from states.lifecycle import after
from tests.builders.invitation import (
    ADMIN,
    NOON,
    OWNER,
    Town,
    account,
    delivered,
    directory,
    ended,
)
from tests.builders.refund import PAULA, accepted

HOUR = timedelta(hours=1)


async def refusal_of_a_claim(town: Town, email: str, **more: str) -> Refused:
    license = License(more.pop("license", License.BASIC))
    with pytest.raises(Refused) as refused:
        await town.claimed(town.invite(email, license=license, **more))
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
    town: Town, email: str, more: dict[str, str], code: ErrorCode
) -> None:
    """INV-1, INV-3, SRC-4."""
    assert (await refusal_of_a_claim(town, email, **more)).code is code
    assert await town.store.invitations.latest("acme", email) is None


async def test_a_suspended_account_invites_nobody(town: Town) -> None:
    """INV-1: neither at the claim nor when it is only asked."""
    await town.store.directory.import_(directory(account("acme", plan="business", suspended=True)))
    refused = await refusal_of_a_claim(town, "new@person.example")
    assert refused.code is ErrorCode.TARGET_NOT_PAID
    with pytest.raises(Refused) as asked:
        await town.store.invitations.authorize_inviter("acme", ADMIN)
    assert asked.value.code is ErrorCode.TARGET_NOT_PAID
    await town.store.invitations.authorize("acme", ADMIN)


@pytest.mark.parametrize(
    "email",
    ["new@person.example", "sue@solo.example", "rita@rich.example", "lee@crowd.example"],
)
async def test_whoever_may_come_is_claimed(town: Town, email: str) -> None:
    """SRC-1: nobody's, an owner of a free or paid account, a member of a free one."""
    record = await town.claimed(town.invite(email))
    found = await town.store.invitations.latest("acme", email)
    assert found
    assert (found.invitation, found.started) == (record, False)


async def test_a_second_claim_of_the_same_person_gives_the_first(town: Town) -> None:
    """INV-3: one live row for each account and person."""
    first, second = town.invite("new@person.example"), town.invite("new@person.example")
    await town.pending(first)
    standing = await town.store.invitations.claim(
        second, initial_record(second, run_id="", at=NOON), NOON
    )
    assert standing
    assert standing.invitation_id == first.invitation_id
    assert standing.invitation.state is InvitationState.PENDING
    assert await town.store.invitations.by_id(second.invitation_id) is None


async def test_a_licensed_claim_reserves_a_seat_and_the_last_one_is_refused(town: Town) -> None:
    """INV-15: 6 licenses, 1 assigned: five seats."""
    for number in range(5):
        await town.claimed(town.invite(f"p{number}@person.example", license=License.LICENSED))
    refused = await refusal_of_a_claim(town, "p5@person.example", license="licensed")
    assert refused.code is ErrorCode.NO_SEATS
    await town.claimed(town.invite("p5@person.example"))
    assert (await town.store.audit()).violations == ()


@pytest.mark.parametrize("event", ["decline", "revoke", "expire", "bounce"])
async def test_every_end_gives_the_seat_back(town: Town, event: str) -> None:
    """INV-7, INV-15: seat and end in one transaction, once."""
    await town.store.directory.import_(directory(account("acme", plan="business", licenses=2)))
    invite = town.invite("new@person.example", license=License.LICENSED)
    end = ended(await town.pending(invite), event)
    for _ in range(2):
        kept = await town.store.invitations.end(invite.invitation_id, end)
        assert kept.state is end.state
    await town.claimed(town.invite("other@person.example", license=License.LICENSED))
    assert (await town.store.audit()).violations == ()


async def test_the_first_end_is_the_one_that_is_kept(town: Town) -> None:
    """INV-10: revoke and expiry that race have one winner."""
    invite = town.invite("new@person.example")
    record = await town.pending(invite)
    await town.store.invitations.end(invite.invitation_id, ended(record, "revoke"))
    kept = await town.store.invitations.end(invite.invitation_id, ended(record, "expire"))
    assert kept.state is InvitationState.REVOKED


async def test_after_an_end_the_person_may_be_invited_again(town: Town) -> None:
    """INV-8: a new row; the old one stays as it ended."""
    first, second = town.invite("new@person.example"), town.invite("new@person.example")
    await town.store.invitations.end(first.invitation_id, ended(await town.pending(first)))
    await town.claimed(second, NOON - HOUR)
    latest = await town.store.invitations.latest("acme", "new@person.example")
    assert latest
    assert latest.invitation_id == second.invitation_id
    old = await town.store.invitations.by_id(first.invitation_id)
    assert old
    assert old.invitation.state is InvitationState.DECLINED


async def test_while_a_settlement_is_open_the_person_is_not_invited_again(town: Town) -> None:
    """INV-8: `conflict`, naming the earlier invitation."""
    _, joined = await accepted(town)
    record = joined.invitation
    second = town.invite(PAULA, into="zeta", by="zoe@zeta.example")
    with pytest.raises(Refused, match="another paid account"):
        await town.claimed(second)
    await _unlink(town, PAULA)
    refused = await refusal_of_a_claim(town, PAULA)
    assert refused.code is ErrorCode.CONFLICT
    assert refused.details == {"workflow_id": record.workflow_id, "run_id": record.run_id}


async def test_a_claim_whose_workflow_never_started_is_released(town: Town) -> None:
    """INV-15: with its seat, and without a trace."""
    invite = town.invite("new@person.example", license=License.LICENSED)
    await town.claimed(invite)
    [unstarted] = await town.store.invitations.abandoned_claims(NOON + HOUR)
    assert unstarted.invitation_id == invite.invitation_id
    assert await town.store.invitations.abandoned_claims(NOON) == []
    for _ in range(2):
        await town.store.invitations.release(invite.invitation_id)
    assert await town.store.invitations.by_id(invite.invitation_id) is None
    await town.claimed(invite)
    assert (await town.store.audit()).violations == ()


async def test_a_claim_that_was_bound_is_not_released(town: Town) -> None:
    invite = town.invite("new@person.example", license=License.LICENSED)
    await town.claimed(invite)
    await town.store.invitations.bind(invite.invitation_id, "run-1")
    await town.store.invitations.bind(invite.invitation_id, "run-2")
    await town.store.invitations.release(invite.invitation_id)
    found = await town.store.invitations.by_id(invite.invitation_id)
    assert found
    assert (found.started, found.invitation.run_id) == (True, "run-1")
    assert await town.store.invitations.abandoned_claims(NOON + HOUR) == []


async def test_a_released_claim_cannot_be_bound(town: Town) -> None:
    with pytest.raises(Refused) as refused:
        await town.store.invitations.bind("nothing", "run-1")
    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_an_older_record_is_ignored(town: Town) -> None:
    """INV-10: a late write never takes an invitation back."""
    invite = town.invite("new@person.example")
    opened = await town.claimed(invite)
    newer = delivered(opened)
    await town.store.invitations.record(invite.invitation_id, newer)
    await town.store.invitations.record(invite.invitation_id, opened)
    found = await town.store.invitations.by_id(invite.invitation_id)
    assert found
    assert found.invitation == newer


async def test_a_record_can_neither_accept_nor_end(town: Town) -> None:
    """INV-11: never `accepted` without a membership."""
    invite = town.invite("new@person.example", license=License.LICENSED)
    pending = await town.pending(invite)
    for event in ("accept", "decline"):
        await town.store.invitations.record(invite.invitation_id, ended(pending, event))
    found = await town.store.invitations.by_id(invite.invitation_id)
    assert found
    assert found.invitation.state is InvitationState.PENDING


async def test_an_accepted_invitation_is_completed_by_its_record(town: Town) -> None:
    invite, joined = await accepted(town)
    done = after(InvitationMachine, joined.invitation, "complete", at=NOON, by="seatflow")
    await town.store.invitations.record(invite.invitation_id, done)
    assert await town.store.invitations.listed("acme", [], None, False) == []
    [kept] = await town.store.invitations.listed("acme", [], None, True)
    assert kept.invitation == done


async def test_live_invitations_are_listed_oldest_first(town: Town) -> None:
    """INV-5: the ended ones only when asked for."""
    invites = [town.invite(f"p{number}@person.example") for number in range(3)]
    records = [await town.pending(invites[n], NOON + n * HOUR) for n in (2, 0, 1)]
    await town.store.invitations.end(invites[1].invitation_id, ended(records[2]))

    async def listed(*states: InvitationState, everything: bool = False) -> list[str]:
        found = await town.store.invitations.listed("acme", states, None, everything)
        return [stored.invitation.email[:2] for stored in found]

    # A claim is no invitation until its workflow has started.
    await town.claimed(town.invite("p4@person.example"))
    assert await listed() == ["p0", "p2"]
    assert await listed(everything=True) == ["p0", "p1", "p2"]
    assert await listed(InvitationState.DECLINED) == ["p1"]
    with pytest.raises(Refused) as refused:
        await town.store.invitations.listed("nobody", [], None, False)
    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_quiet_ones_are_those_that_nobody_wrote_to_or_heard_of(town: Town) -> None:
    """REM-1: since the last e-mail to the invitee or their last answer."""
    quiet, heard = town.invite("quiet@person.example"), town.invite("heard@person.example")
    await town.pending(quiet)
    record = await town.pending(heard)
    blocked = after(InvitationMachine, record, "block", at=NOON + 2 * HOUR, by="invitee")
    await town.store.invitations.record(heard.invitation_id, blocked)
    [found] = await town.store.invitations.listed("acme", [], NOON + HOUR, False)
    assert found.invitation.email == "quiet@person.example"


async def test_readers_are_addressed_in_their_own_language_and_zone(town: Town) -> None:
    """TXT-1: their own locale, else the invitation's, else English."""
    invite = town.invite("new@person.example", locale="fr", name="Nia")
    await town.claimed(invite)
    parties = await town.store.invitations.parties(invite)
    assert parties.account_name == "Acme"
    assert parties.inviter == Reader(
        email=ADMIN, name="Adam", locale="fr", time_zone="Europe/Berlin"
    )
    assert parties.invitee == Reader(
        email="new@person.example", name="Nia", locale="fr", time_zone="Europe/Berlin"
    )


async def test_the_owner_reads_for_an_inviter_who_has_gone(town: Town) -> None:
    invite = town.invite("sue@solo.example")
    await town.claimed(invite)
    gone = invite.model_copy(update={"invited_by": "gone@acme.example"})
    parties = await town.store.invitations.parties(gone)
    assert (parties.inviter.email, parties.inviter.locale) == (OWNER, "de")
    assert parties.invitee.locale == "en"


async def test_nobody_is_written_to_about_a_claim_that_was_released(town: Town) -> None:
    with pytest.raises(Refused) as refused:
        await town.store.invitations.parties(town.invite("new@person.example"))
    assert refused.value.code is ErrorCode.CONFLICT


async def test_a_licensed_person_invited_as_basic_is_told_what_they_lose(town: Town) -> None:
    """INV-16."""
    basic = town.invite("sue@solo.example")
    await town.claimed(basic)
    licensed = basic.model_copy(update={"license": License.LICENSED})
    assert (await town.store.invitations.parties(basic)).loses == BASE_LICENSE_FEATURES
    assert (await town.previewed(basic)).preview.loses == BASE_LICENSE_FEATURES
    assert (await town.store.invitations.parties(licensed)).loses == ()


async def test_a_preview_names_the_blockers_of_an_owner_only(town: Town) -> None:
    """QUO-8, SRC-3."""

    async def blockers(email: str) -> list[str]:
        previewed = await town.previewed(town.invite(email))
        return [blocker.code for blocker in previewed.preview.blockers]

    assert await blockers("kim@crowd.example") == ["1009", "outstanding_invoice"]
    assert await blockers("lee@crowd.example") == []
    assert await blockers("new@person.example") == []


async def _unlink(town: Town, email: str) -> None:
    """The person leaves the account, as an admin's unlinking will have it."""
    async with writing(town.engine) as session:
        membership = await current_membership(session, email)
        assert membership
        membership.until, membership.leaving = NOON, "unlink"
