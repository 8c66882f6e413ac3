"""The typed client: what operators, pages and tests ask of Seatflow."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode
from temporalio.workflow import UpdateMethodMultiParam

from activities.invitation import RecordInvitation
from activities.move import MoveAgain, MoveData
from adapters.link import LinkSigner
from adapters.sql.invitations.invitation import SqlInvitations
from clients.fairness import caused_by
from clients.invitation_start import (
    START_TIMEOUT,
    STILL_OUT,
    AnyInvitationHandle,
    Inviting,
    Terms,
    take_back,
    with_link,
)
from clients.workflow_call import Answer, Asking, Patience, broken, no_answer, unreachable
from domain.address import masked, normalized
from domain.error import ErrorCode, Refused, Unavailable
from domain.invitation import (
    AcceptInvitation,
    Choice,
    DeclineInvitation,
    Invitation,
    InvitationState,
    InviteResult,
    Person,
    ResendInvitation,
    RevokeInvitation,
    StoredInvitation,
)
from domain.manifest import failed
from domain.model import Value
from domain.policy import Policy
from domain.preview import Preview
from states.invitation import InvitationMachine
from states.lifecycle import refusal
from workflows.invitation import InvitationWorkflow
from workflows.move import MoveWorkflow

LONGEST_REASON = 2_000
"""Characters of the reason for which somebody declines."""


@dataclass(frozen=True)
class SeatflowClient:
    """Reads from the store, asks running workflows, and knows which of them to believe.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    connect: Callable[[], Awaitable[Client]]
    """Connects to Temporal on first use: what the store can answer needs no server."""
    invitations: SqlInvitations
    signer: LinkSigner
    id_key: bytes
    policy: Policy
    task_queue: str
    wait_seconds: float

    # Inviting.

    async def invite(
        self, account: str, people: Sequence[Person], by: str, *, heads_up_days: int = 0
    ) -> list[InviteResult]:
        """Invite each person; a result for each, in the order asked, repeats once (INV-2).

        With `heads_up_days` a notice goes out now, the invitation itself so many days later
        (INV-17). Raises Refused when `by` may not invite at all; then nobody is invited.
        """
        admin = normalized(by)
        managed_domains = await self.invitations.authorize_inviter(account, admin)
        terms = Terms(account, admin, self.policy, managed_domains, heads_up_days=heads_up_days)
        return await self._inviting.invite_each(people, terms)

    async def invite_members(self, account: str, email: str, by: str) -> list[InviteResult]:
        """Invite all other users of a blocked owner's account into the same target (BLK-6).

        The owner's invitation goes on by itself when the last of them has gone. Raises
        Refused: `conflict`, when that invitation is not blocked.
        """
        stored, admin = await self._for_admin(account, email, by)
        await self.invitations.authorize_inviter(account, admin)
        members = await self.invitations.invitees_beside(stored.invitation_id)
        terms = Terms(account, admin, self.policy, beside=stored.invitation_id)
        people = [Person(email=member) for member in members]
        return await self._inviting.invite_each(people, terms)

    @property
    def _inviting(self) -> Inviting:
        return Inviting(
            connect=self.connect,
            invitations=self.invitations,
            signer=self.signer,
            id_key=self.id_key,
            task_queue=self.task_queue,
            wait_seconds=self.wait_seconds,
        )

    async def wait_until_out(self, results: Iterable[InviteResult]) -> list[InviteResult]:
        """Wait until each invitation e-mail was taken by the mail server or refused.

        What is still on its way when patience runs out carries the error.
        """
        patience = Patience(self.wait_seconds)
        return [await self._when_out(result, patience) for result in results]

    async def _when_out(self, result: InviteResult, patience: Patience) -> InviteResult:
        if result.invitation is None:
            return result
        while True:
            stored = await self._latest(result.invitation.account, result.email)
            waited = result.model_copy(update={"invitation": self._with_link(stored)})
            if stored.invitation.state is not InvitationState.SENT:
                return waited
            try:
                await patience.pause()
            except Unavailable:
                return waited.model_copy(update={"error": STILL_OUT.as_json()})

    # Looking.

    async def show(self, account: str, email: str) -> Invitation:
        """The latest invitation: from its workflow while that runs, then from the store."""
        stored = await self._latest(account, normalized(email))
        viewed = await self._asking.ask(
            stored,
            lambda handle: handle.query(InvitationWorkflow.view),
            lambda ended: ended.invitation,
        )
        return self._with_link(stored.model_copy(update={"invitation": viewed}))

    async def list(
        self,
        account: str,
        states: Sequence[InvitationState] = (),
        stale_days: int | None = None,
        everything: bool = False,
    ) -> list[Invitation]:
        """The account's invitations, oldest first, from the store (INV-5)."""
        quiet_before = (
            datetime.now(UTC) - timedelta(days=stale_days) if stale_days is not None else None
        )
        listed = await self.invitations.listed(account, states, quiet_before, everything)
        return [self._with_link(stored) for stored in listed]

    async def preview(self, account: str, email: str) -> Preview:
        """What accepting would do; needs a live invitation and uses its clock (QUO-8)."""
        stored = await self._latest(account, normalized(email))
        return await self._ask(stored, InvitationWorkflow.quote, [], _ended)

    # Answering.

    async def accept(self, account: str, email: str, choice: Choice | None = None) -> Invitation:
        """Accept on the invitee's behalf (INV-10)."""
        stored = await self._latest(account, normalized(email))
        return await self._accept(stored, AcceptInvitation(choice=choice))

    async def accept_link(
        self, url: str, signed_in_as: str | None, choice: Choice | None = None
    ) -> Invitation:
        """Accept by the link of the e-mail, as the invitee's page does (INV-13)."""
        claim = self.signer.read(url)
        stored = await self._stored(claim.invitation_id)
        invitation = stored.invitation
        if claim.number != invitation.sent_count:
            raise Refused(ErrorCode.NOT_FOUND, "A newer link has replaced this one.")
        if invitation.state.final and not invitation.state.accepted:
            raise refusal(InvitationMachine, invitation.state)
        if signed_in_as is not None and normalized(signed_in_as) != invitation.email:
            raise Refused(ErrorCode.RECIPIENT_MISMATCH, "The invitation is for another address.")
        return await self._accept(stored, AcceptInvitation(choice=choice, link_number=claim.number))

    async def _accept(self, stored: StoredInvitation, answer: AcceptInvitation) -> Invitation:
        def settled(invitation: Invitation) -> Invitation:
            _as_accepted(invitation).require_same_choice(answer.choice)
            return invitation

        accepted = await self._ask(
            stored,
            InvitationWorkflow.accept,
            [answer],
            settled,
        )
        return self._with_link(stored.model_copy(update={"invitation": accepted}))

    async def decline(self, account: str, email: str, reason: str | None = None) -> Invitation:
        """Decline on the invitee's behalf; the inviter sees the reason (INV-7)."""
        if reason and len(reason) > LONGEST_REASON:
            raise Refused(
                ErrorCode.INVALID_INPUT, f"A reason has at most {LONGEST_REASON:,} characters."
            )
        stored = await self._latest(account, normalized(email))
        answer = DeclineInvitation(reason=(reason or "").strip() or None)
        return await self._ask(
            stored,
            InvitationWorkflow.decline,
            [answer],
            _ended,
        )

    async def revoke(self, account: str, email: str, by: str) -> Invitation:
        """Take an invitation back (INV-7), also one that Temporal has lost."""
        stored, admin = await self._for_admin(account, email, by)
        if await self._is_lost(stored):
            note = "Temporal no longer knew its workflow."
            ended = await take_back(self.invitations, stored, by=admin, note=note)
            return ended if ended.state is InvitationState.REVOKED else _ended(ended)
        order = RevokeInvitation(by=admin)
        return await self._ask(
            stored,
            InvitationWorkflow.revoke,
            [order],
            _ended,
        )

    async def _is_lost(self, stored: StoredInvitation) -> bool:
        """Whether it wants an answer, and Temporal knows no workflow that could take one.

        Somebody has deleted it, or Temporal's own database is not the one of before.
        """
        if not stored.started or not stored.invitation.state.unanswered:
            return False
        try:
            handle = (await self.connect()).get_workflow_handle(stored.invitation.workflow_id)
            await handle.describe(rpc_timeout=START_TIMEOUT)
        except RPCError as failure:
            # Whatever else is wrong, whoever asks the workflow hears as well.
            return failure.status is RPCStatusCode.NOT_FOUND
        return False

    async def resend(self, account: str, email: str, by: str) -> Invitation:
        """Send a new link; the old one is dead when this returns (INV-9)."""
        stored, admin = await self._for_admin(account, email, by)
        order = ResendInvitation(by=admin)
        resent = await self._ask(
            stored,
            InvitationWorkflow.resend,
            [order],
            _ended,
        )
        return self._with_link(stored.model_copy(update={"invitation": resent}))

    async def recheck(self, account: str, email: str) -> Invitation:
        """Look at once whether it is still blocked (BLK-4)."""
        stored = await self._latest(account, normalized(email))
        looked = await self._ask(stored, InvitationWorkflow.recheck, [], _ended)
        return self._with_link(stored.model_copy(update={"invitation": looked}))

    async def retry_move(self, account: str, email: str) -> Invitation:
        """Try what could not be moved once more, also when all else is over (TRF-1)."""
        stored = await self._latest(account, normalized(email))
        if not stored.invitation.state.final:
            moved = await self._ask(stored, InvitationWorkflow.retry_move, [], _as_accepted)
            stored = stored.model_copy(update={"invitation": moved})
        if _as_accepted(stored.invitation).state.final and failed(stored.invitation.manifest):
            await self._move_again(stored)
            stored = await self._stored(stored.invitation_id)
        return self._with_link(stored)

    async def _move_again(self, stored: StoredInvitation) -> None:
        """Run the failed items of an invitation whose own workflow is over."""
        invitation, client = stored.invitation, await self.connect()
        now, ordered = datetime.now(UTC), stored.ordered
        order = MoveData(
            invitation_id=stored.invitation_id,
            account=invitation.account,
            email=invitation.email,
            manifest=invitation.manifest,
            at=now,
            give_up_at=now,
        )
        closed = RecordInvitation(invite=ordered, invitation=invitation) if ordered else None
        try:
            async with asyncio.timeout(self.wait_seconds):
                await client.execute_workflow(
                    MoveWorkflow.run,
                    MoveAgain(move=order, closed=closed),
                    id=f"move/{invitation.account}/{stored.invitation_id}",
                    task_queue=self.task_queue,
                    # Whoever asks at the same time waits for the same answer.
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    priority=caused_by(invitation.account),
                    static_summary=f"Move the rest for {masked(invitation.email)}",
                    rpc_timeout=START_TIMEOUT,
                )
        except TimeoutError:
            raise no_answer() from None
        except WorkflowFailureError as failed:
            raise broken() from failed
        except RPCError as failure:
            raise unreachable(failure) from failure

    async def _for_admin(self, account: str, email: str, by: str) -> tuple[StoredInvitation, str]:
        admin = normalized(by)
        await self.invitations.authorize(account, admin)
        return await self._latest(account, normalized(email)), admin

    # How a running workflow is asked.

    async def _ask(
        self,
        stored: StoredInvitation,
        update: UpdateMethodMultiParam[..., Answer],
        arguments: Sequence[Value],
        settled: Callable[[Invitation], Answer],
    ) -> Answer:
        patience = Patience(self.wait_seconds)
        while True:
            try:
                return await self._asking.update(
                    stored, update, arguments, lambda ended: settled(ended.invitation)
                )
            except Refused as refused:
                # The store knows a moment before the workflow that the e-mail is out: whoever
                # has read it there, or in the mailbox, need not hear that it is not.
                if refused.code is not ErrorCode.NOT_PENDING or not await self._is_out(stored):
                    raise
            await patience.pause()

    async def _is_out(self, stored: StoredInvitation) -> bool:
        state = (await self._stored(stored.invitation_id)).invitation.state
        return state not in {InvitationState.ANNOUNCED, InvitationState.SENT}

    @property
    def _asking(self) -> Asking[StoredInvitation, InvitationWorkflow, Invitation]:
        return Asking(
            connect=self.connect,
            handle=self._handle,
            reread=lambda stored: self._stored(stored.invitation_id),
            ended=lambda stored: stored.invitation.state.final,
            wait_seconds=self.wait_seconds,
        )

    async def _handle(self, stored: StoredInvitation) -> AnyInvitationHandle:
        client, invitation = await self.connect(), stored.invitation
        return client.get_workflow_handle_for(
            InvitationWorkflow.run,
            invitation.workflow_id,
            # Never a later invitation of the same person: there is none beside an accepted one,
            # which may have been taken up in another run.
            first_execution_run_id=None if invitation.state.accepted else invitation.run_id or None,
        )

    async def _latest(self, account: str, email: str) -> StoredInvitation:
        stored = await self.invitations.latest(account, email)
        if stored is None:
            raise Refused(ErrorCode.NOT_FOUND, f"{account} has not invited this person.")
        return stored

    async def _stored(self, invitation_id: str) -> StoredInvitation:
        stored = await self.invitations.by_id(invitation_id)
        if stored is None:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such invitation.")
        return stored

    def _with_link(self, stored: StoredInvitation) -> Invitation:
        return with_link(self.signer, stored)


def _as_accepted(invitation: Invitation) -> Invitation:
    """The invitation, if it was accepted. Raises Refused, with how it ended, otherwise."""
    if not invitation.state.accepted:
        _ended(invitation)
    return invitation


def _ended(invitation: Invitation) -> NoReturn:
    raise refusal(InvitationMachine, invitation.state)
