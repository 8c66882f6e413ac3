"""Letters about invitations: readers and facts of each transition (INV, TRF)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from domain.account import HeldAddon
from domain.invitation import Blocker, BlockerItem, Invitation, InvitationState, Invite, License
from domain.journal import ENGINE, JournalEntry
from domain.letter import Letter
from domain.letter.base import Contact, Reader
from domain.letter.invitation import (
    LISTED_CHANGES,
    AcceptedLetter,
    BlockedLetter,
    HeadsUpLetter,
    InvitationParties,
    LicensesLeftLetter,
    MovedLetter,
    RevokedLetter,
    SupersededLetter,
    UnblockedLetter,
    WelcomeLetter,
    heads_up_letter,
    invitation_letter,
    invitation_letters,
    moved_letters,
)
from domain.manifest import Change, Item, ItemStatus, Manifest, ManifestItem
from domain.preview import Notice

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)
LINK = "https://seatflow.example/i/token"
JANE = Reader(email="jane@example.com", name="Jane")
EVE = Reader(email="eve@acme.example", name="Eve")
INVITEE = Contact(email="jane@example.com")
ROOM = Blocker.of(
    [BlockerItem(kind="room", id="attic")],
    code="1009",
    message="Your account still has other users or rooms.",
    remedy="Delete them.",
    cleared_by="owner of the source account",
)
NEW_LINK = Change(name="m-1", old=None, new="https://acme.meet.example/j/m-1")
NEW_WEBINAR_LINK = Change(name="w-1", old=None, new="https://acme.meet.example/j/w-1")
LOCKED = Change(name="waiting_room", old=False, new=True, locked_by="acme")
MOVED, FAILED = ItemStatus.MOVED, ItemStatus.FAILED


def an_invite(*, managed: bool = False) -> Invite:
    return Invite(
        invitation_id="run-1",
        account="acme",
        key="k",
        email="jane@example.com",
        invited_by="eve@acme.example",
        managed=managed,
    )


def an_invitation(
    state: InvitationState,
    *events: str,
    manifest: Manifest = (),
    blockers: tuple[Blocker, ...] = (),
    expires_at: datetime | None = NOW,
) -> Invitation:
    """Return an invitation in `state` whose journal has `events`."""
    return Invitation(
        workflow_id="invitation/acme/k",
        run_id="r",
        account="acme",
        email="jane@example.com",
        state=state,
        license=License.BASIC,
        invited_by="eve@acme.example",
        expires_at=expires_at,
        blockers=blockers,
        manifest=manifest,
        journal=tuple(
            JournalEntry(at=NOW, event=event, from_state=None, to_state=state, by=ENGINE)
            for event in ("invite", *events)
        ),
    )


def parties(
    *,
    stays: tuple[Notice, ...] = (),
    licenses_left: tuple[HeldAddon, ...] = (),
    admins: tuple[Reader, ...] = (),
    changes: Mapping[Item, tuple[Change, ...]] | None = None,
) -> InvitationParties:
    return InvitationParties(
        account="acme",
        account_name="Acme",
        inviter=EVE,
        invitee=JANE,
        stays=stays,
        licenses_left=licenses_left,
        admins=admins,
        changes=changes or {},
    )


def letters_of(
    invitation: Invitation, concerned: InvitationParties | None = None
) -> tuple[Letter, ...]:
    return tuple(invitation_letters(an_invite(), invitation, concerned or parties()))


def an_accepted(*items: ManifestItem) -> Invitation:
    return an_invitation(InvitationState.COMPLETED, "deliver", "accept", manifest=items)


def letters_of_move(*items: ManifestItem) -> list[MovedLetter]:
    """Return the letters about the move; the store has the changes of the items."""
    kept = tuple(item.model_copy(update={"changes": ()}) for item in items)
    concerned = parties(changes={item.item: item.changes[:LISTED_CHANGES] for item in items})
    return list(moved_letters("run-1", kept, concerned))


def an_item(
    item: Item, status: ItemStatus = MOVED, changes: tuple[Change, ...] = ()
) -> ManifestItem:
    return ManifestItem(item=item, status=status, count=1, changed=len(changes), changes=changes)


def test_each_change_of_the_blockers_has_its_own_letter() -> None:
    """BLK-4: the e-mail lists all blockers."""
    once = an_invitation(InvitationState.BLOCKED, "deliver", "block", blockers=(ROOM,))
    assert letters_of(once) == (
        BlockedLetter(
            id="blocked.3.run-1",
            reader=JANE,
            account_name="Acme",
            contact=EVE.contact,
            blockers=(ROOM,),
            expires_at=NOW,
        ),
    )
    again = an_invitation(InvitationState.BLOCKED, "deliver", "block", "block", blockers=(ROOM,))
    assert [letter.id for letter in letters_of(again)] == ["blocked.4.run-1"]


def test_a_letter_names_no_deadline_while_it_is_paused() -> None:
    """BLK-5: the time left is unknown to the reader."""
    paused = an_invitation(InvitationState.BLOCKED, "deliver", "block", expires_at=None)
    [letter] = letters_of(paused)
    assert isinstance(letter, BlockedLetter)
    assert letter.expires_at is None


def test_a_license_that_stays_is_listed_once() -> None:
    """TRF-3: an owner holds the license of a subscription that ends with the account."""
    held = Notice(item="large_meeting_license", message="One.", count=1, name="Large Meeting 500")
    line = held.model_copy(update={"item": "addon_subscription", "message": "Two."})
    other = Notice(item="report_data", message="Three.")
    letter = invitation_letter(
        an_invite(), parties(stays=(held, line, other)), number=1, link="", expires_at=NOW
    )
    assert letter.stays == (held, other)


def test_an_unblocked_invitee_is_notified() -> None:
    """BLK-4: the invitee is notified when the last blocker is cleared."""
    unblocked = an_invitation(InvitationState.PENDING, "deliver", "block", "unblock")
    assert letters_of(unblocked) == (
        UnblockedLetter(
            id="unblocked.4.run-1",
            reader=JANE,
            account_name="Acme",
            contact=EVE.contact,
            expires_at=NOW,
        ),
    )


@pytest.mark.parametrize("events", [("deliver",), ("deliver", "block", "unblock", "resend")])
def test_a_delivered_invitation_has_no_further_letter(events: tuple[str, ...]) -> None:
    """INV-4: `pending` needs no letter besides the invitation itself."""
    assert letters_of(an_invitation(InvitationState.PENDING, *events)) == ()


def test_the_inviter_is_notified_of_a_superseded_invitation() -> None:
    """INV-14: another account was first."""
    assert letters_of(an_invitation(InvitationState.SUPERSEDED, "deliver", "supersede")) == (
        SupersededLetter(
            id="superseded.run-1",
            reader=EVE,
            account_name="Acme",
            contact=INVITEE,
            invitee="jane@example.com",
        ),
    )


@pytest.mark.parametrize(("event", "managed"), [("accept", False), ("join", True)])
def test_letters_say_if_the_invitee_joined_without_an_answer(event: str, managed: bool) -> None:
    """INV-18: both are notified afterwards."""
    welcome, accepted = letters_of(an_invitation(InvitationState.COMPLETED, event, "complete"))
    assert isinstance(welcome, WelcomeLetter)
    assert isinstance(accepted, AcceptedLetter)
    assert welcome.managed == accepted.managed == managed


def test_the_invitee_gets_one_letter_with_all_changes_of_the_move() -> None:
    """TRF-1, TRF-2, TRF-5: failed items are in it as well."""
    assert letters_of_move(
        an_item(Item.MEETINGS, changes=(NEW_LINK,)),
        an_item(Item.WEBINARS, changes=(NEW_WEBINAR_LINK,)),
        an_item(Item.CONTACTS, FAILED),
        an_item(Item.SETTINGS, changes=(LOCKED,)),
    ) == [
        MovedLetter(
            id="moved.1.run-1",
            reader=JANE,
            account_name="Acme",
            contact=EVE.contact,
            links=(NEW_LINK, NEW_WEBINAR_LINK),
            settings=(LOCKED,),
            failed=(Item.CONTACTS,),
        )
    ]


def test_a_letter_lists_200_links_and_counts_the_others() -> None:
    """TRF-5, OPS-7: those of meetings and webinars together."""
    links = tuple(Change(name=str(id), old=None, new=f"https://x/j/{id}") for id in range(20_000))
    [letter] = letters_of_move(
        an_item(Item.MEETINGS, changes=links), an_item(Item.WEBINARS, changes=links[:100])
    )
    assert letter.links == links[:200]
    assert letter.more_links == 19_900


def test_a_move_without_changes_has_no_letter() -> None:
    """TRF-5: only changes and failures require one."""
    assert letters_of_move(an_item(Item.MEETINGS), an_item(Item.CONTACTS)) == []
    assert letters_of_move() == []


def test_a_retried_move_has_its_own_letter() -> None:
    """TRF-5: the invitee gets every new link."""
    [first] = letters_of_move(an_item(Item.MEETINGS, FAILED), an_item(Item.CONTACTS, FAILED))
    [second] = letters_of_move(
        an_item(Item.MEETINGS, changes=(NEW_LINK,)), an_item(Item.CONTACTS, FAILED)
    )
    assert first.id != second.id
    assert second.links == (NEW_LINK,)


def test_every_admin_is_notified_of_licenses_that_did_not_move() -> None:
    """TRF-3: the admins must assign new ones."""
    left, boss = (HeldAddon(capacity=500),), Reader(email="boss@acme.example")
    letters = letters_of(an_accepted(), parties(licenses_left=left, admins=(boss, EVE)))
    assert [letter for letter in letters if isinstance(letter, LicensesLeftLetter)] == [
        LicensesLeftLetter(
            id=f"licenses_left.{number}.run-1",
            reader=admin,
            account_name="Acme",
            contact=INVITEE,
            account="acme",
            invitee="jane@example.com",
            licenses=left,
        )
        for number, admin in [(1, boss), (2, EVE)]
    ]


def test_a_letter_to_an_admin_names_the_invitee_or_another_admin() -> None:
    """TXT-4: the invitee who joined or declined, else somebody who is not the reader."""
    boss = Reader(email="boss@acme.example")
    [declined] = letters_of(an_invitation(InvitationState.DECLINED, "deliver", "decline"))
    _, accepted = letters_of(an_invitation(InvitationState.COMPLETED, "accept", "complete"))
    assert declined.contact == accepted.contact == INVITEE
    for state in (InvitationState.EXPIRED, InvitationState.UNDELIVERABLE):
        unanswered = an_invitation(state, "deliver", state)
        [asks_boss] = letters_of(unanswered, parties(admins=(EVE, boss)))
        assert asks_boss.contact == boss.contact
        [asks_nobody] = letters_of(unanswered, parties(admins=(EVE,)))
        assert asks_nobody.contact is None


def test_admins_get_no_letter_when_no_license_was_lost() -> None:
    """TRF-3: there is nothing to assign."""
    letters = letters_of(an_accepted(), parties(admins=(EVE,)))
    assert not [letter for letter in letters if isinstance(letter, LicensesLeftLetter)]


@pytest.mark.parametrize("managed", [False, True])
def test_a_heads_up_names_the_inviter_and_the_date(managed: bool) -> None:
    """INV-17, INV-18: it says if the person may join without an answer."""
    goes_out_at = NOW + timedelta(days=3)
    assert heads_up_letter(an_invite(managed=managed), parties(), goes_out_at) == HeadsUpLetter(
        id="heads_up.run-1",
        reader=JANE,
        account_name="Acme",
        contact=EVE.contact,
        inviter="Eve",
        goes_out_at=goes_out_at,
        managed=managed,
    )


def test_an_invitation_letter_lists_what_does_not_move() -> None:
    """TRF-3: the invitee knows it before accepting."""
    stays = (Notice(item="report_data", message="Your reports."),)
    letter = invitation_letter(
        an_invite(), parties(stays=stays), number=1, link=LINK, expires_at=NOW
    )
    assert letter.stays == stays


@pytest.mark.parametrize(
    "state", [state for state in InvitationState if state.final and not state.accepted]
)
def test_the_inviter_is_notified_of_every_end_but_a_revocation(state: InvitationState) -> None:
    """INV-4, INV-6, INV-7, INV-14: the account decides a revocation, the invitee reads of it."""
    letters = letters_of(an_invitation(state, "deliver", "end"))
    readers = [letter.reader for letter in letters]
    assert readers == ([JANE] if state is InvitationState.REVOKED else [EVE])


def test_an_invitee_without_an_invitation_e_mail_is_not_notified_of_its_revocation() -> None:
    """INV-7: it may have been revoked before its delivery."""
    assert letters_of(an_invitation(InvitationState.REVOKED, "revoke")) == ()


def test_an_invitee_with_a_heads_up_is_notified_of_a_revocation() -> None:
    """INV-7, INV-17: the invitation that was announced is not sent."""
    announced = an_invite().model_copy(update={"heads_up_days": 3})
    revoked = an_invitation(InvitationState.REVOKED, "revoke")
    [letter] = invitation_letters(announced, revoked, parties())
    assert isinstance(letter, RevokedLetter)
    assert (letter.reader, letter.invited) == (JANE, False)
