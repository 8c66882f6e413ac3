"""What an assignment does to the world: licenses, meetings, e-mails."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import AwareDatetime
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.letter import Post, Undeliverable, send_patiently
from domain.assignment import AssignLicenses, Assignment, AssignmentResult
from domain.letter.license import HolderParties, license_letters
from domain.license import Sku
from domain.model import Value


class AssignNow(Value):
    """Assign what can be assigned, in one transaction."""

    request: AssignLicenses
    at: AwareDatetime


class LookAtAssignment(Value):
    """Look how a request stands: who waited may have been served."""

    request: AssignLicenses


class TellHolders(Value):
    """Tell users of the license that they have got or lost, once for each notice."""

    notice: str
    """The id of the notice: its letters are sent once."""
    account: str
    sku: Sku
    results: tuple[AssignmentResult, ...]
    """Who is told, and of what."""
    asked_by: str
    waited: tuple[AssignmentResult, ...] = ()
    """Who had to wait, once nobody waits any more: the admin who asked is told of them."""

    @property
    def workflow_id(self) -> str:
        """One run for each notice."""
        return f"notice/{self.account}/{self.notice}"


class AssignmentStore(Protocol):
    """The store, as far as a running assignment needs it."""

    async def assign(self, request: AssignLicenses, at: datetime) -> Assignment:
        """Assign in one transaction, once per request id; on repeat the request as it stands.

        Afterwards nobody in it is `requested`. Who waits is served in the transaction that
        frees or brings what they wait for; the workflow is then signalled `licenses_freed`,
        as it is when their waiting ends otherwise (`refused`, `released`) or they wait for
        something else. The journal is empty: the workflow writes it.

        Raises Refused, with nothing changed: `not_found`, `not_authorized`,
        `target_not_paid`, `capacity_required`, `invalid_capacity`; atomic requests also
        `base_license_required`, `insufficient_licenses`, `not_found` (a user), which have
        `results`, an AssignmentResult for each user, beside code and message.
        """

    async def assignment(self, request_id: str) -> Assignment:
        """The request as it stands. Raises Refused: `not_found`."""

    async def holder_parties(
        self, account: str, emails: Sequence[str], asked_by: str
    ) -> HolderParties:
        """Whom an assignment concerns, as the directory knows them now; who is unknown is left out.

        Raises Refused: `not_found` (the account).
        """


@dataclass(frozen=True)
class AssignmentActivities:
    """The side effects of the `AddonAssignment` workflow."""

    store: AssignmentStore
    post: Post

    @activity.defn
    async def assign_now(self, order: AssignNow) -> Assignment:
        """Claim licenses for users and give their meetings the capacity, at once (ASG-3)."""
        return await self.store.assign(order.request, order.at)

    @activity.defn
    async def look_at_assignment(self, order: LookAtAssignment) -> Assignment:
        """How the request stands now."""
        return await self.store.assignment(order.request.request_id)

    @activity.defn
    async def tell_holders(self, order: TellHolders) -> None:
        """Tell each user in their language; one who cannot be told keeps nobody else waiting."""
        emails = [result.email for result in order.results]
        parties = await self.store.holder_parties(order.account, emails, order.asked_by)
        not_taken: ApplicationError | None = None
        for letter in license_letters(
            order.notice, order.sku, order.results, order.waited, parties
        ):
            try:
                await send_patiently(self.post, letter)
            except Undeliverable as refused:
                activity.logger.warning("letter %s was refused: %s", letter.event, refused)
            except ApplicationError as failure:
                not_taken = failure
        if not_taken:
            raise not_taken
