"""Guides: short pages for invitees, for admins and about large meetings, to read or print."""

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain.error import ErrorCode, Refused
from domain.license import CAPACITIES, CAPACITY_WITHOUT_ADDON, Sku
from portal.page import Page, PageFrame
from portal.request import RequestLimits

GUIDES: Final = ("invitee", "admin", "large-meetings")
"""The last parts of the guides' paths; each has a template of that name."""


@dataclass(frozen=True)
class Guides:
    """The guides; anybody may read them."""

    frame: PageFrame
    limits: RequestLimits
    public_url: str

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route("/guide/{guide}", self.show, methods=["GET"])]

    async def show(self, request: Request) -> Response:
        """Show a guide in the language asked for, else in that of the browser."""
        await self.limits.require(request)
        guide = request.path_params["guide"]
        if guide not in GUIDES:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such guide.")
        values: dict[str, object] = {
            "guide": guide,
            "public_url": self.public_url.rstrip("/"),
            "base_capacity": CAPACITY_WITHOUT_ADDON,
            "meeting_capacities": CAPACITIES[Sku.LARGE_MEETING],
            "webinar_capacities": CAPACITIES[Sku.WEBINAR],
        }
        page = Page(f"guide/{guide}.html", "guide", values=values)
        return self.frame.respond(request, page)
