"""The invitations of an account."""

from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import Route

from portal.admin.visit import AdminPages, AdminVisit
from portal.page import Page


@dataclass(frozen=True)
class InvitationPages:
    """The pending list."""

    admin: AdminPages

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [self.admin.page("", self.show)]

    async def show(self, visit: AdminVisit) -> Response:
        """Show the invitations that have not ended."""
        live = await visit.clients.invitations.list(visit.account.id, (), None, False)
        values: dict[str, object] = {"invitations": live}
        page = Page("admin/invitations.html", "invitations", values=values)
        return self.admin.respond(visit, page, tab="invitations")
