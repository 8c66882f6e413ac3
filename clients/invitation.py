"""The client of invitations: sends, reads and answers them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.workflow import UpdateMethodMultiParam

from activities.move import MoveData, RetryMove
from adapters.link import LinkClaim
from adapters.sql.change import SqlChanges
from adapters.sql.invitations.invitation import SqlInvitations
from clients.fairness import fairness_priority
from clients.invitation_start import (
    EMAIL_NOT_SENT,
    InvitationStarter,
    InvitationTerms,
    with_link,
)
from clients.workflow_call import (
    START_TIMEOUT,
    TemporalAccess,
    WaitBudget,
    WorkflowCaller,
    no_worker_answer,
    temporal_unavailable,
    workflow_failed,
)
from domain.address import is_invitee_key, masked, normalized
from domain.author import THEMSELVES, Author
from domain.error import ErrorCode, Refused, Unavailable
from domain.invitation import (
    LINK_WAS_THE_PROOF,
    AcceptInvitation,
    CarriedInvitation,
    Choice,
    DeclineInvitation,
    Invitation,
    InvitationState,
    Invite,
    InviteResult,
    License,
    Person,
    QuoteInvitation,
    RecheckInvitation,
    ResendInvitation,
    RevokeInvitation,
    StoredInvitation,
    checked_note,
)
from domain.invitee_page import InvitationOffer
from domain.manifest import Change, Item, failed, failed_items, with_changes
from domain.model import Value
from domain.money import Money
from domain.policy import Policy
from domain.preview import Preview
from domain.refund import RefundPlan
from states.invitation import InvitationMachine
from states.lifecycle import after, refusal
from workflows import search_attribute
from workflows.invitation import InvitationWorkflow
from workflows.move import MoveWorkflow

MAX_REASON_LENGTH = 2_000
"""Characters in the reason for a decline."""

READ_SECONDS = 4.0
"""The time that a page waits for a worker before it shows the record of the store."""

_MAILED = frozenset({"deliver", "resend"})
"""The events of invitation e-mails, from which the resend cool-down counts."""

CHANGES_IN_LIST = 50
"""Changes of each manifest item in a list of invitations; `show` has all (OPS-7)."""


@dataclass(frozen=True)
class InvitationClient:
    """Starts invitations, reads them from the store, and sends answers to their workflows.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    starter: InvitationStarter
    policy: Policy
    changes: SqlChanges
    author: Author = THEMSELVES

    @property
    def invitations(self) -> SqlInvitations:
        """The invitations in the store."""
        return self.starter.invitations

    @property
    def temporal(self) -> TemporalAccess:
        """The connection to Temporal."""
        return self.starter.temporal

    # Start.

    async def invite(
        self,
        account: str,
        people: Sequence[Person],
        by: str,
        *,
        heads_up_days: int = 0,
        note: str | None = None,
    ) -> list[InviteResult]:
        """Invite each person; return a result for each, in the order given, once (INV-2).

        With `heads_up_days` a notice is sent now, the invitation itself so many days later
        (INV-17). `note` is shown in the invitation e-mails. Raises Refused when `by` may not
        invite at all, and `invalid_input` for a note that is too long; then nobody is invited.
        """
        admin, note = normalized(by), checked_note(note)
        managed_domains = await self.invitations.authorize_inviter(account, admin)
        terms = InvitationTerms(
            account,
            admin,
            self.policy,
            managed_domains,
            heads_up_days=heads_up_days,
            note=note,
            author=self.author.acting_for(admin),
        )
        return await self.starter.invite_each(people, terms)

    async def invite_members(
        self,
        account: str,
        email: str,
        by: str,
        *,
        license: License = License.BASIC,
        locale: str | None = None,
    ) -> list[InviteResult]:
        """Invite all other users of a blocked owner's account into the same target (BLK-6).

        All get this license, and letters in `locale` if they have set none. The owner's
        invitation resumes when the last of them has left. Raises Refused: `conflict`, when that
        invitation is not blocked.
        """
        stored, admin = await self._stored_for_admin(account, email, by)
        await self.invitations.authorize_inviter(account, admin)
        members = await self.invitations.invited_with_owner(stored.invitation_id)
        terms = InvitationTerms(
            account,
            admin,
            self.policy,
            owner_invitation_id=stored.invitation_id,
            author=self.author.acting_for(admin),
        )
        people = [Person(email=member, license=license, locale=locale) for member in members]
        return await self.starter.invite_each(people, terms)

    async def wait_until_sent(self, results: Iterable[InviteResult]) -> list[InviteResult]:
        """Wait until the mail server has taken or refused each invitation e-mail.

        A row whose e-mail is not sent when the wait budget is used up has an error.
        """
        budget = self.temporal.wait_budget()
        return [await self._when_sent(result, budget) for result in results]

    async def _when_sent(self, result: InviteResult, budget: WaitBudget) -> InviteResult:
        if result.invitation is None:
            return result
        while True:
            stored = await self._latest(result.invitation.account, result.email)
            shown = await self._shown(stored)
            if result.invitation.link:
                shown = self._with_link(stored, shown)
            waited = result.model_copy(update={"invitation": shown})
            if stored.invitation.state is not InvitationState.SENT:
                return waited
            try:
                await budget.pause()
            except Unavailable:
                return waited.model_copy(update={"error": EMAIL_NOT_SENT.as_json()})

    # Read.

    async def show(self, account: str, email: str) -> Invitation:
        """Return the latest invitation: from its workflow, or after its end from the store.

        While it is open it has the link of its last e-mail, which only this and `invite` return.
        """
        stored = await self._latest(account, normalized(email))
        viewed = await self.caller.call(
            stored,
            lambda handle: handle.query(InvitationWorkflow.view),
            lambda ended: ended.invitation,
        )
        return self._with_link(stored, await self._shown(stored, viewed))

    async def list(
        self,
        account: str,
        states: Sequence[InvitationState] = (),
        stale_days: int | None = None,
        everything: bool = False,
    ) -> list[Invitation]:
        """Return the account's invitations, oldest first, from the store (INV-5).

        They have no links: a person with a link can answer for the invitee. Of the changes of each
        manifest item the first 50; `show` has all.
        """
        quiet_before = (
            datetime.now(UTC) - timedelta(days=stale_days) if stale_days is not None else None
        )
        listed = await self.invitations.listed(account, states, quiet_before, everything)
        ids = [each.invitation_id for each in listed if _is_changed(each.invitation)]
        changes = await self.invitations.changes(ids, at_most=CHANGES_IN_LIST) if ids else {}
        return [
            _with_changes(each.invitation, changes.get(each.invitation_id, {})) for each in listed
        ]

    async def preview(self, account: str, email: str) -> Preview:
        """Return the effects of accepting an unanswered invitation (QUO-8)."""
        stored = await self._latest(account, normalized(email))
        request = QuoteInvitation(by=self.author.acting_for_invitee(stored.invitation.email))
        return await self.caller.update(
            stored, InvitationWorkflow.quote, [request], _refusing("quote")
        )

    async def offer(self, stored: StoredInvitation) -> InvitationOffer:
        """Return what the workflow knows; without a worker, what the store has."""
        try:
            return await self.caller.call(
                stored,
                lambda handle: handle.query(InvitationWorkflow.offer),
                _recorded_offer,
                WaitBudget(min(READ_SECONDS, self.temporal.wait_seconds)),
            )
        except Unavailable:
            return _recorded_offer(stored)

    # Answer.

    async def accept(self, account: str, email: str, choice: Choice | None = None) -> Invitation:
        """Accept on the invitee's behalf (INV-10)."""
        stored = await self._latest(account, normalized(email))
        by = self.author.acting_for_invitee(stored.invitation.email)
        return await self._accept(stored, AcceptInvitation(choice=choice, by=by))

    async def accept_link(
        self,
        url: str,
        signed_in_address: str | None,
        choice: Choice | None = None,
        shown: Money | None = None,
    ) -> Invitation:
        """Accept by the link of the e-mail, as the invitee's page does (INV-13).

        `shown` is the amount of the page that was answered, if any. Raises `quote_expired` if
        another one binds now.
        """
        claim, stored = await self.opened(url)
        invitation = stored.invitation
        if claim.number != invitation.sent_count:
            raise Refused(ErrorCode.NOT_FOUND, "A newer link has replaced this one.")
        if invitation.state.final and not invitation.state.accepted:
            raise refusal(InvitationMachine, invitation, "accept")
        if signed_in_address is not None and normalized(signed_in_address) != invitation.email:
            raise Refused(ErrorCode.RECIPIENT_MISMATCH, "The invitation is for another address.")
        answer = AcceptInvitation(
            choice=choice,
            link_number=claim.number,
            shown=shown,
            by=self.author.acting_for_invitee(invitation.email),
            note=LINK_WAS_THE_PROOF if signed_in_address is None else None,
        )
        return await self._accept(stored, answer)

    async def opened(self, url: str) -> tuple[LinkClaim, StoredInvitation]:
        """Return the claim of a link, or of its bare token, and its invitation (INV-13).

        Raises `Refused(not_found)` for a link that does not verify.
        """
        claim = self.starter.signer.read(url)
        return claim, await self._stored(claim.invitation_id)

    async def reminded(self, link: str) -> StoredInvitation:
        """Return the invitation of an unsubscribe link or its token. Raises `not_found`."""
        return await self._stored(self.starter.signer.read_unsubscribe(link))

    async def unsubscribe(self, link: str) -> None:
        """End the reminders of an invitation, by the link in a reminder or its token (REM-1).

        The invitation stays as it is; a repetition changes nothing. Raises Refused: `not_found`.
        """
        await self.invitations.end_reminders(self.starter.signer.read_unsubscribe(link))

    async def _accept(self, stored: StoredInvitation, answer: AcceptInvitation) -> Invitation:
        def accepted_before(ended: StoredInvitation) -> Invitation:
            accepted = _require_accepted(ended, "accept")
            accepted.require_same_choice(answer.choice)
            return accepted

        return await self._update(stored, InvitationWorkflow.accept, answer, accepted_before)

    async def decline(self, account: str, email: str, reason: str | None = None) -> Invitation:
        """Decline on the invitee's behalf; the inviter sees the reason (INV-7)."""
        return await self.decline_stored(await self._latest(account, normalized(email)), reason)

    async def decline_stored(
        self, stored: StoredInvitation, reason: str | None = None
    ) -> Invitation:
        """Decline this invitation, and no later one of the same person (INV-7)."""
        if reason and len(reason) > MAX_REASON_LENGTH:
            raise Refused(
                ErrorCode.INVALID_INPUT, f"A reason has at most {MAX_REASON_LENGTH:,} characters."
            )
        by = self.author.acting_for_invitee(stored.invitation.email)
        answer = DeclineInvitation(reason=(reason or "").strip() or None, by=by)
        return await self.caller.update(
            stored, InvitationWorkflow.decline, [answer], _refusing("decline")
        )

    # Requests of admins and operators.

    async def revoke(self, account: str, email: str, by: str) -> Invitation:
        """Revoke an invitation (INV-7), also one whose workflow Temporal has lost."""
        stored, admin = await self._stored_for_admin(account, email, by)
        if await self._workflow_is_lost(stored):
            note = "Temporal no longer knew its workflow."
            ended = await self.revoke_in_store(stored, by=self.author.acting_for(admin), note=note)
            return ended if ended.state is InvitationState.REVOKED else _refuse(ended, "revoke")
        request = RevokeInvitation(by=admin, author=self.author.acting_for(admin))
        return await self.caller.update(
            stored, InvitationWorkflow.revoke, [request], _refusing("revoke")
        )

    async def _workflow_is_lost(self, stored: StoredInvitation) -> bool:
        """Return whether Temporal has no workflow for an invitation that is still unanswered.

        It was deleted, or Temporal's database was replaced.
        """
        if not stored.started or not stored.invitation.state.unanswered:
            return False
        client = await self.temporal.connect()
        try:
            handle = client.get_workflow_handle(stored.invitation.workflow_id)
            await handle.describe(rpc_timeout=START_TIMEOUT)
        except RPCError as failure:
            # The update that follows reports every other error.
            return failure.status is RPCStatusCode.NOT_FOUND
        return False

    async def revoke_in_store(self, stored: StoredInvitation, *, by: str, note: str) -> Invitation:
        """Revoke an invitation that has no workflow; return it with the stored end."""
        revoked = after(
            InvitationMachine, stored.invitation, "revoke", at=datetime.now(UTC), by=by, note=note
        )
        return (await self.invitations.end(stored.invitation_id, revoked)).invitation

    async def resend(self, account: str, email: str, by: str) -> Invitation:
        """Send a new link; the old one is invalid when this returns (INV-9)."""
        stored, admin = await self._stored_for_admin(account, email, by)
        request = ResendInvitation(by=admin, author=self.author.acting_for(admin))
        return await self._update(stored, InvitationWorkflow.resend, request, _refusing("resend"))

    async def recheck(self, account: str, email: str, by: str | None = None) -> Invitation:
        """Read the blockers from the store now (BLK-4).

        `by` is the admin who requests it, if one does; else it is the invitee.
        """
        stored = await self._latest(account, normalized(email))
        invitee = self.author.acting_for_invitee(stored.invitation.email)
        author = self.author.acting_for(normalized(by)) if by else invitee
        request = RecheckInvitation(by=author)
        return await self._update(stored, InvitationWorkflow.recheck, request, _refusing("recheck"))

    async def retry_move(self, account: str, person: str, by: str | None = None) -> Invitation:
        """Retry the failed items of the manifest, also after the workflow's end (TRF-1).

        The operators' list names a person by the key in the workflow id, without the address.
        `by` is the admin who requests it, if one does.
        """
        budget = self.temporal.wait_budget()
        named = person if is_invitee_key(person) else normalized(person)
        stored = await self._latest(account, named)
        if not stored.invitation.state.final:
            moved = await self.caller.update(
                stored, InvitationWorkflow.retry_move, [], _may_move, budget
            )
            stored = stored.model_copy(update={"invitation": moved})
        if _may_move(stored).state.final and failed(stored.invitation.manifest):
            await self._move_failed_items(stored, budget)
            stored = await self._stored(stored.invitation_id)
        await self.changes.record(
            "retry-move",
            stored.invitation.workflow_id,
            by=self.author.acting_for(by) if by else self.author.name,
            at=datetime.now(UTC),
            account=account,
        )
        return await self._shown(stored)

    async def _move_failed_items(self, stored: StoredInvitation, budget: WaitBudget) -> None:
        """Move the failed items of an invitation whose own workflow has ended."""
        invitation, client = stored.invitation, await self.temporal.connect()
        try:
            async with asyncio.timeout(budget.left):
                await client.execute_workflow(
                    MoveWorkflow.run,
                    _move_of(stored),
                    id=f"move/{invitation.account}/{stored.invitation_id}",
                    task_queue=self.temporal.task_queue,
                    # A second command at the same time waits for the same result.
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    search_attributes=TypedSearchAttributes(
                        [SearchAttributePair(search_attribute.ACCOUNT_ID, invitation.account)]
                    ),
                    priority=fairness_priority(invitation.account),
                    static_summary=f"Move the failed items of {masked(invitation.email)}",
                    rpc_timeout=START_TIMEOUT,
                )
        except TimeoutError:
            raise no_worker_answer() from None
        except WorkflowFailureError as failure:
            raise workflow_failed() from failure
        except RPCError as failure:
            raise temporal_unavailable(failure) from failure

    async def _stored_for_admin(
        self, account: str, email: str, by: str
    ) -> tuple[StoredInvitation, str]:
        admin = normalized(by)
        await self.invitations.authorize(account, admin)
        return await self._latest(account, normalized(email)), admin

    # Recovery.

    async def restart(
        self, invite: Invite, invitation: Invitation, refund: RefundPlan | None
    ) -> None:
        """Restart the workflow of an invitation from the state in the store (INV-11).

        An unanswered one is bound to the new run, so that answers reach it. Raises
        WorkflowAlreadyStartedError when another worker was faster.
        """
        carried = CarriedInvitation.from_store(invitation, refund)
        run_id = await self.starter.start_workflow(invite, invitation, carried)
        if invitation.state.unanswered:
            await self.invitations.rebind(invite.invitation_id, run_id)

    # Calls of the workflow.

    async def _update(
        self,
        stored: StoredInvitation,
        update: UpdateMethodMultiParam[..., Invitation],
        argument: Value,
        from_store: Callable[[StoredInvitation], Invitation],
    ) -> Invitation:
        """Send an update; return the invitation with the changes of its move."""
        return await self._shown(
            stored, await self.caller.update(stored, update, [argument], from_store)
        )

    @property
    def caller(self) -> WorkflowCaller[StoredInvitation, InvitationWorkflow, Invitation]:
        """The sender of queries and updates to an invitation's workflow."""
        return WorkflowCaller(
            temporal=self.temporal,
            handle=_handle,
            read_stored=lambda stored: self._stored(stored.invitation_id),
            ended=lambda stored: stored.invitation.state.final,
            journal=lambda stored: stored.invitation.journal,
        )

    async def _latest(self, account: str, email: str) -> StoredInvitation:
        stored = await self.invitations.latest(account, email)
        if stored is None:
            await self.invitations.require_account(account)
            raise Refused(ErrorCode.NOT_FOUND, f"{account} has not invited this person.")
        return stored

    async def _stored(self, invitation_id: str) -> StoredInvitation:
        stored = await self.invitations.by_id(invitation_id)
        if stored is None:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such invitation.")
        return stored

    def _with_link(self, stored: StoredInvitation, shown: Invitation) -> Invitation:
        """Return `shown` with the link of its last e-mail, unless it has ended."""
        return with_link(self.starter.signer, stored.model_copy(update={"invitation": shown}))

    async def _shown(
        self, stored: StoredInvitation, current: Invitation | None = None
    ) -> Invitation:
        """Return the invitation with the changes of its move, and without a link."""
        shown = current or stored.invitation
        if not _is_changed(shown):
            return shown
        changes = await self.invitations.changes([stored.invitation_id])
        return _with_changes(shown, changes.get(stored.invitation_id, {}))


def _handle(
    client: Client, stored: StoredInvitation
) -> WorkflowHandle[InvitationWorkflow, Invitation]:
    invitation = stored.invitation
    return client.get_workflow_handle_for(
        InvitationWorkflow.run,
        invitation.workflow_id,
        # Without the run id the handle may reach a later invitation of the same person. An
        # accepted invitation has no later one, and recovery may have restarted it in a new run.
        first_execution_run_id=None if invitation.state.accepted else invitation.run_id or None,
    )


def _move_of(stored: StoredInvitation) -> RetryMove:
    invitation, now = stored.invitation, datetime.now(UTC)
    move = MoveData(
        invitation_id=stored.invitation_id,
        account=invitation.account,
        email=invitation.email,
        items=failed_items(invitation.manifest),
        at=now,
        give_up_at=now,
    )
    return RetryMove(move=move)


def _recorded_offer(stored: StoredInvitation) -> InvitationOffer:
    invitation = stored.invitation
    mailed = (entry.at for entry in reversed(invitation.journal) if entry.event in _MAILED)
    last = next(mailed, None)
    return InvitationOffer(
        invitation=invitation,
        at=invitation.journal[-1].at,
        resend_from=last and last + stored.ordered.policy.resend_cooldown,
        from_store=True,
    )


def _is_changed(invitation: Invitation) -> bool:
    return any(item.changed for item in invitation.manifest)


def _with_changes(invitation: Invitation, changes: Mapping[Item, tuple[Change, ...]]) -> Invitation:
    """Return the invitation with the changes of its manifest, which only the store keeps."""
    return invitation.model_copy(update={"manifest": with_changes(invitation.manifest, changes)})


def _require_accepted(stored: StoredInvitation, request: str) -> Invitation:
    """Return the invitation if it was accepted. Raises Refused with its end otherwise."""
    invitation = stored.invitation
    return invitation if invitation.state.accepted else _refuse(invitation, request)


def _may_move(stored: StoredInvitation) -> Invitation:
    return _require_accepted(stored, "retry_move")


def _refusing(request: str) -> Callable[[StoredInvitation], NoReturn]:
    """Return the function that refuses a request to an ended invitation, with its end."""

    def refuse(ended: StoredInvitation) -> NoReturn:
        _refuse(ended.invitation, request)

    return refuse


def _refuse(ended: Invitation, request: str) -> NoReturn:
    raise refusal(InvitationMachine, ended, request)
