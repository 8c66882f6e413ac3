"""What the activities of an invitation send, and what they record."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import letter as letters
from activities.invitation import (
    AccountJoined,
    AnnounceInvitation,
    InvitationActivities,
    InvitationAnnounced,
    InvitationPreviewed,
    JoinAccount,
    PreviewInvitation,
    RecordInvitation,
    Standing,
)
from activities.letter import Undeliverable, Wanted
from domain.invitation import Invitation, InvitationState, Invite, License
from domain.journal import ENGINE, JournalEntry
from domain.letter import Letter
from domain.letter.attention import AttentionLetter
from domain.letter.base import Reader
from domain.letter.invitation import HeadsUpLetter, InvitationParties, UnblockedLetter
from domain.manifest import Item, ItemStatus, ManifestItem

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)
INVITE = Invite(
    invitation_id="run-1",
    account="acme",
    key="k",
    email="jane@example.com",
    invited_by="eve@acme.example",
    heads_up_days=3,
)


class RecordingStore:
    """Knows whom an invitation concerns, and keeps what it is told to record."""

    def __init__(self) -> None:
        self.recorded: list[Invitation] = []
        self.kept: Invitation | None = None

    async def record(self, invitation_id: str, invitation: Invitation) -> None:
        assert invitation_id == INVITE.invitation_id
        self.recorded.append(invitation)

    async def parties(self, invite: Invite) -> InvitationParties:
        return InvitationParties(
            account_name="Acme",
            inviter=Reader(email=invite.invited_by, name="Eve"),
            invitee=Reader(email=invite.email),
        )

    async def join(self, order: JoinAccount) -> AccountJoined:
        assert self.kept is not None
        return AccountJoined(invitation=self.kept)

    async def standing(self, invite: Invite) -> Standing:
        assert self.kept is not None
        return Standing(invitation=self.kept)

    async def end(self, invitation_id: str, invitation: Invitation) -> Invitation:
        unasked()

    async def preview(self, order: PreviewInvitation) -> InvitationPreviewed:
        unasked()

    async def stands_as(self, invitation_id: str, invitation: Invitation) -> bool:
        unasked()

    async def overtaken(self, invitation_id: str, invitation: Invitation) -> bool:
        return False

    async def authorize(self, account: str, admin: str) -> None:
        unasked()


def unasked() -> NoReturn:
    raise AssertionError("nobody asked for that")


class Outbox:
    """A mail server that takes everything, or fails in one way."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.sent: list[Letter] = []

    async def send(self, letter: Letter, wanted: Wanted | None = None) -> None:
        if self.failure:
            raise self.failure
        self.sent.append(letter)


class NumberedLinks:
    def link(self, invitation_id: str, number: int) -> str:
        return f"https://seatflow.example/i/{invitation_id}.{number}"


class Desk:
    """The activities, with what they send and record."""

    def __init__(
        self,
        failure: Exception | None = None,
        operators: str | None = None,
        *,
        tells_at_once: bool = True,
    ) -> None:
        self.store, self.outbox = RecordingStore(), Outbox(failure)
        self.activities = InvitationActivities(
            store=self.store,
            post=self.outbox,
            links=NumberedLinks(),
            operators=operators,
            tells_at_once=tells_at_once,
        )

    def use(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.activities = replace(self.activities, post=outbox)

    async def join(self, kept: Invitation) -> AccountJoined:
        self.store.kept = kept
        order = JoinAccount(invite=INVITE, invitation=kept, choice=None)
        return await ActivityEnvironment().run(self.activities.join_account, order)

    async def announce(self, invitation: Invitation) -> InvitationAnnounced:
        order = AnnounceInvitation(invite=INVITE, invitation=invitation, at=NOW)
        return await ActivityEnvironment().run(self.activities.announce_invitation, order)

    async def tell(self, invitation: Invitation, *, kept: Invitation | None = None) -> None:
        self.store.kept = kept or invitation
        order = RecordInvitation(invite=INVITE, invitation=invitation)
        await ActivityEnvironment().run(self.activities.tell_about_invitation, order)

    async def close(self, invitation: Invitation) -> None:
        order = RecordInvitation(invite=INVITE, invitation=invitation)
        await ActivityEnvironment().run(self.activities.close_invitation, order)


def an_invitation(state: InvitationState, events: Sequence[str]) -> Invitation:
    return Invitation(
        workflow_id="invitation/acme/k",
        run_id="r",
        account="acme",
        email="jane@example.com",
        state=state,
        license=License.BASIC,
        invited_by="eve@acme.example",
        expires_at=NOW,
        goes_out_at=NOW + timedelta(days=3),
        sent_count=2,
        journal=tuple(
            JournalEntry(at=NOW, event=event, from_state=None, to_state=state, by=ENGINE)
            for event in events
        ),
    )


ANNOUNCED = an_invitation(InvitationState.ANNOUNCED, ["announce"])
UNBLOCKED = an_invitation(InvitationState.PENDING, ["invite", "deliver", "block", "unblock"])
DECLINED = an_invitation(InvitationState.DECLINED, ["invite", "deliver", "decline"])


async def test_a_heads_up_goes_to_the_invitee_and_records_nothing() -> None:
    """INV-17: only a plain notice; the invitation follows."""
    desk = Desk()
    announced = await desk.announce(ANNOUNCED)
    [letter] = desk.outbox.sent
    assert isinstance(letter, HeadsUpLetter)
    assert letter.reader.email == "jane@example.com"
    assert letter.goes_out_at == NOW + timedelta(days=3)
    assert announced.refused is None
    assert desk.store.recorded == []


async def test_a_heads_up_that_is_refused_says_with_which_words() -> None:
    """INV-4, INV-17."""
    desk = Desk(Undeliverable("550 unknown"))
    assert (await desk.announce(ANNOUNCED)).refused == "550 unknown"


async def test_a_heads_up_that_was_not_taken_is_tried_again() -> None:
    """INV-4."""
    with pytest.raises(ApplicationError) as failure:
        await Desk(OSError("down")).announce(ANNOUNCED)
    assert failure.value.type == "mail_not_taken"


async def test_what_is_told_later_is_not_recorded() -> None:
    """It may have gone on while the mail server was down."""
    desk = Desk()
    await desk.tell(DECLINED)
    assert [letter.event for letter in desk.outbox.sent] == ["declined"]
    assert desk.store.recorded == []


async def test_what_is_closed_is_recorded_and_told() -> None:
    desk = Desk()
    await desk.close(DECLINED)
    assert [letter.event for letter in desk.outbox.sent] == ["declined"]
    assert desk.store.recorded == [DECLINED]


async def test_who_is_unblocked_gets_the_last_link() -> None:
    """BLK-4, INV-9: an older one is dead."""
    desk = Desk()
    await desk.tell(UNBLOCKED)
    [letter] = desk.outbox.sent
    assert isinstance(letter, UnblockedLetter)
    assert letter.link == "https://seatflow.example/i/run-1.2"


async def test_who_has_gone_on_is_not_told_to_accept() -> None:
    """BLK-4: a mail server that was down must not send old news after the welcome."""
    desk = Desk()
    events = [entry.event for entry in UNBLOCKED.journal]
    await desk.tell(UNBLOCKED, kept=an_invitation(InvitationState.ACCEPTED, [*events, "accept"]))
    assert desk.outbox.sent == []


async def test_a_letter_that_nobody_takes_holds_nothing_up() -> None:
    await Desk(Undeliverable("550 unknown")).tell(DECLINED)


@pytest.mark.parametrize("operators", ["ops@example.com", None])
async def test_operators_are_told_of_what_was_not_moved(operators: str | None) -> None:
    """TRF-1: once, where they have an address."""
    desk = Desk(operators=operators)
    completed = an_invitation(InvitationState.ACCEPTED, ["accept"]).model_copy(
        update={
            "state": InvitationState.COMPLETED,
            "manifest": (ManifestItem(item=Item.RECORDINGS, count=3, status=ItemStatus.FAILED),),
        }
    )
    await desk.close(completed)
    told = [letter for letter in desk.outbox.sent if isinstance(letter, AttentionLetter)]
    assert [letter.reader.email for letter in told] == ([operators] if operators else [])
    assert all("recordings (3)" in letter.case.message for letter in told)


COMPLETED = an_invitation(InvitationState.COMPLETED, ["invite", "deliver", "accept", "complete"])


@pytest.mark.parametrize(
    ("kept", "told"),
    [(COMPLETED, True), (an_invitation(InvitationState.ACCEPTED, ["accept"]), False)],
)
async def test_who_has_nothing_left_to_do_is_told_at_once(kept: Invitation, told: bool) -> None:
    """Everybody else is told when the move and the settlement have been done, or take long."""
    desk = Desk()
    assert (await desk.join(kept)).told is told
    assert bool(desk.outbox.sent) is told


@pytest.mark.parametrize("failure", [OSError("down"), TimeoutError()])
async def test_a_mail_server_that_is_down_holds_up_no_acceptance(failure: Exception) -> None:
    joined = await Desk(failure).join(COMPLETED)
    assert (joined.invitation, joined.told) == (COMPLETED, False)


async def test_where_the_mail_server_has_a_pace_nothing_goes_out_beside_it() -> None:
    """REM-3: only the queue can keep it."""
    desk = Desk(tells_at_once=False)
    assert not (await desk.join(COMPLETED)).told
    assert desk.outbox.sent == []


async def test_a_slow_mail_server_is_left_to_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """But a letter that is being handed over is not broken off."""
    monkeypatch.setattr(letters, "AT_ONCE", timedelta(milliseconds=50))

    class Slow(Outbox):
        """Slow to greet, or to take what it has got."""

        def __init__(self, *, to_greet: float = 0, to_take: float = 0) -> None:
            super().__init__()
            self.to_greet, self.to_take = to_greet, to_take

        async def send(self, letter: Letter, wanted: Wanted | None = None) -> None:
            await asyncio.sleep(self.to_greet)
            assert wanted is not None
            assert await wanted()
            await asyncio.sleep(self.to_take)
            await super().send(letter)

    desk = Desk()
    desk.use(Slow(to_greet=5))
    assert not (await desk.join(COMPLETED)).told
    desk.use(Slow(to_take=0.1))
    assert (await desk.join(COMPLETED)).told
