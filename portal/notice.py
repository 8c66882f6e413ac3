"""Notices: the end of an invitation's reminders, and the new address of an old join link."""

from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.link import FOLLOWING
from clients.invitee import InviteeClient
from domain.error import ErrorCode, Refused
from portal.page import Page, PageFrame
from portal.request import RequestLimits, form_of, require_same_site


class Reminders(Protocol):
    """The client that ends the reminders of one invitation."""

    async def unsubscribed(self, token: str) -> bool:
        """Return whether its reminders have ended. Raises `Refused(not_found)`."""

    async def unsubscribe(self, token: str) -> None:
        """End them; a repeat changes nothing. Raises `Refused(not_found)`."""


@dataclass(frozen=True)
class Notices:
    """The pages of links that are no invitation."""

    invitee: InviteeClient
    frame: PageFrame
    limits: RequestLimits
    public_url: str
    reminders: Reminders | None = None

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/unsubscribe/{token}", self.unsubscribe, methods=["GET", "POST"]),
            Route("/j/{meeting}", self.old_link, methods=["GET"]),
            Route("/j/{meeting}/", self.old_link, methods=["GET"]),
        ]

    async def unsubscribe(self, request: Request) -> Response:
        """End the reminders of one invitation by a POST, also by a mail program's (RFC 8058)."""
        if request.method == "POST":
            # A mail program's one-click request has no origin.
            require_same_site(request, self.public_url)
        await self.limits.require(request)
        if self.reminders is None:
            raise Refused(ErrorCode.NOT_FOUND, "This link is not valid.")
        token = request.path_params["token"].rstrip(FOLLOWING)
        done = await self.reminders.unsubscribed(token)
        if request.method == "POST":
            await form_of(request)
            await self.reminders.unsubscribe(token)
            done = True
        page = Page(
            "unsubscribe.html",
            "unsubscribe",
            state="done" if done else "open",
            values={"path": f"{self.frame.root}/unsubscribe/{token}"},
        )
        return self.frame.respond(request, page)

    async def old_link(self, request: Request) -> Response:
        """Show the new link of a meeting whose join link has changed (TRF-5)."""
        await self.limits.require(request)
        meeting = request.path_params["meeting"]
        link = await self.invitee.old_link(meeting, request.headers.get("host", ""))
        if link is None:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such link.")
        page = Page("old_link.html", "old-link", values={"link": link})
        return self.frame.respond(request, page)
