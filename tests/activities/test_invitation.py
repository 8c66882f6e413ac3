"""Tests of the invitation's activities: letters sent and records written."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

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
from activities.letter import IMMEDIATE_TIMEOUT, LetterSent, StillDue, Undeliverable
from domain.invitation import Invitation, InvitationState, Invite, License
from domain.journal import ENGINE, JournalEntry
from domain.letter import Letter
from domain.letter.attention import AttentionLetter
from domain.letter.base import Reader
from domain.letter.invitation import HeadsUpLetter, InvitationParties, UnblockedLetter
from domain.manifest import Item, ItemStatus, ManifestItem
from tests.activities.mailer import FakeMailer

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)
INVITE = Invite(
    invitation_id="run-1",
    account="acme",
    key="k",
    email="jane@example.com",
    invited_by="eve@acme.example",
    heads_up_days=3,
)


class FakeInvitationStore:
    """An `InvitationStore` of one invitation, with the records written to it."""

    def __init__(self) -> None:
        self.recorded: list[Invitation] = []
        self.stored: Invitation | None = None

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
        assert self.stored is not None
        return AccountJoined(invitation=self.stored)

    async def read(self, invite: Invite) -> InvitationRead:
        assert self.stored is not None
        return InvitationRead(invitation=self.stored)

    async def end(self, invitation_id: str, invitation: Invitation) -> Invitation:
        not_used()

    async def preview(self, request: PreviewInvitation) -> InvitationPreviewed:
        not_used()

    async def is_reminder_due(self, invitation_id: str, invitation: Invitation) -> bool:
        not_used()

    async def is_email_outdated(self, invitation_id: str, invitation: Invitation) -> bool:
        return False

    async def authorize(self, account: str, admin: str) -> None:
        not_used()


def not_used() -> NoReturn:
    raise AssertionError("The activity calls this method.")


class FakeLinks:
    """A `LinkSource` without signatures."""

    def link(self, invitation_id: str, number: int) -> str:
        return f"https://seatflow.example/i/{invitation_id}.{number}"


class ActivityRun:
    """The activities of an invitation, with their mail server and store."""

    def __init__(
        self,
        mailer: FakeMailer | None = None,
        operators: str | None = None,
        *,
        sends_at_once: bool = True,
        immediate_timeout: timedelta = IMMEDIATE_TIMEOUT,
    ) -> None:
        self.store, self.mailer = FakeInvitationStore(), mailer or FakeMailer()
        self.activities = InvitationActivities(
            store=self.store,
            mailer=self.mailer,
            links=FakeLinks(),
            operators=operators,
            sends_at_once=sends_at_once,
            immediate_timeout=immediate_timeout,
        )

    async def join(self, stored: Invitation) -> AccountJoined:
        self.store.stored = stored
        request = JoinAccount(invite=INVITE, invitation=stored, choice=None)
        return await ActivityEnvironment().run(self.activities.join_account, request)

    async def announce(self, invitation: Invitation) -> LetterSent:
        request = AnnounceInvitation(invite=INVITE, invitation=invitation, at=NOW)
        return await ActivityEnvironment().run(self.activities.announce_invitation, request)

    async def notify(self, invitation: Invitation, *, stored: Invitation | None = None) -> None:
        self.store.stored = stored or invitation
        request = NotifyParties(invite=INVITE, invitation=invitation)
        await ActivityEnvironment().run(self.activities.notify_parties, request)

    async def close(self, invitation: Invitation) -> None:
        request = RecordInvitation(invite=INVITE, invitation=invitation)
        await ActivityEnvironment().run(self.activities.close_invitation, request)


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
    run = ActivityRun()
    announced = await run.announce(ANNOUNCED)
    [letter] = run.mailer.sent
    assert isinstance(letter, HeadsUpLetter)
    assert letter.reader.email == "jane@example.com"
    assert letter.goes_out_at == NOW + timedelta(days=3)
    assert announced.refused is None
    assert run.store.recorded == []


async def test_a_refused_heads_up_has_the_servers_answer() -> None:
    """INV-4, INV-17: the workflow ends the invitation."""
    run = ActivityRun(FakeMailer(Undeliverable("550 unknown")))
    assert (await run.announce(ANNOUNCED)).refused == "550 unknown"


async def test_a_heads_up_that_was_not_taken_is_retried() -> None:
    """INV-4: Temporal makes the next attempt."""
    with pytest.raises(ApplicationError) as failure:
        await ActivityRun(FakeMailer(OSError("down"))).announce(ANNOUNCED)
    assert failure.value.type == "mail_not_taken"


async def test_notifying_records_nothing() -> None:
    """OPS-2: the invitation may have changed while the mail server was down."""
    run = ActivityRun()
    await run.notify(DECLINED)
    assert [letter.event for letter in run.mailer.sent] == ["declined"]
    assert run.store.recorded == []


async def test_closing_an_invitation_records_it_and_notifies_everyone() -> None:
    """INV-7."""
    run = ActivityRun()
    await run.close(DECLINED)
    assert [letter.event for letter in run.mailer.sent] == ["declined"]
    assert run.store.recorded == [DECLINED]


async def test_the_letter_of_an_unblocked_invitation_has_the_last_link() -> None:
    """BLK-4, INV-9: an older link is no longer valid."""
    run = ActivityRun()
    await run.notify(UNBLOCKED)
    [letter] = run.mailer.sent
    assert isinstance(letter, UnblockedLetter)
    assert letter.link == "https://seatflow.example/i/run-1.2"


async def test_an_invitee_who_has_accepted_is_not_notified_of_earlier_blockers() -> None:
    """BLK-4: letters that were delayed are checked again before they are sent."""
    run = ActivityRun()
    events = [entry.event for entry in UNBLOCKED.journal]
    await run.notify(UNBLOCKED, stored=an_invitation(InvitationState.ACCEPTED, [*events, "accept"]))
    assert run.mailer.sent == []


async def test_a_refused_letter_does_not_fail_the_activity() -> None:
    """INV-4: nobody else can be notified of it."""
    await ActivityRun(FakeMailer(Undeliverable("550 unknown"))).notify(DECLINED)


@pytest.mark.parametrize("operators", ["ops@example.com", None])
async def test_operators_are_notified_of_failed_items(operators: str | None) -> None:
    """TRF-1: once, if they have an address."""
    run = ActivityRun(operators=operators)
    completed = an_invitation(InvitationState.ACCEPTED, ["accept"]).model_copy(
        update={
            "state": InvitationState.COMPLETED,
            "manifest": (ManifestItem(item=Item.RECORDINGS, count=3, status=ItemStatus.FAILED),),
        }
    )
    await run.close(completed)
    letters = [letter for letter in run.mailer.sent if isinstance(letter, AttentionLetter)]
    assert [letter.reader.email for letter in letters] == ([operators] if operators else [])
    assert all("recordings (3)" in letter.case.message for letter in letters)


COMPLETED = an_invitation(InvitationState.COMPLETED, ["invite", "deliver", "accept", "complete"])


@pytest.mark.parametrize(
    ("stored", "notified"),
    [(COMPLETED, True), (an_invitation(InvitationState.ACCEPTED, ["accept"]), False)],
)
async def test_a_completed_acceptance_notifies_everyone_at_once(
    stored: Invitation, notified: bool
) -> None:
    """INV-11: otherwise everyone is notified after the move and the settlement."""
    run = ActivityRun()
    assert (await run.join(stored)).notified is notified
    assert bool(run.mailer.sent) is notified


@pytest.mark.parametrize("failure", [OSError("down"), TimeoutError()])
async def test_an_unavailable_mail_server_does_not_delay_an_acceptance(failure: Exception) -> None:
    """INV-11: the letters are sent from their queue."""
    joined = await ActivityRun(FakeMailer(failure)).join(COMPLETED)
    assert (joined.invitation, joined.notified) == (COMPLETED, False)


async def test_with_a_rate_limit_no_letter_bypasses_the_queue() -> None:
    """REM-3: only the queue limits the rate."""
    run = ActivityRun(sends_at_once=False)
    assert not (await run.join(COMPLETED)).notified
    assert run.mailer.sent == []


class SlowMailer(FakeMailer):
    """A mail server that is slow to greet, or to take a letter."""

    def __init__(self, *, greeting: float = 0, transfer: float = 0) -> None:
        super().__init__()
        self.greeting, self.transfer = greeting, transfer

    async def send(self, letter: Letter, still_due: StillDue | None = None) -> None:
        await asyncio.sleep(self.greeting)
        assert still_due is not None
        assert await still_due()
        await asyncio.sleep(self.transfer)
        await super().send(letter)


@pytest.mark.parametrize(
    ("mailer", "notified"), [(SlowMailer(greeting=5), False), (SlowMailer(transfer=0.1), True)]
)
async def test_only_a_mail_server_that_greets_in_time_gets_a_letter_at_once(
    mailer: SlowMailer, notified: bool
) -> None:
    """INV-11: a letter in transfer is not cancelled."""
    run = ActivityRun(mailer, immediate_timeout=timedelta(milliseconds=50))
    assert (await run.join(COMPLETED)).notified is notified
