"""Notices: the end of an invitation's reminders, and the new address of an old join link."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.link import TRAILING, UNSUBSCRIBE_PATH, token_of
from clients.invitee import InviteeClient
from domain.error import ErrorCode, Refused
from portal.page import Page, PageFrame
from portal.request import RequestLimits, form_of, require_same_site


@dataclass(frozen=True)
class Notices:
    """The pages of links that are no invitation."""

    invitee: InviteeClient
    frame: PageFrame
    limits: RequestLimits
    public_url: str

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/unsubscribe/{token:path}", self.unsubscribe, methods=["GET", "POST"]),
            Route("/j/{meeting:path}", self.old_link, methods=["GET"]),
        ]

    async def unsubscribe(self, request: Request) -> Response:
        """End the reminders of one invitation by a POST, also by a mail program's (RFC 8058)."""
        if request.method == "POST":
            # A mail program's one-click request has no origin.
            require_same_site(request, self.public_url)
        token = token_of(request.path_params["token"], UNSUBSCRIBE_PATH)
        try:
            stored = await self.invitee.reminded(token)
        except Refused:
            await self.limits.require(request)
            raise
        await self.limits.require(request, f"unsubscribe/{stored.invitation_id}")
        if request.method == "POST":
            await form_of(request)
            await self.invitee.end_reminders(token)
        done = request.method == "POST" or stored.invitation.reminders_ended
        notice = await self.invitee.reminder_page(stored)
        page = Page(
            "unsubscribe.html",
            "unsubscribe",
            state="done" if done else "open",
            values={"path": f"{self.frame.root}/unsubscribe/{token}", "page": notice},
        )
        return self.frame.respond(
            request, page, locales=(notice.locale,), time_zone=notice.time_zone
        )

    async def old_link(self, request: Request) -> Response:
        """Show the new link of a meeting whose join link has changed (TRF-5)."""
        await self.limits.require(request)
        meeting = request.path_params["meeting"].rstrip(TRAILING)
        link = await self.invitee.old_link(meeting, request.url.hostname or "")
        if link is None:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such link.")
        page = Page("old_link.html", "old-link", values={"link": link})
        return self.frame.respond(request, page)
