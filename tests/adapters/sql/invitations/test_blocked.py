"""Blocked invitations in the store, and the users who may be invited because of them (BLK)."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from adapters.sql.database.schema import MembershipRow, PersonRow
from adapters.sql.database.transaction import chunked, writing
from domain.account import Role
from domain.error import ErrorCode, Refused
from domain.invitation import Invitation, InvitationState, Invite
from domain.remedy import Removal
from states.invitation import InvitationMachine
from states.lifecycle import after
from tests.builders.account import NOON, ZOE, account, directory, user
from tests.builders.invitation import StoreScenario, ended

RITA, MAX = "rita@rich.example", "max@rich.example"


async def blocked(scenario: StoreScenario, email: str = RITA) -> tuple[Invite, Invitation]:
    """Invite an owner and block the invitation; return the invite and the record."""
    invite = scenario.new_invite(email)
    record = await scenario.send(invite)
    found = (await scenario.store.invitations.read(invite)).blockers
    record = after(InvitationMachine, record, "block", at=NOON, by="invitee", blockers=found)
    await scenario.store.invitations.record(invite.invitation_id, record)
    return invite, record


async def code(scenario: StoreScenario, invite: Invite) -> ErrorCode:
    """Return the code with which this person's invitation is refused."""
    with pytest.raises(Refused) as refused:
        await scenario.claim(invite)
    return refused.value.code


async def test_an_invitation_is_read_with_its_current_blockers(scenario: StoreScenario) -> None:
    """BLK-4: the stored record together with all blockers of this moment."""
    invite = scenario.new_invite("kim@crowd.example")
    record = await scenario.send(invite)
    stored = await scenario.store.invitations.read(invite)
    assert stored.invitation.journal == record.journal
    assert [blocker.code for blocker in stored.blockers] == ["1009", "outstanding_invoice"]
    await scenario.pay_invoice("crowd", "i1")
    await scenario.store.remedies.remove_room("crowd", "blue", NOON)
    await scenario.store.remedies.remove_user("crowd", "lee@crowd.example", Removal.UNLINK, NOON)
    assert (await scenario.store.invitations.read(invite)).blockers == ()


@pytest.mark.parametrize("email", ["new@person.example", "lee@crowd.example", "sue@solo.example"])
async def test_a_person_who_owns_no_account_with_other_users_has_no_blockers(
    scenario: StoreScenario, email: str
) -> None:
    """SRC-3: no account, a plain member, and an owner without other users."""
    invite = scenario.new_invite(email)
    await scenario.send(invite)
    assert (await scenario.store.invitations.read(invite)).blockers == ()


async def test_an_invitation_that_ended_in_the_store_is_read_as_ended(
    scenario: StoreScenario,
) -> None:
    """INV-7: the store's end counts before the workflow shows it."""
    second = scenario.new_invite("new@person.example", into="zeta", by=ZOE)
    await scenario.send(second)
    await scenario.send_and_accept(scenario.new_invite("new@person.example"))
    stored = await scenario.store.invitations.read(second)
    assert stored.invitation.state is InvitationState.SUPERSEDED


async def test_an_unknown_invitation_is_not_found(scenario: StoreScenario) -> None:
    """Contract, error codes: `not_found`."""
    with pytest.raises(Refused) as refused:
        await scenario.store.invitations.read(scenario.new_invite("new@person.example"))
    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_a_member_is_invited_because_of_the_blocked_owner(
    scenario: StoreScenario,
) -> None:
    """BLK-6, SRC-4: after the last member has left, nothing blocks the owner."""
    owner, record = await blocked(scenario)
    assert await scenario.store.invitations.invited_with_owner(owner.invitation_id) == [MAX]
    await scenario.send_and_accept(
        scenario.new_invite(MAX, owner_invitation_id=owner.invitation_id)
    )
    assert [signalled.workflow_id for signalled in await scenario.take_signals()] == [
        owner.workflow_id
    ]
    assert (await scenario.store.invitations.read(owner)).blockers == ()
    assert (await scenario.accept(owner, record)).state.accepted
    assert await scenario.users("rich") == set()
    assert (await scenario.store.audit()).violations == ()


async def test_a_member_who_joined_by_invitation_is_invited_as_well(
    scenario: StoreScenario,
) -> None:
    """BLK-6: the origin of the membership does not matter."""
    await scenario.send_and_accept(scenario.new_invite("new@person.example", into="rich", by=RITA))
    owner, _ = await blocked(scenario)
    invitees = await scenario.store.invitations.invited_with_owner(owner.invitation_id)
    assert invitees == [MAX, "new@person.example"]
    kept = await scenario.send_and_accept(
        scenario.new_invite("new@person.example", owner_invitation_id=owner.invitation_id)
    )
    assert kept.state.accepted


async def test_members_are_not_invited_while_the_owner_is_not_blocked(
    scenario: StoreScenario,
) -> None:
    """BLK-6: `conflict`."""
    invite = scenario.new_invite(RITA)
    await scenario.send(invite)
    with pytest.raises(Refused) as refused:
        await scenario.store.invitations.invited_with_owner(invite.invitation_id)
    assert refused.value.code is ErrorCode.CONFLICT
    assert (
        await code(scenario, scenario.new_invite(MAX, owner_invitation_id=invite.invitation_id))
        is ErrorCode.CONFLICT
    )


async def test_a_member_who_is_already_invited_keeps_that_invitation(
    scenario: StoreScenario,
) -> None:
    """INV-3: also when the owner is no longer blocked."""
    owner, record = await blocked(scenario)
    first = scenario.new_invite(MAX, owner_invitation_id=owner.invitation_id)
    await scenario.send(first)
    freed = after(InvitationMachine, record, "unblock", at=NOON, by="seatflow")
    await scenario.store.invitations.record(owner.invitation_id, freed)
    again = scenario.new_invite(MAX, owner_invitation_id=owner.invitation_id)
    stored = await scenario.store.invitations.claim(again, record, NOON)
    assert stored
    assert stored.invitation_id == first.invitation_id


async def test_only_users_of_the_owner_are_invited_and_only_to_the_owner_s_target(
    scenario: StoreScenario,
) -> None:
    """SRC-4, BLK-6: no account takes people from another company."""
    owner, _ = await blocked(scenario)
    users = user("tina@third.example", "owner"), user("tom@third.example")
    await scenario.store.directory.import_(directory(account("third", *users, plan="pro")))
    stranger = scenario.new_invite("tom@third.example", owner_invitation_id=owner.invitation_id)
    assert await code(scenario, stranger) is ErrorCode.BELONGS_TO_OTHER_ACCOUNT
    elsewhere = scenario.new_invite(
        MAX, into="zeta", by=ZOE, owner_invitation_id=owner.invitation_id
    )
    assert await code(scenario, elsewhere) is ErrorCode.BELONGS_TO_OTHER_ACCOUNT
    unknown = scenario.new_invite(MAX, owner_invitation_id="nothing")
    assert await code(scenario, unknown) is ErrorCode.BELONGS_TO_OTHER_ACCOUNT


async def test_a_member_cannot_accept_after_the_owner_s_invitation_has_ended(
    scenario: StoreScenario,
) -> None:
    """BLK-6, SRC-4: checked again at acceptance."""
    owner, record = await blocked(scenario)
    member = scenario.new_invite(MAX, owner_invitation_id=owner.invitation_id)
    pending = await scenario.send(member)
    await scenario.store.invitations.end(owner.invitation_id, ended(record))
    with pytest.raises(Refused) as refused:
        await scenario.accept(member, pending)
    assert refused.value.code is ErrorCode.BELONGS_TO_OTHER_ACCOUNT


async def managing(scenario: StoreScenario, *domains: str) -> None:
    acme = account("acme", plan="business", managed_domains=domains)
    await scenario.store.directory.import_(directory(acme))


async def join_by_managed_domain(scenario: StoreScenario, email: str) -> Invitation:
    """Invite this person; return the record after a join by managed domain, if any."""
    invite = scenario.new_invite(email)
    record = await scenario.claim(invite)
    joining = after(
        InvitationMachine, record, "join", at=NOON + timedelta(seconds=1), by="seatflow"
    )
    return await scenario.join_by_managed_domain(invite, joining)


@pytest.mark.parametrize("email", ["new@person.example", "sue@solo.example"])
async def test_a_person_with_a_managed_address_joins_without_accepting(
    scenario: StoreScenario, email: str
) -> None:
    """INV-18: without an account, or as the only user of a free account."""
    await managing(scenario, "PERSON.example", "solo.example")
    assert (await join_by_managed_domain(scenario, email)).state.accepted
    assert email in await scenario.users("acme")
    assert (await scenario.store.audit()).violations == ()


@pytest.mark.parametrize(
    "email",
    ["new@sub.person.example", "kim@crowd.example", "lee@crowd.example", ZOE, "new@other.example"],
)
async def test_all_other_persons_have_to_accept(scenario: StoreScenario, email: str) -> None:
    """INV-18: not managed, with other users, a plain member, a paid account."""
    await managing(scenario, "person.example", "crowd.example", "zeta.example")
    with pytest.raises(Refused) as refused:
        await join_by_managed_domain(scenario, email)
    assert refused.value.code is ErrorCode.CONFLICT
    assert email not in await scenario.users("acme")


async def test_a_domain_that_is_no_longer_managed_has_no_effect(scenario: StoreScenario) -> None:
    """INV-18: checked again when the person would join."""
    await managing(scenario, "person.example")
    await managing(scenario)
    with pytest.raises(Refused) as refused:
        await join_by_managed_domain(scenario, "new@person.example")
    assert refused.value.code is ErrorCode.CONFLICT


async def test_the_terms_of_an_invitation_list_the_managed_domains(scenario: StoreScenario) -> None:
    """INV-18: domains of the target account only."""
    await managing(scenario, "Person.example", "müller.example")
    managed = await scenario.store.invitations.authorize_inviter("acme", "adam@acme.example")
    assert managed == ("person.example", "xn--mller-kva.example")


async def add_users(scenario: StoreScenario, account: str, emails: Sequence[str]) -> None:
    """Insert plain members into a known account; an import would take much longer."""
    member = {"account_id": account, "role": "member", "origin": "import"}
    async with writing(scenario.engine) as session:
        for some in chunked(emails):
            await session.execute(insert(PersonRow), [{"email": email} for email in some])
            await session.execute(
                insert(MembershipRow), [{**member, "email": email} for email in some]
            )


async def remove_plain_members(scenario: StoreScenario, account: str) -> None:
    plain = (MembershipRow.account_id == account) & (MembershipRow.role == Role.MEMBER)
    async with writing(scenario.engine) as session:
        await session.execute(
            update(MembershipRow).where(plain).values(until=NOON, leaving=Removal.UNLINK)
        )


async def test_an_owner_of_many_users_is_blocked_and_joins_when_they_have_left(
    scenario: StoreScenario,
) -> None:
    """OPS-7: no record, preview, refusal or result grows with the number of users."""
    others = [f"user-{number}@solo.example" for number in range(33_000)]
    await add_users(scenario, "solo", others)
    invite = scenario.new_invite("sue@solo.example")
    record = await scenario.send(invite)
    read = await scenario.store.invitations.read(invite)
    preview = await scenario.preview(invite)
    with pytest.raises(Refused) as refused:
        await scenario.accept(invite, record)
    [found] = read.blockers
    assert (found.count, found.kinds) == (33_000, {"user": 33_000})
    assert [item.id for item in found.items] == others[:50]
    assert preview.preview.blockers == read.blockers
    assert refused.value.details["blockers"] == [found.model_dump(mode="json")]
    assert len(read.model_dump_json()) < 10_000
    assert len(preview.model_dump_json()) < 10_000
    await remove_plain_members(scenario, "solo")
    assert (await scenario.accept(invite, record)).state.accepted
    assert await scenario.users("solo") == set()


async def test_a_change_behind_the_listed_items_changes_the_blocker(
    scenario: StoreScenario,
) -> None:
    """BLK-4, OPS-7: one user who replaces another is a change, too."""
    await add_users(scenario, "solo", [f"user-{number}@solo.example" for number in range(60)])
    invite = scenario.new_invite("sue@solo.example")
    await scenario.send(invite)
    [before] = (await scenario.store.invitations.read(invite)).blockers
    assert (await scenario.store.invitations.read(invite)).blockers == (before,)
    await scenario.store.remedies.remove_user("solo", "user-59@solo.example", Removal.UNLINK, NOON)
    await add_users(scenario, "solo", ["user-60@solo.example"])
    [after] = (await scenario.store.invitations.read(invite)).blockers
    assert (after.count, after.items) == (before.count, before.items)
    assert after != before
