"""The client of assignments: assigns and releases licenses, and reads the pools."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypedDict

from temporalio.client import WithStartWorkflowOperation
from temporalio.common import Priority, TypedSearchAttributes, WorkflowIDConflictPolicy

from adapters.sql.licenses.assignment import SqlAssignments
from clients.fairness import fairness_priority
from clients.workflow_call import START_TIMEOUT, TemporalAccess, start_and_report
from domain.address import normalized
from domain.assignment import (
    MAX_USERS_PER_REQUEST,
    AssignLicenses,
    Assignment,
    AssignmentResult,
    AssignmentState,
    StartAssignment,
)
from domain.author import THEMSELVES, Author
from domain.error import ErrorCode, Refused
from domain.license import LicensePool, Sku, require_capacity
from states.assignment import initial_record
from workflows.assignment import AssignmentWorkflow, search_attributes


class _StartOptions(TypedDict):
    id: str
    task_queue: str
    id_conflict_policy: WorkflowIDConflictPolicy
    search_attributes: TypedSearchAttributes
    static_summary: str
    priority: Priority


@dataclass(frozen=True)
class AssignmentClient:
    """Starts assignments, releases licenses, and reads the pools from the store.

    Every method raises Refused (a rule said no, nothing changed) or Unavailable.
    """

    temporal: TemporalAccess
    assignments: SqlAssignments
    author: Author = THEMSELVES

    # Assign.

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
        """Assign to each user; return a result for each, in the order given, once (ASG-5).

        Returns when the free licenses are assigned; waiting users are served later, without a new
        request. Raises Refused when `by` may not assign at all, or `invalid_input`.
        """
        users, admin = _Users.of(emails), normalized(by)
        await self.assignments.authorize(account, admin)
        try:
            wanted = users.wanted(sku, capacity, atomic=atomic)
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
            author=self.author.acting_for(admin),
            atomic=atomic,
            give_base_license=give_base_license,
        )
        return users.rows((await self._start_and_report(request)).results)

    async def _start_and_report(self, request: AssignLicenses) -> Assignment:
        """Start the assignment; return it after its first transaction."""
        return await start_and_report(
            await self.temporal.connect(),
            self.temporal.wait_budget(),
            AssignmentWorkflow.report,
            lambda: WithStartWorkflowOperation(
                AssignmentWorkflow.run,
                StartAssignment(request=request),
                **self._start_options(request),
            ),
        )

    async def restart(self, request: AssignLicenses) -> None:
        """Restart the assignment's workflow, unless it runs. The store has its progress."""
        client = await self.temporal.connect()
        await client.start_workflow(
            AssignmentWorkflow.run,
            StartAssignment(request=request),
            **self._start_options(request),
            rpc_timeout=START_TIMEOUT,
        )

    def _start_options(self, request: AssignLicenses) -> _StartOptions:
        """Return the options of a start that uses a running workflow."""
        return _StartOptions(
            id=request.workflow_id,
            task_queue=self.temporal.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=search_attributes(initial_record(request, at=datetime.now(UTC))),
            static_summary=f"{request.sku} for users of {request.account}",
            priority=fairness_priority(request.account),
        )

    # Release.

    async def unassign(
        self, account: str, sku: Sku, emails: Sequence[str], by: str, *, cascade: bool = False
    ) -> list[AssignmentResult]:
        """Release licenses, effective at once; return a result for each user (ASG-7).

        Raises Refused when `by` may not do so at all, or `invalid_input`.
        """
        users, admin = _Users.of(emails), normalized(by)
        await self.assignments.authorize(account, admin)
        if not users.valid:
            return users.rows([])
        # Without Temporal a command writes nothing.
        await self.temporal.connect()
        results = await self.assignments.unassign(
            account,
            sku,
            users.valid,
            admin,
            datetime.now(UTC),
            cascade=cascade,
            author=self.author.acting_for(admin),
        )
        return users.rows(results)

    # Read.

    async def licenses(self, account: str) -> list[LicensePool]:
        """Return the account's pools with the holders of licenses and the users who wait."""
        return await self.assignments.licenses(account)


@dataclass(frozen=True)
class _Users:
    """The users of one request in the order given, each once, and their addresses as written."""

    given: dict[str, str]
    """Addresses as given, by normalized address; an invalid one is its own key."""
    invalid: dict[str, Refused]

    @classmethod
    def of(cls, emails: Iterable[str]) -> "_Users":
        """Parse `emails`. Raises Refused: `invalid_input`, for none or too many of them."""
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
        """The valid addresses, normalized."""
        return [email for email in self.given if email not in self.invalid]

    def wanted(self, sku: Sku, capacity: int | None, *, atomic: bool) -> list[str]:
        """Return the valid addresses; with `atomic`, only if all are valid.

        Raises Refused: `invalid_capacity`, `invalid_email`.
        """
        if capacity is not None:
            require_capacity(sku, capacity)
        if atomic:
            for refused in self.invalid.values():
                raise refused
        return self.valid

    def rows(self, results: Iterable[AssignmentResult]) -> list[AssignmentResult]:
        """Return a row for each user, in the order given."""
        by_email = {result.email: result for result in results}
        return [
            _refused_row(given, self.invalid[email])
            if email in self.invalid
            else _as_given(by_email[email], given)
            for email, given in self.given.items()
        ]

    def all_refused(self, refused: Refused) -> list[AssignmentResult]:
        """Return a refused row for each user."""
        return [_refused_row(given, refused) for given in self.given.values()]


def _refused_row(email: str, refused: Refused) -> AssignmentResult:
    return AssignmentResult(email=email, state=AssignmentState.REFUSED, error=refused.as_json())


def _as_given(result: AssignmentResult, given: str) -> AssignmentResult:
    """Return the result; a refused row shows the address as written."""
    refused = result.state is AssignmentState.REFUSED
    return result.model_copy(update={"email": given}) if refused else result
