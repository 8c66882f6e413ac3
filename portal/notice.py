"""Notices: the end of an invitation's reminders, and the new address of an old join link."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.link import UNSUBSCRIBE_PATH, token_of
from clients.invitee import InviteeClient
from domain.error import ErrorCode, Refused
from portal.page import Page, PageFrame
from portal.request import RequestLimits, form_of, require_same_site


@dataclass(frozen=True)
class Unsubscription:
    """The end of the reminders of one invitation (TXT-4); both raise `Refused(not_found)`."""

    read: Callable[[str], object]
    """Verifies a token."""
    end: Callable[[str], Awaitable[None]]
    """Ends the reminders; a repeat changes nothing."""


@dataclass(frozen=True)
class Notices:
    """The pages of links that are no invitation."""

    invitee: InviteeClient
    frame: PageFrame
    limits: RequestLimits
    public_url: str
    unsubscription: Unsubscription

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
        token = token_of(request.path_params["token"], UNSUBSCRIBE_PATH)
        self.unsubscription.read(token)
        done = request.method == "POST"
        if done:
            await form_of(request)
            await self.unsubscription.end(token)
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
