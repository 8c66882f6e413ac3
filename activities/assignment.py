"""What an assignment does to the world: licenses, meetings, e-mails."""

from datetime import datetime
from typing import Protocol

from pydantic import AwareDatetime

from domain.assignment import AssignLicenses, Assignment
from domain.model import Value


class AssignNow(Value):
    """Assign what can be assigned, in one transaction."""

    request: AssignLicenses
    at: AwareDatetime


class LookAtAssignment(Value):
    """Look how a request stands: who waited may have been served."""

    request: AssignLicenses


class TellHolders(Value):
    """Tell users who got or lost a license since they were last told."""

    request: AssignLicenses
    assignment: Assignment


class AssignmentStore(Protocol):
    """The store, as far as a running assignment needs it."""

    async def assign(self, request: AssignLicenses, at: datetime) -> Assignment:
        """Assign in one transaction, once per request id; on repeat the request as it stands.

        Raises Refused, with nothing changed: `not_found`, `not_authorized`,
        `target_not_paid`, `capacity_required`, `invalid_capacity`; atomic requests also
        `base_license_required`, `insufficient_licenses`, `not_found` (a user).
        """

    async def assignment(self, request_id: str) -> Assignment:
        """The request as it stands. Raises Refused: `not_found`."""
