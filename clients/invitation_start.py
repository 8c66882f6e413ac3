"""The start of invitations: a claim in the store, then a workflow bound to the claim."""

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from temporalio.client import WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from adapters.link import LinkSigner
from adapters.sql.invitations.invitation import SqlInvitations
from adapters.sql.outbox import SqlOutbox
from clients.fairness import fairness_priority
from clients.workflow_call import (
    START_TIMEOUT,
    TemporalAccess,
    WaitBudget,
    temporal_errors_as_unavailable,
    temporal_unavailable,
)
from domain.address import as_written, domain_of, invitee_key, masked, normalized
from domain.error import Refused, Unavailable
from domain.invitation import (
    CarriedInvitation,
    Invitation,
    Invite,
    InviteResult,
    Person,
    StartInvitation,
    StoredInvitation,
)
from domain.journal import day_of
from domain.policy import Policy
from states.invitation import initial_record
from workflows.invitation import InvitationWorkflow
from workflows.invitation_details import search_attributes

CONCURRENT_ROWS = 10
"""Rows of one request that are invited at the same time."""

CLAIM_TIMEOUT = timedelta(seconds=20)
"""Age from which a claim without a workflow is abandoned.

Longer than START_TIMEOUT, so that a claim whose workflow is being started is not released. Only
in a batch a start may wait longer for its turn. If its claim is released meanwhile, the workflow
finds no claim and ends, and the row is invited again.
"""

INVITATION_ID = "invitation_id"
"""Name of the memo that holds the id of the workflow's claim."""

EMAIL_NOT_SENT = Unavailable(
    "The e-mail is not sent yet. It is sent once a worker runs and the mail server accepts it.",
    outcome_unknown=True,
)
"""The error of a row whose e-mail was not sent when the wait budget was used up."""


@dataclass(frozen=True)
class InvitationTerms:
    """Values that all rows of one request share."""

    account: str
    by: str
    policy: Policy
    managed_domains: Sequence[str] = ()
    heads_up_days: int = 0
    note: str | None = None
    owner_invitation_id: str | None = None
    author: str | None = None


@dataclass(frozen=True)
class InvitationStarter:
    """Starts one workflow for each claim, and releases claims without one.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    temporal: TemporalAccess
    invitations: SqlInvitations
    outbox: SqlOutbox
    signer: LinkSigner
    id_key: bytes
    abandoned_after: timedelta = CLAIM_TIMEOUT

    async def invite_each(
        self, people: Sequence[Person], terms: InvitationTerms
    ) -> list[InviteResult]:
        """Invite each person; return a result for each, in the order given, once (INV-2)."""
        await self.temporal.connect()
        budget = self.temporal.wait_budget()
        rows, claims_in_order = asyncio.Semaphore(CONCURRENT_ROWS), asyncio.Lock()

        async def invite_row(person: Person) -> InviteResult:
            async with rows:
                try:
                    result, found = await self.invite(person, terms, claims_in_order, budget=budget)
                except (Refused, Unavailable) as error:
                    return _refused_row(person, error)
            # The links of the people beside an owner are theirs: `invite` and `show` give links.
            linked = terms.owner_invitation_id is None
            return InviteResult(
                email=found.invitation.email,
                result=result,
                invitation=with_link(self.signer, found) if linked else found.invitation,
                note=kept_license(person, found) if result == "already_invited" else None,
            )

        return await asyncio.gather(*(invite_row(person) for person in without_repeats(people)))

    async def invite(
        self,
        person: Person,
        terms: InvitationTerms,
        claims_in_order: asyncio.Lock,
        *,
        invitation_id: str | None = None,
        budget: WaitBudget | None = None,
    ) -> tuple[Literal["invited", "already_invited"], StoredInvitation]:
        """Invite one person; wait for another command's claim and for an earlier run to close."""
        budget = budget or self.temporal.wait_budget()
        while True:
            invite = self.invite_of(person, terms, invitation_id or uuid.uuid4().hex)
            initial = initial_record(invite, run_id="", at=datetime.now(UTC))
            async with claims_in_order:
                # One claim at a time: the person named first gets the last free seat.
                found = await self.invitations.claim(invite, initial, datetime.now(UTC))
            if found is None:
                if started := await self._start_claimed(invite, initial):
                    return "invited", started
            elif found.started:
                return "already_invited", found
            else:
                # Another command is starting the workflow, or died before the start.
                with temporal_errors_as_unavailable():
                    await self.settle_claim(found.invitation.workflow_id, found.invitation_id)
            await budget.pause()

    def invite_of(self, person: Person, terms: InvitationTerms, invitation_id: str) -> Invite:
        """Return the request to invite `person`. Raises `Refused(invalid_email)`."""
        email = normalized(person.email)
        return Invite(
            invitation_id=invitation_id,
            account=terms.account,
            key=invitee_key(email, self.id_key),
            email=email,
            mail_to=as_written(person.email),
            name=person.name,
            license=person.license,
            locale=person.locale,
            invited_by=terms.by,
            author=terms.author,
            heads_up_days=terms.heads_up_days,
            note=terms.note,
            managed=domain_of(email) in terms.managed_domains,
            owner_invitation_id=terms.owner_invitation_id,
            policy=terms.policy,
        )

    async def _start_claimed(self, invite: Invite, initial: Invitation) -> StoredInvitation | None:
        """Start the workflow of a claim; return None if an earlier run is still closing."""
        try:
            run_id = await self.start_workflow(invite, initial)
        except BaseException as failure:
            # No workflow runs for this claim, so its seat must not stay taken.
            await self.invitations.release(invite.invitation_id)
            if isinstance(failure, WorkflowAlreadyStartedError):
                return None
            if isinstance(failure, RPCError):
                raise temporal_unavailable(failure) from failure
            raise
        try:
            await self.invitations.bind(invite.invitation_id, run_id)
        except Unavailable as failure:
            # The workflow runs, and recovery binds it within a minute.
            raise Unavailable(failure.message, outcome_unknown=True) from failure
        return StoredInvitation(
            invitation_id=invite.invitation_id,
            ordered=invite,
            invitation=initial.model_copy(update={"run_id": run_id}),
            started=True,
        )

    async def start_workflow(
        self, invite: Invite, invitation: Invitation, carried: CarriedInvitation | None = None
    ) -> str:
        """Start the workflow of a claim, or restart it from `carried`; return its run id.

        Raises WorkflowAlreadyStartedError, RPCError.
        """
        client = await self.temporal.connect()
        handle = await client.start_workflow(
            InvitationWorkflow.run,
            StartInvitation(invite=invite, carried=carried),
            id=invite.workflow_id,
            task_queue=self.temporal.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=search_attributes(invite, invitation),
            memo={INVITATION_ID: invite.invitation_id},
            static_summary=f"{masked(invite.email)} into {invite.account}",
            priority=fairness_priority(invite.account),
            rpc_timeout=START_TIMEOUT,
        )
        return handle.first_execution_run_id or ""

    async def queue_abandoned_claims(self) -> None:
        """Insert an outbox row for each claim that is not bound to a run in time (INV-15)."""
        claimed_before = datetime.now(UTC) - self.abandoned_after
        abandoned = await self.invitations.abandoned_claims(claimed_before)
        if abandoned:
            await self.outbox.add_claims(
                (stored.invitation.workflow_id, stored.invitation_id) for stored in abandoned
            )

    async def settle_claim(self, workflow_id: str, invitation_id: str) -> None:
        """Bind an abandoned claim to the workflow that runs for it, or release it (INV-15)."""
        claimed_before = datetime.now(UTC) - self.abandoned_after
        if run_id := await self.run_of_claim(workflow_id, invitation_id):
            # A claim that was released meanwhile needs no run.
            with suppress(Refused):
                await self.invitations.bind(invitation_id, run_id)
        else:
            await self.invitations.release(invitation_id, claimed_before)

    async def run_of_claim(self, workflow_id: str, invitation_id: str) -> str | None:
        """Return the id of the last run if it was started for this claim. Raises RPCError."""
        client = await self.temporal.connect()
        handle: WorkflowHandle[object, object] = client.get_workflow_handle(workflow_id)
        try:
            described = await handle.describe(rpc_timeout=START_TIMEOUT)
        except RPCError as failure:
            if failure.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None
        claim = await described.memo_value(INVITATION_ID, default=None)
        return described.run_id if claim == invitation_id else None


def with_link(signer: LinkSigner, stored: StoredInvitation) -> Invitation:
    """Return the invitation with the link of its last e-mail, unless it has ended."""
    invitation = stored.invitation
    if invitation.state.final:
        return invitation
    link = signer.link(stored.invitation_id, invitation.sent_count)
    return invitation.model_copy(update={"link": link})


def kept_license(person: Person, kept: StoredInvitation) -> str | None:
    """Return that the license of an open invitation is kept, if another one was requested."""
    first = kept.ordered.license
    if person.license is first:
        return None
    invited_on = day_of(kept.invitation.journal[0].at)
    return (
        f"Invited as {first} on {invited_on}; this license is kept. "
        "To change it, revoke the invitation and invite again."
    )


def without_repeats(people: Iterable[Person]) -> list[Person]:
    """Return the people in the order given, each address once (INV-2)."""
    seen = dict[str, Person]()
    for person in people:
        try:
            seen.setdefault(normalized(person.email), person)
        except Refused:
            # An invalid address gets a row of its own with its error.
            seen.setdefault(person.email.strip(), person)
    return list(seen.values())


def _refused_row(person: Person, error: Refused | Unavailable) -> InviteResult:
    return InviteResult(email=person.email.strip(), result="refused", error=error.as_json())
