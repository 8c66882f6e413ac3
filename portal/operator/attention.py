"""The operators' list."""

from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import Route

from portal.operator.visit import OperatorPages, OperatorVisit
from portal.page import Page


@dataclass(frozen=True)
class AttentionPages:
    """The page of everything that waits for a person."""

    operator: OperatorPages

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [self.operator.page("", self.show)]

    async def show(self, visit: OperatorVisit) -> Response:
        """Show the operators' list."""
        page = Page("operator/attention.html", "attention")
        return self.operator.respond(visit, page, tab="attention")
