"""The side effects of an assignment: licenses, meetings, letters (ASG)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pydantic import AwareDatetime
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.letter import Mailer, send_or_log
from domain.assignment import AssignLicenses, Assignment, AssignmentResult
from domain.letter.license import HolderParties, license_letters
from domain.license import Sku
from domain.model import Value


class CommitAssignment(Value):
    """A request to assign the free licenses, in one transaction."""

    request: AssignLicenses
    at: AwareDatetime


class ReadAssignment(Value):
    """A request to read the assignment; waiting users may have been served."""

    request: AssignLicenses


class NotifyHolders(Value):
    """A request to notify users of a license assigned or released, once for each notice."""

    kind: Literal["assignment"] = "assignment"
    notice: str
    """The id of the notice; its letters are sent once."""
    account: str
    sku: Sku
    results: tuple[AssignmentResult, ...]
    """The users to notify, and their results."""
    requested_by: str
    waited: tuple[AssignmentResult, ...] = ()
    """The results of the users who had to wait, once no user waits any longer.

    The admin who requested the assignment is notified of them.
    """

    @property
    def workflow_id(self) -> str:
        """The workflow id: one run for each notice."""
        return f"notice/{self.account}/{self.notice}"


class AssignmentStore(Protocol):
    """The part of the store that a running assignment uses."""

    async def assign(self, request: AssignLicenses, at: datetime) -> Assignment:
        """Assign in one transaction, once per request id; a repeated id returns the stored request.

        Afterwards no user is `requested`. A waiting user is served in the transaction that
        frees or adds the license. The workflow is signaled `licenses_freed` when a wait ends
        (`assigned`, `refused`, `released`) or its reason changes. The journal is empty: the
        workflow writes it.

        Raises Refused, with nothing changed: `not_found`, `not_authorized`,
        `target_not_paid`, `capacity_required`, `invalid_capacity`. Atomic requests also:
        `base_license_required`, `insufficient_licenses`, `not_found` (a user), each with
        `results`, an AssignmentResult for each user.
        """

    async def assignment(self, request_id: str) -> Assignment:
        """Return the stored request. Raises Refused: `not_found`."""

    async def holder_parties(
        self, account: str, emails: Sequence[str], requested_by: str
    ) -> HolderParties:
        """Return the people concerned, as the directory has them now; unknown users are left out.

        Raises Refused: `not_found` (the account).
        """


@dataclass(frozen=True)
class AssignmentActivities:
    """The activities of the `AddonAssignment` workflow."""

    store: AssignmentStore
    mailer: Mailer

    @activity.defn
    async def commit_assignment(self, request: CommitAssignment) -> Assignment:
        """Assign licenses to users and the capacity to their meetings (ASG-3)."""
        return await self.store.assign(request.request, request.at)

    @activity.defn
    async def read_assignment(self, request: ReadAssignment) -> Assignment:
        """Return the stored request."""
        return await self.store.assignment(request.request.request_id)

    @activity.defn
    async def notify_holders(self, request: NotifyHolders) -> None:
        """Notify each user in their language; a failed letter does not delay the others."""
        emails = [result.email for result in request.results]
        parties = await self.store.holder_parties(request.account, emails, request.requested_by)
        failure: ApplicationError | None = None
        for letter in license_letters(
            request.notice, request.sku, request.results, request.waited, parties
        ):
            try:
                await send_or_log(self.mailer, letter)
            except ApplicationError as error:
                failure = error
        if failure:
            raise failure
