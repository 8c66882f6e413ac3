"""The typed client of licenses: assigning them, taking them back, and looking at the pools."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.assignment import TellHolders
from adapters.sql.licenses.assignment import SqlAssignments
from clients.fairness import caused_by
from clients.workflow_call import Patience, no_answer, passes, unreachable
from domain.address import normalized
from domain.assignment import (
    MAX_USERS_PER_REQUEST,
    AssignLicenses,
    Assignment,
    AssignmentResult,
    AssignmentState,
    StartAssignment,
)
from domain.error import ErrorCode, Refused
from domain.license import LicensePool, Sku, require_capacity
from states.assignment import opening
from workflows.assignment import AddonAssignmentWorkflow, search_attributes
from workflows.notice import LicenseNoticeWorkflow

START_TIMEOUT = timedelta(seconds=8)


@dataclass(frozen=True)
class LicenseClient:
    """Starts assignments, and asks the store for all else.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    connect: Callable[[], Awaitable[Client]]
    """Connects to Temporal on first use: what the store can answer needs no server."""
    assignments: SqlAssignments
    task_queue: str
    wait_seconds: float

    # Assigning.

    async def assign(
        self,
        account: str,
        sku: Sku,
        emails: Sequence[str],
        by: str,
        *,
        capacity: int | None = None,
        atomic: bool = False,
        give_base_license: bool = False,
    ) -> list[AssignmentResult]:
        """Assign to each user; a result for each, in the order asked, repeats once (ASG-5).

        Returns when what is free has been assigned; who waits is served later, without anybody
        asking again. Raises Refused when `by` may not assign at all, or `invalid_input`.
        """
        users, admin = _Users.of(emails), normalized(by)
        await self.assignments.authorize(account, admin)
        try:
            if capacity is not None:
                require_capacity(sku, capacity)
            wanted = users.all_valid() if atomic else users.valid
        except Refused as refused:
            return users.all_refused(refused)
        if not wanted:
            return users.rows([])
        request = AssignLicenses(
            request_id=uuid.uuid4().hex,
            account=account,
            sku=sku,
            emails=tuple(wanted),
            capacity=capacity,
            by=admin,
            atomic=atomic,
            give_base_license=give_base_license,
        )
        return users.rows((await self._assigned(request)).results)

    async def _assigned(self, request: AssignLicenses) -> Assignment:
        """The request as its first transaction leaves it."""
        patience = Patience(self.wait_seconds)
        while True:
            try:
                async with asyncio.timeout(patience.left):
                    return await self._reported(request)
            except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
                raise no_answer() from None
            except RPCError as failure:
                if not await passes(failure, await self.connect()):
                    raise unreachable(failure) from failure
            await patience.pause()

    async def _reported(self, request: AssignLicenses) -> Assignment:
        """Start it, unless an earlier try has, and hear how far it has come."""
        client = await self.connect()
        start = WithStartWorkflowOperation(
            AddonAssignmentWorkflow.run,
            StartAssignment(request=request),
            id=request.workflow_id,
            task_queue=self.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=search_attributes(opening(request, at=datetime.now(UTC))),
            static_summary=f"{request.sku} for users of {request.account}",
            priority=caused_by(request.account),
        )
        return await client.execute_update_with_start_workflow(
            AddonAssignmentWorkflow.report, start_workflow_operation=start
        )

    # Going on.

    async def take_up(self, request: AssignLicenses) -> None:
        """Go on with a request whose workflow was ended from outside; one that runs is left.

        It begins anew, and finds what the store has done already.
        """
        client = await self.connect()
        with suppress(WorkflowAlreadyStartedError):
            await client.start_workflow(
                AddonAssignmentWorkflow.run,
                StartAssignment(request=request),
                id=request.workflow_id,
                task_queue=self.task_queue,
                search_attributes=search_attributes(opening(request, at=datetime.now(UTC))),
                static_summary=f"{request.sku} for users of {request.account}",
                rpc_timeout=START_TIMEOUT,
            )

    # Taking back.

    async def unassign(
        self, account: str, sku: Sku, emails: Sequence[str], by: str, *, cascade: bool = False
    ) -> list[AssignmentResult]:
        """Take licenses back, effective at once; a result for each, as `assign` (ASG-7).

        Raises Refused when `by` may not do so at all, or `invalid_input`.
        """
        users, admin = _Users.of(emails), normalized(by)
        await self.assignments.authorize(account, admin)
        if not users.valid:
            return users.rows([])
        # Who loses a license is told: without Temporal nothing is taken back.
        client = await self.connect()
        held = await self._holders(account, sku)
        results = await self.assignments.unassign(
            account, sku, users.valid, admin, datetime.now(UTC), cascade=cascade
        )
        released = [
            each
            for each in results
            # Who had none is released as well, and has nothing to be told of.
            if each.state is AssignmentState.RELEASED and each.email in held
        ]
        if released:
            await self._tell(client, account, sku, released, admin)
        return users.rows(results)

    async def _holders(self, account: str, sku: Sku) -> set[str]:
        pools = await self.assignments.licenses(account)
        return {holder for pool in pools if pool.sku is sku for holder in pool.holders}

    async def _tell(
        self,
        client: Client,
        account: str,
        sku: Sku,
        released: Sequence[AssignmentResult],
        admin: str,
    ) -> None:
        order = TellHolders(
            notice=uuid.uuid4().hex,
            account=account,
            sku=sku,
            results=tuple(released),
            asked_by=admin,
        )
        try:
            await client.start_workflow(
                LicenseNoticeWorkflow.run,
                order,
                id=order.workflow_id,
                task_queue=self.task_queue,
                static_summary=f"{sku} of {account}: {len(released)} taken back",
                priority=caused_by(account),
                rpc_timeout=START_TIMEOUT,
            )
        except RPCError as failure:
            raise unreachable(failure) from failure

    # Looking.

    async def licenses(self, account: str) -> list[LicensePool]:
        """The pools of the account, who holds their licenses, and who waits for one."""
        return await self.assignments.licenses(account)


@dataclass(frozen=True)
class _Users:
    """The users of one request in the order asked, each once, and how they were written."""

    given: dict[str, str]
    """By normalized address, or, where it is none, as it was given."""
    invalid: dict[str, Refused]

    @classmethod
    def of(cls, emails: Iterable[str]) -> "_Users":
        """Read `emails`. Raises Refused: `invalid_input`, for none or too many of them."""
        given, invalid = dict[str, str](), dict[str, Refused]()
        for email in map(str.strip, emails):
            try:
                given.setdefault(normalized(email), email)
            except Refused as refused:
                given.setdefault(email, email)
                invalid[email] = refused
        if not 1 <= len(given) <= MAX_USERS_PER_REQUEST:
            raise Refused(ErrorCode.INVALID_INPUT, f"Name 1 to {MAX_USERS_PER_REQUEST} users.")
        return cls(given, invalid)

    @property
    def valid(self) -> list[str]:
        """The normalized addresses."""
        return [email for email in self.given if email not in self.invalid]

    def all_valid(self) -> list[str]:
        """The same, when all are. Raises Refused: `invalid_email`."""
        for refused in self.invalid.values():
            raise refused
        return self.valid

    def rows(self, results: Iterable[AssignmentResult]) -> list[AssignmentResult]:
        """A row for each user, in the order asked."""
        by_email = {result.email: result for result in results}
        return [
            _refused_row(given, self.invalid[email])
            if email in self.invalid
            else _as_given(by_email[email], given)
            for email, given in self.given.items()
        ]

    def all_refused(self, refused: Refused) -> list[AssignmentResult]:
        """A row for each user, none of whom gets anything."""
        return [_refused_row(given, refused) for given in self.given.values()]


def _refused_row(email: str, refused: Refused) -> AssignmentResult:
    return AssignmentResult(email=email, state=AssignmentState.REFUSED, error=refused.as_json())


def _as_given(result: AssignmentResult, given: str) -> AssignmentResult:
    """A refused row shows the address as it was written."""
    refused = result.state is AssignmentState.REFUSED
    return result.model_copy(update={"email": given}) if refused else result
