"""The facts of timelines on both databases."""

from datetime import timedelta

from domain.invitation import Choice, License
from domain.invitee_page import InvitationOffer
from domain.timeline import LISTED_EARLIER, Timeline
from tests.builders.account import NOON
from tests.builders.invitation import StoreScenario, ended
from tests.builders.refund import PAULA, accept_as_owner

DEE = "dee@person.example"


async def timeline_of(scenario: StoreScenario, email: str) -> Timeline:
    stored = await scenario.store.invitations.latest("acme", email)
    assert stored
    offer = InvitationOffer(invitation=stored.invitation, at=NOON, from_store=True)
    return await scenario.store.pages.timelines.read(stored, offer, NOON)


async def test_earlier_invitations_of_the_person_are_listed(scenario: StoreScenario) -> None:
    """The newest first, at most `LISTED_EARLIER`, with the number of all."""
    store = scenario.store
    for number in range(LISTED_EARLIER + 1):
        invite = scenario.new_invite(DEE, license=License.LICENSED)
        event = "decline" if number % 2 else "revoke"
        await store.invitations.end(invite.invitation_id, ended(await scenario.send(invite), event))
    invite = scenario.new_invite(DEE, license=License.LICENSED)
    await scenario.send(invite)
    timeline = await timeline_of(scenario, DEE)
    assert timeline.seat_reserved
    assert timeline.invite.invitation_id == invite.invitation_id
    assert timeline.earlier_count == LISTED_EARLIER + 1
    assert len(timeline.earlier) == LISTED_EARLIER
    assert {each.end.to_state for each in timeline.earlier} == {"declined", "revoked"}


async def test_letters_to_the_invitee_are_found_by_their_ids(scenario: StoreScenario) -> None:
    """Those of this invitation alone, the newest first."""
    invite = scenario.new_invite(DEE)
    await scenario.send(invite)
    for number, letter in enumerate(("invitation.1", "accepted", "invitation.9", "heads_up")):
        await scenario.store.letters.record_sent(
            f"{letter}.{invite.invitation_id}", NOON + timedelta(minutes=number)
        )
    await scenario.store.letters.record_sent("invitation.1.another", NOON)
    timeline = await timeline_of(scenario, DEE)
    assert [each.event for each in timeline.letters] == ["heads_up", "invitation"]


async def test_money_is_that_of_the_acceptance(scenario: StoreScenario) -> None:
    """CRD-1, REF-1: a transfer is credited; a refund has its own record."""
    _, joined = await accept_as_owner(scenario, Choice.TRANSFER)
    timeline = await timeline_of(scenario, PAULA)
    settlement = joined.invitation.settlement
    assert settlement
    assert timeline.credited == settlement.amount
    assert timeline.refund is None


async def test_a_refund_is_read_with_its_state(scenario: StoreScenario) -> None:
    """REF-1: the part that was paid from credit is credited, the rest refunded."""
    _, joined = await accept_as_owner(scenario, Choice.REFUND)
    timeline = await timeline_of(scenario, PAULA)
    assert timeline.refund
    assert joined.refund
    assert timeline.refund.refund_id == joined.refund.refund_id
    assert (timeline.credited and timeline.credited.amount) == 10
