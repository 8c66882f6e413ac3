"""What the store says of waiting invitations, and who may come beside a blocked one."""

from datetime import timedelta

import pytest

from domain.error import ErrorCode, Refused
from domain.invitation import Invitation, InvitationState, Invite
from domain.remedy import Removal
from states.invitation import InvitationMachine
from states.lifecycle import after
from tests.builders.invitation import NOON, ZOE, Town, account, directory, ended, user

RITA, MAX = "rita@rich.example", "max@rich.example"


async def blocked(town: Town, email: str = RITA) -> tuple[Invite, Invitation]:
    """An owner's invitation that was accepted while their account had other users."""
    invite = town.invite(email)
    record = await town.pending(invite)
    found = (await town.store.invitations.standing(invite)).blockers
    record = after(InvitationMachine, record, "block", at=NOON, by="invitee", blockers=found)
    await town.store.invitations.record(invite.invitation_id, record)
    return invite, record


async def code(town: Town, invite: Invite) -> ErrorCode:
    """Why this person cannot be invited."""
    with pytest.raises(Refused) as refused:
        await town.claimed(invite)
    return refused.value.code


async def test_how_an_invitation_stands_is_said_with_every_blocker(town: Town) -> None:
    """BLK-4: the record that is kept, and what is in the way now."""
    invite = town.invite("kim@crowd.example")
    record = await town.pending(invite)
    standing = await town.store.invitations.standing(invite)
    assert standing.invitation.journal == record.journal
    assert [blocker.code for blocker in standing.blockers] == ["1009", "outstanding_invoice"]
    await town.store.remedies.pay_invoice("crowd", "i1", NOON)
    await town.store.remedies.remove_room("crowd", "blue", NOON)
    await town.store.remedies.remove_user("crowd", "lee@crowd.example", Removal.UNLINK, NOON)
    assert (await town.store.invitations.standing(invite)).blockers == ()


@pytest.mark.parametrize("email", ["new@person.example", "lee@crowd.example", "sue@solo.example"])
async def test_nothing_blocks_who_owns_no_account_or_a_clean_one(town: Town, email: str) -> None:
    """SRC-3: blockers concern owners only."""
    invite = town.invite(email)
    await town.pending(invite)
    assert (await town.store.invitations.standing(invite)).blockers == ()


async def test_an_invitation_that_has_ended_without_its_workflow_says_so(town: Town) -> None:
    second = town.invite("new@person.example", into="zeta", by=ZOE)
    await town.pending(second)
    await town.joined(town.invite("new@person.example"))
    standing = await town.store.invitations.standing(second)
    assert standing.invitation.state is InvitationState.SUPERSEDED


async def test_an_invitation_that_is_not_kept_is_not_found(town: Town) -> None:
    with pytest.raises(Refused) as refused:
        await town.store.invitations.standing(town.invite("new@person.example"))
    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_a_member_of_a_paid_account_comes_beside_its_blocked_owner(town: Town) -> None:
    """BLK-6, SRC-4: and when the last of them has gone, the owner is free."""
    owner, record = await blocked(town)
    assert await town.store.invitations.invited_with_owner(owner.invitation_id) == [MAX]
    await town.joined(town.invite(MAX, owner_invitation_id=owner.invitation_id))
    assert [told.workflow_id for told in await town.announced()] == [owner.workflow_id]
    assert (await town.store.invitations.standing(owner)).blockers == ()
    assert (await town.join(owner, record)).state.accepted
    assert await town.users("rich") == set()
    assert (await town.store.audit()).violations == ()


async def test_a_member_who_joined_by_invitation_comes_beside_all_the_same(town: Town) -> None:
    await town.joined(town.invite("new@person.example", into="rich", by=RITA))
    owner, _ = await blocked(town)
    invitees = await town.store.invitations.invited_with_owner(owner.invitation_id)
    assert invitees == [MAX, "new@person.example"]
    kept = await town.joined(
        town.invite("new@person.example", owner_invitation_id=owner.invitation_id)
    )
    assert kept.state.accepted


async def test_nobody_comes_beside_an_owner_who_is_not_blocked(town: Town) -> None:
    invite = town.invite(RITA)
    await town.pending(invite)
    with pytest.raises(Refused) as refused:
        await town.store.invitations.invited_with_owner(invite.invitation_id)
    assert refused.value.code is ErrorCode.CONFLICT
    assert (
        await code(town, town.invite(MAX, owner_invitation_id=invite.invitation_id))
        is ErrorCode.CONFLICT
    )


async def test_who_was_invited_beside_already_is_given_that_invitation(town: Town) -> None:
    """INV-3: also when the owner is no longer blocked."""
    owner, record = await blocked(town)
    first = town.invite(MAX, owner_invitation_id=owner.invitation_id)
    await town.pending(first)
    freed = after(InvitationMachine, record, "unblock", at=NOON, by="seatflow")
    await town.store.invitations.record(owner.invitation_id, freed)
    again = town.invite(MAX, owner_invitation_id=owner.invitation_id)
    standing = await town.store.invitations.claim(again, record, NOON)
    assert standing
    assert standing.invitation_id == first.invitation_id


async def test_only_the_users_of_that_owner_come_beside_and_into_that_account(town: Town) -> None:
    """SRC-4: no account draws people out of another."""
    owner, _ = await blocked(town)
    await town.store.directory.import_(
        directory(account("third", user("tom@third.example"), plan="pro"))
    )
    stranger = town.invite("tom@third.example", owner_invitation_id=owner.invitation_id)
    assert await code(town, stranger) is ErrorCode.BELONGS_TO_OTHER_ACCOUNT
    elsewhere = town.invite(MAX, into="zeta", by=ZOE, owner_invitation_id=owner.invitation_id)
    assert await code(town, elsewhere) is ErrorCode.BELONGS_TO_OTHER_ACCOUNT
    unknown = town.invite(MAX, owner_invitation_id="nothing")
    assert await code(town, unknown) is ErrorCode.BELONGS_TO_OTHER_ACCOUNT


async def test_once_the_owner_stays_their_users_stay(town: Town) -> None:
    """BLK-6: looked at again when it counts."""
    owner, record = await blocked(town)
    beside = town.invite(MAX, owner_invitation_id=owner.invitation_id)
    pending = await town.pending(beside)
    await town.store.invitations.end(owner.invitation_id, ended(record))
    with pytest.raises(Refused) as refused:
        await town.join(beside, pending)
    assert refused.value.code is ErrorCode.BELONGS_TO_OTHER_ACCOUNT


async def managing(town: Town, *domains: str) -> None:
    acme = account("acme", plan="business", managed_domains=domains)
    await town.store.directory.import_(directory(acme))


async def unasked(town: Town, email: str) -> Invitation:
    """What comes of an invitation whose person is not asked."""
    invite = town.invite(email)
    record = await town.claimed(invite)
    joining = after(
        InvitationMachine, record, "join", at=NOON + timedelta(seconds=1), by="seatflow"
    )
    return await town.joined_unasked(invite, joining)


@pytest.mark.parametrize("email", ["new@person.example", "sue@solo.example"])
async def test_who_has_a_managed_address_joins_unasked(town: Town, email: str) -> None:
    """INV-18: without an account, or with a free one alone."""
    await managing(town, "PERSON.example", "solo.example")
    assert (await unasked(town, email)).state.accepted
    assert email in await town.users("acme")
    assert (await town.store.audit()).violations == ()


@pytest.mark.parametrize(
    "email",
    ["new@sub.person.example", "kim@crowd.example", "lee@crowd.example", ZOE, "new@other.example"],
)
async def test_all_others_are_asked(town: Town, email: str) -> None:
    """INV-18: not managed, with others on their account, a plain member, a paid account."""
    await managing(town, "person.example", "crowd.example", "zeta.example")
    with pytest.raises(Refused) as refused:
        await unasked(town, email)
    assert refused.value.code is ErrorCode.CONFLICT
    assert email not in await town.users("acme")


async def test_a_domain_that_is_no_longer_managed_lets_nobody_in(town: Town) -> None:
    await managing(town, "person.example")
    await managing(town)
    with pytest.raises(Refused) as refused:
        await unasked(town, "new@person.example")
    assert refused.value.code is ErrorCode.CONFLICT


async def test_an_inviter_is_told_which_domains_are_managed(town: Town) -> None:
    await managing(town, "Person.example", "müller.example")
    managed = await town.store.invitations.authorize_inviter("acme", "adam@acme.example")
    assert managed == ("person.example", "xn--mller-kva.example")
