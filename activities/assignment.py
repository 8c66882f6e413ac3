"""The side effects of an assignment: licenses and meetings (ASG)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import AwareDatetime
from temporalio import activity

from domain.assignment import AssignLicenses, Assignment
from domain.error import Refusal, Refused
from domain.model import Value


class CommitAssignment(Value):
    """A request to assign the free licenses, in one transaction."""

    request: AssignLicenses
    at: AwareDatetime


class ReadAssignment(Value):
    """A request to read the assignment; waiting users may have been served."""

    request: AssignLicenses


class AssignmentStore(Protocol):
    """The part of the store that a running assignment uses."""

    async def assign(self, request: AssignLicenses, at: datetime) -> Assignment:
        """Assign in one transaction, once per request id; a repeated id returns the stored request.

        Afterwards no user is `requested`. A waiting user is served in the transaction that
        frees or adds the license. The workflow is signaled `licenses_freed` when a wait ends
        (`assigned`, `refused`, `released`) or its reason changes. The letters are queued. The
        journal is empty: the workflow writes it.

        Raises Refused, with nothing changed: `not_found`, `not_authorized`,
        `target_not_paid`, `capacity_required`, `invalid_capacity`. Atomic requests also:
        `base_license_required`, `insufficient_licenses`, `not_found` (a user), each with
        `results`, an AssignmentResult for each user.
        """

    async def assignment(self, request_id: str) -> Assignment:
        """Return the stored request. Raises Refused: `not_found`."""


@dataclass(frozen=True)
class AssignmentActivities:
    """The activities of the `AddonAssignment` workflow."""

    store: AssignmentStore

    @activity.defn
    async def commit_assignment(self, request: CommitAssignment) -> Assignment | Refusal:
        """Assign licenses to users and the capacity to their meetings (ASG-3)."""
        try:
            return await self.store.assign(request.request, request.at)
        except Refused as refused:
            return Refusal.of(refused)

    @activity.defn
    async def read_assignment(self, request: ReadAssignment) -> Assignment:
        """Return the stored request."""
        return await self.store.assignment(request.request.request_id)
