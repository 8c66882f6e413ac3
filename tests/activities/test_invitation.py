"""Tests of the invitation's activities: letters sent and records written."""

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
    InvitationPreviewed,
    InvitationRead,
    JoinAccount,
    NotifyParties,
    PreviewInvitation,
    RecordInvitation,
)
from activities.letter import LetterSent, StillDue, Undeliverable
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
    """A store that returns the parties and keeps the written records."""

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

    async def join(self, request: JoinAccount) -> AccountJoined:
        assert self.kept is not None
        return AccountJoined(invitation=self.kept)

    async def read(self, invite: Invite) -> InvitationRead:
        assert self.kept is not None
        return InvitationRead(invitation=self.kept)

    async def end(self, invitation_id: str, invitation: Invitation) -> Invitation:
        not_used()

    async def preview(self, request: PreviewInvitation) -> InvitationPreviewed:
        not_used()

    async def is_unchanged(self, invitation_id: str, invitation: Invitation) -> bool:
        not_used()

    async def is_email_outdated(self, invitation_id: str, invitation: Invitation) -> bool:
        return False

    async def authorize(self, account: str, admin: str) -> None:
        not_used()


def not_used() -> NoReturn:
    raise AssertionError("nobody asked for that")


class Outbox:
    """A mail server that takes every letter, or fails in one way."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.sent: list[Letter] = []

    async def send(self, letter: Letter, still_due: StillDue | None = None) -> None:
        if self.failure:
            raise self.failure
        self.sent.append(letter)


class NumberedLinks:
    def link(self, invitation_id: str, number: int) -> str:
        return f"https://seatflow.example/i/{invitation_id}.{number}"


class Desk:
    """The activities with their mail server and store."""

    def __init__(
        self,
        failure: Exception | None = None,
        operators: str | None = None,
        *,
        sends_at_once: bool = True,
    ) -> None:
        self.store, self.outbox = RecordingStore(), Outbox(failure)
        self.activities = InvitationActivities(
            store=self.store,
            mailer=self.outbox,
            links=NumberedLinks(),
            operators=operators,
            sends_at_once=sends_at_once,
        )

    def use(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.activities = replace(self.activities, mailer=outbox)

    async def join(self, kept: Invitation) -> AccountJoined:
        self.store.kept = kept
        order = JoinAccount(invite=INVITE, invitation=kept, choice=None)
        return await ActivityEnvironment().run(self.activities.join_account, order)

    async def announce(self, invitation: Invitation) -> LetterSent:
        order = AnnounceInvitation(invite=INVITE, invitation=invitation, at=NOW)
        return await ActivityEnvironment().run(self.activities.announce_invitation, order)

    async def tell(self, invitation: Invitation, *, kept: Invitation | None = None) -> None:
        self.store.kept = kept or invitation
        order = NotifyParties(invite=INVITE, invitation=invitation)
        await ActivityEnvironment().run(self.activities.notify_parties, order)

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
    """INV-17: a plain notice; the invitation follows."""
    desk = Desk()
    announced = await desk.announce(ANNOUNCED)
    [letter] = desk.outbox.sent
    assert isinstance(letter, HeadsUpLetter)
    assert letter.reader.email == "jane@example.com"
    assert letter.goes_out_at == NOW + timedelta(days=3)
    assert announced.refused is None
    assert desk.store.recorded == []


async def test_a_refused_heads_up_has_the_servers_answer() -> None:
    """INV-4, INV-17."""
    desk = Desk(Undeliverable("550 unknown"))
    assert (await desk.announce(ANNOUNCED)).refused == "550 unknown"


async def test_a_heads_up_that_was_not_taken_is_retried() -> None:
    """INV-4."""
    with pytest.raises(ApplicationError) as failure:
        await Desk(OSError("down")).announce(ANNOUNCED)
    assert failure.value.type == "mail_not_taken"


async def test_notifying_records_nothing() -> None:
    """OPS-2: the invitation may have changed while the mail server was down."""
    desk = Desk()
    await desk.tell(DECLINED)
    assert [letter.event for letter in desk.outbox.sent] == ["declined"]
    assert desk.store.recorded == []


async def test_closing_records_and_notifies() -> None:
    desk = Desk()
    await desk.close(DECLINED)
    assert [letter.event for letter in desk.outbox.sent] == ["declined"]
    assert desk.store.recorded == [DECLINED]


async def test_the_letter_of_an_unblocked_invitation_has_the_last_link() -> None:
    """BLK-4, INV-9: an older link is no longer valid."""
    desk = Desk()
    await desk.tell(UNBLOCKED)
    [letter] = desk.outbox.sent
    assert isinstance(letter, UnblockedLetter)
    assert letter.link == "https://seatflow.example/i/run-1.2"


async def test_an_invitee_who_has_accepted_is_not_notified_of_earlier_blockers() -> None:
    """BLK-4: letters that were delayed are checked again before they are sent."""
    desk = Desk()
    events = [entry.event for entry in UNBLOCKED.journal]
    await desk.tell(UNBLOCKED, kept=an_invitation(InvitationState.ACCEPTED, [*events, "accept"]))
    assert desk.outbox.sent == []


async def test_a_refused_letter_does_not_fail_the_activity() -> None:
    await Desk(Undeliverable("550 unknown")).tell(DECLINED)


@pytest.mark.parametrize("operators", ["ops@example.com", None])
async def test_operators_are_notified_of_failed_items(operators: str | None) -> None:
    """TRF-1: once, if they have an address."""
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
async def test_a_completed_acceptance_notifies_everyone_at_once(
    kept: Invitation, told: bool
) -> None:
    """INV-11: otherwise everyone is notified after the move and the settlement."""
    desk = Desk()
    assert (await desk.join(kept)).notified is told
    assert bool(desk.outbox.sent) is told


@pytest.mark.parametrize("failure", [OSError("down"), TimeoutError()])
async def test_an_unavailable_mail_server_does_not_delay_an_acceptance(failure: Exception) -> None:
    joined = await Desk(failure).join(COMPLETED)
    assert (joined.invitation, joined.notified) == (COMPLETED, False)


async def test_with_a_rate_limit_no_letter_bypasses_the_queue() -> None:
    """REM-3: only the queue limits the rate."""
    desk = Desk(sends_at_once=False)
    assert not (await desk.join(COMPLETED)).notified
    assert desk.outbox.sent == []


async def test_a_letter_to_a_slow_mail_server_is_left_to_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """INV-11: a letter in transfer is not cancelled."""
    monkeypatch.setattr(letters, "IMMEDIATE_TIMEOUT", timedelta(milliseconds=50))

    class Slow(Outbox):
        """A mail server that is slow to greet, or to take a letter."""

        def __init__(self, *, to_greet: float = 0, to_take: float = 0) -> None:
            super().__init__()
            self.to_greet, self.to_take = to_greet, to_take

        async def send(self, letter: Letter, still_due: StillDue | None = None) -> None:
            await asyncio.sleep(self.to_greet)
            assert still_due is not None
            assert await still_due()
            await asyncio.sleep(self.to_take)
            await super().send(letter)

    desk = Desk()
    desk.use(Slow(to_greet=5))
    assert not (await desk.join(COMPLETED)).notified
    desk.use(Slow(to_take=0.1))
    assert (await desk.join(COMPLETED)).notified
