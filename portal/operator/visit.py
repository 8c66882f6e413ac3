"""The frame of the operators' pages."""

from dataclasses import dataclass

from starlette.requests import Request

from domain.error import ErrorCode, Refused
from portal.session import Person
from portal.visit import SignedInPages
from runtime.clients import Clients


@dataclass(frozen=True)
class OperatorVisit:
    """A request of an operator."""

    request: Request
    person: Person
    clients: Clients
    """The clients to act with: they name the operator in the journal (OPS-8)."""
    path: str
    """The path of the operators' pages."""
    locale: str | None = None
    time_zone: str = "UTC"


class OperatorPages(SignedInPages[OperatorVisit]):
    """The pages of operators; for everybody else they do not exist."""

    base = "/operator"

    async def enter(self, request: Request) -> OperatorVisit:
        """Return the visit. Raises SignInRequired; `Refused(not_found)` for all others."""
        person = await self.signed_in.require(request)
        if not person.is_operator:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such page.")
        return OperatorVisit(
            request=request,
            person=person,
            clients=self.clients.by_operator(person.email),
            path=f"{self.frame.root}/operator",
        )
