"""Tests of the invitation's activities: letters sent and records written."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.invitation import (
    LETTERS_HELD,
    AnnounceInvitation,
    InvitationActivities,
    InvitationPreviewed,
    InvitationRead,
    JoinAccount,
    Joined,
    KeptInvitation,
    PreviewInvitation,
)
from activities.letter import IMMEDIATE_TIMEOUT, LetterSent, StillDue, Undeliverable
from activities.outbox import LetterSender
from domain.error import ErrorCode, Refusal, Refused
from domain.invitation import Invitation, InvitationState, Invite, License
from domain.journal import ENGINE, JournalEntry
from domain.letter import Letter
from domain.letter.base import Reader
from domain.letter.invitation import AcceptedLetter, HeadsUpLetter, InvitationParties
from domain.outbox import QueuedLetter
from tests.activities.mailer import FakeLetterQueue, FakeLinks, FakeMailer

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)
INVITE = Invite(
    invitation_id="run-1",
    account="acme",
    key="k",
    email="jane@example.com",
    invited_by="eve@acme.example",
    heads_up_days=3,
)
ACCEPTED = QueuedLetter(
    letter=AcceptedLetter(
        id="accepted.run-1",
        reader=Reader(email="eve@acme.example"),
        account_name="Acme",
        invitee="jane@example.com",
    )
)


class FakeInvitationStore:
    """An `InvitationStore` of one invitation, with the records written to it."""

    def __init__(self) -> None:
        self.recorded: list[Invitation] = []
        self.stored: Invitation | None = None
        self.letters_after: timedelta | None = None
        self.joined_at: datetime | None = None
        self.refused: Refused | None = None

    async def record(self, invitation_id: str, invitation: Invitation) -> KeptInvitation:
        assert invitation_id == INVITE.invitation_id
        self.recorded.append(invitation)
        return KeptInvitation(invitation=invitation)

    async def parties(self, invite: Invite) -> InvitationParties:
        return InvitationParties(
            account="acme",
            account_name="Acme",
            inviter=Reader(email=invite.invited_by, name="Eve"),
            invitee=Reader(email=invite.email),
        )

    async def join(self, request: JoinAccount, at: datetime, letters_after: timedelta) -> Joined:
        assert self.stored is not None
        self.letters_after, self.joined_at = letters_after, at
        if self.refused:
            raise self.refused
        return Joined(KeptInvitation(invitation=self.stored), [ACCEPTED.letter.id])

    async def read(self, invite: Invite) -> InvitationRead:
        not_used()

    async def end(self, invitation_id: str, invitation: Invitation) -> KeptInvitation:
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


class ActivityRun:
    """The activities of an invitation, with their mail server and store."""

    def __init__(
        self,
        mailer: FakeMailer | None = None,
        *,
        sends_at_once: bool = True,
        ready_within: timedelta = IMMEDIATE_TIMEOUT,
    ) -> None:
        self.store, self.mailer = FakeInvitationStore(), mailer or FakeMailer()
        self.activities = InvitationActivities(
            store=self.store,
            mailer=self.mailer,
            links=FakeLinks(),
            letters=LetterSender(
                FakeLetterQueue(ACCEPTED), self.mailer, FakeLinks(), ready_within=ready_within
            ),
            sends_at_once=sends_at_once,
        )

    async def join(
        self, stored: Invitation, waited: timedelta = timedelta()
    ) -> KeptInvitation | Refusal:
        self.store.stored = stored
        request = JoinAccount(invite=INVITE, invitation=stored, choice=None)
        environment = ActivityEnvironment()
        started_at = environment.info.scheduled_time + waited
        environment.info = replace(environment.info, started_time=started_at)
        return await environment.run(self.activities.join_account, request)

    async def announce(self, invitation: Invitation) -> LetterSent:
        request = AnnounceInvitation(invite=INVITE, invitation=invitation, at=NOW)
        return await ActivityEnvironment().run(self.activities.announce_invitation, request)


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


COMPLETED = an_invitation(InvitationState.COMPLETED, ["invite", "deliver", "accept", "complete"])


async def test_the_letters_of_an_acceptance_are_sent_at_once() -> None:
    """INV-11: most acceptances then need no other activity."""
    run = ActivityRun()
    assert (await run.join(COMPLETED)) == KeptInvitation(invitation=COMPLETED)
    assert run.mailer.events == ["accepted"]
    assert run.store.letters_after == LETTERS_HELD


@pytest.mark.parametrize("failure", [OSError("down"), TimeoutError()])
async def test_an_unavailable_mail_server_does_not_delay_an_acceptance(failure: Exception) -> None:
    """INV-11, OPS-2: the letters are sent from the outbox."""
    run = ActivityRun(FakeMailer(failure))
    assert (await run.join(COMPLETED)) == KeptInvitation(invitation=COMPLETED)
    assert run.mailer.sent == []


async def test_with_a_rate_limit_no_letter_bypasses_the_queue() -> None:
    """REM-3: only the queue limits the rate, and the relay starts at once."""
    run = ActivityRun(sends_at_once=False)
    await run.join(COMPLETED)
    assert run.mailer.sent == []
    assert run.store.letters_after == timedelta()


async def test_an_acceptance_is_carried_out_at_the_time_of_its_attempt() -> None:
    """QUO-5: no worker ran when the answer was received, or the attempt is a retry."""
    run = ActivityRun()
    await run.join(COMPLETED, timedelta(minutes=2))
    assert run.store.joined_at == NOW + timedelta(minutes=2)


async def test_a_refused_acceptance_is_a_value() -> None:
    """OPS-5: only a failure is a failed activity."""
    run = ActivityRun()
    run.store.refused = Refused(ErrorCode.CHOICE_REQUIRED, "Choose refund or transfer.")
    refusal = await run.join(COMPLETED)
    assert refusal == Refusal.of(run.store.refused)


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
    ("mailer", "sent"), [(SlowMailer(greeting=5), []), (SlowMailer(transfer=0.1), ["accepted"])]
)
async def test_only_a_mail_server_that_greets_in_time_gets_a_letter_at_once(
    mailer: SlowMailer, sent: list[str]
) -> None:
    """INV-11: a letter in transfer is not cancelled."""
    run = ActivityRun(mailer, ready_within=timedelta(milliseconds=50))
    await run.join(COMPLETED)
    assert mailer.events == sent
