"""The frame of an account's pages, and the people who may open them."""

from dataclasses import dataclass, replace

from starlette.requests import Request

from domain.session import AdministeredAccount
from portal.session import Person
from portal.visit import SignedInPages
from runtime.clients import Clients


@dataclass(frozen=True)
class AdminVisit:
    """A request of an owner or admin of an account, or of an operator."""

    request: Request
    person: Person
    account: AdministeredAccount
    clients: Clients
    """The clients to act with: for an operator, they name the operator in the journal (OPS-8)."""
    by: str
    """The admin in whose name actions are: the person, or for an operator the owner."""
    path: str
    """The path of the account's pages."""

    @property
    def locale(self) -> str | None:
        """Return the person's own locale."""
        return self.account.locale

    @property
    def time_zone(self) -> str:
        """Return the account's time zone."""
        return self.account.time_zone

    @property
    def as_operator(self) -> bool:
        """Return whether the person is here as an operator, not as an owner or admin."""
        return self.account.role is None or not self.account.role.administers


class AdminPages(SignedInPages[AdminVisit]):
    """The pages of accounts, opened by their owners and admins, and by operators."""

    base = "/admin/{account}"

    async def enter(self, request: Request) -> AdminVisit:
        """Return the visit, with the role that the person has now.

        Raises SignInRequired; `Refused(not_found)` for an account that is not theirs, as for one
        that does not exist.
        """
        person = await self.signed_in.require(request)
        account = await self.clients.sessions.account(request.path_params["account"], person.email)
        visit = AdminVisit(
            request=request,
            person=person,
            account=account,
            clients=self.clients,
            by=person.email,
            path=f"{self.frame.root}/admin/{account.id}",
        )
        if not visit.as_operator:
            return visit
        return replace(
            visit,
            clients=self.clients.by_operator(person.email),
            by=account.owner or person.email,
        )
