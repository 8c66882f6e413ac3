"""How invitations are started: claimed in the store, begun in Temporal, bound to each other."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from adapters.link import LinkSigner
from adapters.sql.invitations.batch import SqlBatches
from adapters.sql.invitations.invitation import SqlInvitations
from clients.fairness import caused_by
from clients.workflow_call import NoAnswer, Patience, unreachable
from domain.address import as_written, domain_of, invitee_key, masked, normalized
from domain.batch import Batch, BatchRow, RowOutcome, refused_row
from domain.error import Refused, Unavailable
from domain.invitation import (
    Invitation,
    Invite,
    InviteResult,
    Person,
    StartInvitation,
    StoredInvitation,
)
from domain.policy import Policy
from states.invitation import InvitationMachine, opening
from states.lifecycle import after
from workflows.invitation import InvitationWorkflow, search_attributes

ROWS_AT_ONCE = 10
"""How many rows of one request are taken up at the same time."""

STARTS_AT_ONCE = 50
"""Starts of batches that the server has yet to answer: enough to keep it busy.

Whatever else it is asked meanwhile waits behind all of them.
"""

START_TIMEOUT = timedelta(seconds=8)
"""Well below `ABANDONED_AFTER`: a claim that is being started is not swept.

In a batch one may have waited for its turn before. If it is swept then, its workflow ends as one
whose claim was released, and the row is taken up again.
"""

ABANDONED_AFTER = timedelta(seconds=20)
"""Longer than any command takes between its claim and the answer to its start."""

INVITATION_ID = "invitation_id"
"""The memo that tells for which claim a workflow runs."""

STILL_OUT = Unavailable(
    "The e-mail is not out yet. It goes out when a worker runs and the mail server takes it.",
    outcome_unknown=True,
)
"""What a row says whose e-mail was waited for in vain."""

AnyInvitationHandle = WorkflowHandle[InvitationWorkflow, Invitation]


@dataclass(frozen=True)
class Terms:
    """What all rows of one request have in common."""

    account: str
    by: str
    policy: Policy
    managed_domains: Sequence[str] = ()
    heads_up_days: int = 0
    beside: str | None = None


@dataclass(frozen=True)
class Inviting:
    """Starts one workflow for each claim, and never leaves a claim without one.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    connect: Callable[[], Awaitable[Client]]
    invitations: SqlInvitations
    signer: LinkSigner
    id_key: bytes
    task_queue: str
    wait_seconds: float

    async def invite_each(self, people: Sequence[Person], terms: Terms) -> list[InviteResult]:
        """Invite each person; a result for each, in the order asked, repeats once (INV-2)."""
        await self.connect()
        at_once, in_order = asyncio.Semaphore(ROWS_AT_ONCE), asyncio.Lock()

        async def row(person: Person) -> InviteResult:
            async with at_once:
                try:
                    result, found = await self.invite(person, terms, in_order)
                except Refused as refused:
                    return _refused(person, refused)
                except Unavailable as unavailable:
                    return _refused(person, unavailable)
            return InviteResult(
                email=found.invitation.email,
                result=result,
                invitation=with_link(self.signer, found),
            )

        return await asyncio.gather(*(row(person) for person in each_once(people)))

    async def invite(
        self, person: Person, terms: Terms, in_order: asyncio.Lock, invitation_id: str | None = None
    ) -> tuple[Literal["invited", "already_invited"], StoredInvitation]:
        """Invite one person, and wait while another command or an earlier run is in the way."""
        patience = Patience(self.wait_seconds)
        while True:
            invite = self.order(person, terms, invitation_id or uuid.uuid4().hex)
            begun = opening(invite, run_id="", at=datetime.now(UTC))
            async with in_order:
                # Who is named first gets the seat when they run short.
                standing = await self.invitations.claim(invite, begun, datetime.now(UTC))
            if standing is None:
                started = await self._start(invite, begun)
                if started:
                    return "invited", started
            elif standing.started:
                return "already_invited", standing
            else:
                # Another command is just starting it, or died while it did.
                await settle_unstarted(await self.connect(), self.invitations)
            await patience.pause()

    def order(self, person: Person, terms: Terms, invitation_id: str) -> Invite:
        """What is asked for. Raises `Refused(invalid_email)`."""
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
            heads_up_days=terms.heads_up_days,
            managed=domain_of(email) in terms.managed_domains,
            beside=terms.beside,
            policy=terms.policy,
        )

    async def _start(self, invite: Invite, begun: Invitation) -> StoredInvitation | None:
        """Start the workflow of a claim; None while an earlier run has yet to close."""
        try:
            run_id = await self.start_workflow(invite, begun)
        except BaseException as failure:
            # Nothing runs for this claim: its seat must not stay taken.
            await self.invitations.release(invite.invitation_id)
            if isinstance(failure, WorkflowAlreadyStartedError):
                return None
            if isinstance(failure, RPCError):
                raise unreachable(failure) from failure
            raise
        try:
            await self.invitations.bind(invite.invitation_id, run_id)
        except Unavailable as failure:
            # It runs, and a worker binds it within a minute.
            raise Unavailable(failure.message, outcome_unknown=True) from failure
        return StoredInvitation(
            invitation_id=invite.invitation_id,
            invitation=begun.model_copy(update={"run_id": run_id}),
            started=True,
        )

    async def start_workflow(self, invite: Invite, begun: Invitation) -> str:
        """Start the workflow of a claim; returns its run.

        Raises WorkflowAlreadyStartedError, RPCError.
        """
        client = await self.connect()
        handle = await client.start_workflow(
            InvitationWorkflow.run,
            StartInvitation(invite=invite),
            id=invite.workflow_id,
            task_queue=self.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=search_attributes(invite, begun),
            memo={INVITATION_ID: invite.invitation_id},
            static_summary=f"{masked(invite.email)} into {invite.account}",
            priority=caused_by(invite.account),
            rpc_timeout=START_TIMEOUT,
        )
        return handle.first_execution_run_id or ""


@dataclass(frozen=True)
class BatchInviter:
    """Invites the rows of a batch: a portion is claimed, and kept, in one transaction each."""

    inviting: Inviting
    batches: SqlBatches
    starting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(STARTS_AT_ONCE))
    """For all batches that a worker takes part in."""

    async def invite_rows(
        self, batch: Batch, rows: Sequence[BatchRow], in_order: asyncio.Lock
    ) -> None:
        """Invite each row once and keep its result; on repeat, the same invitation."""
        terms = Terms(
            account=batch.account,
            by=batch.by,
            policy=batch.policy,
            managed_domains=batch.managed_domains,
            heads_up_days=batch.heads_up_days,
        )
        outcomes, taken_up = list[RowOutcome](), list[_Taken]()
        for row in rows:
            try:
                invite = self.inviting.order(row.person, terms, batch.invitation_id(row.position))
            except Refused as refused:
                outcomes.append(refused_row(row.position, refused))
            else:
                begun = opening(invite, run_id="", at=datetime.now(UTC))
                taken_up.append(_Taken(row, invite, begun))
        if taken_up:
            async with in_order:
                standings = await self.inviting.invitations.claim_all(
                    [(taken.invite, taken.begun) for taken in taken_up], datetime.now(UTC)
                )
            started = await asyncio.gather(
                *(
                    self._outcome(taken, standing, terms, in_order)
                    for taken, standing in zip(taken_up, standings, strict=True)
                ),
                return_exceptions=True,
            )
            outcomes.extend(each for each in started if isinstance(each, RowOutcome))
        await self.batches.keep(batch.batch_id, outcomes)
        for failure in started if taken_up else ():
            if isinstance(failure, BaseException):
                raise failure

    async def _outcome(
        self,
        taken: "_Taken",
        standing: StoredInvitation | Refused | None,
        terms: Terms,
        in_order: asyncio.Lock,
    ) -> RowOutcome:
        """What becomes of a row that was claimed, or that others stand in the way of."""
        position, own = taken.row.position, taken.invite.invitation_id
        if isinstance(standing, Refused):
            return refused_row(position, standing)
        if standing is None or (standing.invitation_id == own and not standing.started):
            run_id = await self._run_of(taken)
            if run_id:
                return RowOutcome(
                    position=position, result="invited", invitation_id=own, run_id=run_id
                )
        elif standing.started:
            mine = standing.invitation_id == own
            return RowOutcome(
                position=position,
                result="invited" if mine else "already_invited",
                invitation_id=standing.invitation_id,
            )
        try:
            result, found = await self.inviting.invite(taken.row.person, terms, in_order, own)
        except Refused as refused:
            return refused_row(position, refused)
        except NoAnswer as unavailable:
            return RowOutcome(position=position, result="refused", error=unavailable.as_json())
        return RowOutcome(position=position, result=result, invitation_id=found.invitation_id)

    async def _run_of(self, taken: "_Taken") -> str | None:
        """The run that was started for the claim, perhaps by a worker that died over it.

        None, and no claim any more, while an earlier run of this person's has yet to close.
        """
        try:
            async with self.starting:
                return await self.inviting.start_workflow(taken.invite, taken.begun)
        except WorkflowAlreadyStartedError:
            pass
        except RPCError as failure:
            # The claim stays: the next try knows it as its own.
            raise unreachable(failure) from failure
        client = await self.inviting.connect()
        try:
            described = await client.get_workflow_handle(taken.invite.workflow_id).describe()
            running = await described.memo_value(INVITATION_ID, default=None)
        except RPCError as failure:
            if failure.status is not RPCStatusCode.NOT_FOUND:
                raise unreachable(failure) from failure
            running = None
        if running == taken.invite.invitation_id:
            return described.run_id
        await self.inviting.invitations.release(taken.invite.invitation_id)
        return None


@dataclass(frozen=True)
class _Taken:
    """A row that has been taken up."""

    row: BatchRow
    invite: Invite
    begun: Invitation


def with_link(signer: LinkSigner, stored: StoredInvitation) -> Invitation:
    """The invitation with the link of its last e-mail, unless it has ended."""
    invitation = stored.invitation
    if invitation.state.final:
        return invitation
    link = signer.link(stored.invitation_id, invitation.sent_count)
    return invitation.model_copy(update={"link": link})


def each_once(people: Iterable[Person]) -> list[Person]:
    """The people in the order asked, each address once (INV-2)."""
    seen = dict[str, Person]()
    for person in people:
        try:
            seen.setdefault(normalized(person.email), person)
        except Refused:
            # It gets a row of its own that says what is wrong with it.
            seen.setdefault(person.email.strip(), person)
    return list(seen.values())


def _refused(person: Person, error: Refused | Unavailable) -> InviteResult:
    return InviteResult(email=person.email.strip(), result="refused", error=error.as_json())


async def settle_unstarted(client: Client, invitations: SqlInvitations) -> None:
    """Bind each abandoned claim to the workflow that runs for it, or release it."""
    abandoned = datetime.now(UTC) - ABANDONED_AFTER
    for stored in await invitations.unstarted(abandoned):
        handle = client.get_workflow_handle(stored.invitation.workflow_id)
        try:
            described = await handle.describe()
        except RPCError as failure:
            if failure.status is not RPCStatusCode.NOT_FOUND:
                raise
            await invitations.release(stored.invitation_id, abandoned)
        else:
            running = await described.memo_value(INVITATION_ID, default=None)
            if running == stored.invitation_id:
                await invitations.bind(stored.invitation_id, described.run_id)
            else:
                await invitations.release(stored.invitation_id, abandoned)


async def take_back(
    invitations: SqlInvitations, stored: StoredInvitation, *, by: str, note: str
) -> Invitation:
    """Revoke it in the store, where no workflow can; returns it as it ended, perhaps otherwise."""
    revoked = after(
        InvitationMachine, stored.invitation, "revoke", at=datetime.now(UTC), by=by, note=note
    )
    return await invitations.end(stored.invitation_id, revoked)
