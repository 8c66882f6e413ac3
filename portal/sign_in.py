"""The pages on which admins and operators sign in and out."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from adapters.link import SIGN_IN_PATH, token_of
from clients.session import OpenedSession, SessionClient
from domain.address import normalized
from domain.error import ErrorCode, Refused
from domain.session import local_path
from portal.page import Page, PageFrame, query_of
from portal.request import Form, RequestLimits, TooManyRequests, form_of, require_same_site
from portal.session import (
    COOKIE,
    Person,
    SessionCookie,
    SignedIn,
    SignInBy,
    require_own_form,
)
from portal.visit import csrf_input, status_of

AFTER_LINK: Final = ("/admin", "/operator")
"""The beginnings of the paths to which a link in an e-mail leads back."""

AFTER_PROVIDER: Final = (*AFTER_LINK, "/i")
"""With a provider, invitees sign in as well, and go back to their page (INV-13)."""


@dataclass(frozen=True)
class SignInPages:
    """The pages of sign-in links, and the end of a session."""

    client: SessionClient
    frame: PageFrame
    limits: RequestLimits
    signed_in: SignedIn
    cookie: SessionCookie
    public_url: str

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/sign-in", self.sign_in, methods=["GET", "POST"]),
            Route("/sign-in/{token:path}", self.link, methods=["GET", "POST"]),
            Route("/sign-out", self.sign_out, methods=["GET", "POST"]),
        ]

    # The link.

    async def sign_in(self, request: Request) -> Response:
        """Show the form, or send a link: with the same answer for every address."""
        if request.method == "POST":
            return await self._request_link(request)
        await self.limits.require(request)
        person = await self.signed_in.find(request)
        next_path = local_path(request.query_params.get("next", ""), *self._roots)
        if person and (home := await self._home(person.email)):
            return self._redirect(request, next_path or home)
        return self._respond(request, self._form(next_path, person=person))

    async def _request_link(self, request: Request) -> Response:
        require_same_site(request, self.public_url)
        await self.limits.require(request)
        form = await form_of(request)
        self._require_links()
        next_path = local_path(form.get("next", ""), *AFTER_LINK)
        given = form.get("email", "")
        try:
            email = normalized(given)
        except Refused as refused:
            return self._respond(request, self._form(next_path, given, refused))
        try:
            await self.limits.require_sign_in(request, email)
        except TooManyRequests as beyond:
            many = Refused(ErrorCode.RATE_LIMITED, "Too many sign-ins.")
            page = self._form(next_path, given, many, minutes=max(1, beyond.retry_after // 60))
            page.headers["Retry-After"] = str(beyond.retry_after)
            return self._respond(request, page)
        await self.client.request_link(email, next_path)
        sent = Page("sign_in_sent.html", "sign-in", state="sent", values={"email": email})
        return self._respond(request, sent)

    def _form(
        self,
        next_path: str | None,
        email: str = "",
        refused: Refused | None = None,
        *,
        person: Person | None = None,
        minutes: int = 0,
    ) -> Page:
        return Page(
            "sign_in.html",
            "sign-in",
            status=status_of(refused),
            state="open",
            error=refused.code.value if refused else None,
            values={
                "next": next_path or "",
                "email": email,
                "refused": refused,
                "minutes": minutes,
                "person": person,
                "csrf": csrf_input(person) if person else "",
                "by": self.signed_in.by.value,
            },
        )

    @property
    def _roots(self) -> tuple[str, ...]:
        return AFTER_LINK if self.signed_in.by is SignInBy.LINK else AFTER_PROVIDER

    def _require_links(self) -> None:
        """Raise `Refused(not_found)` where people sign in at a provider or at a proxy."""
        if self.signed_in.by is not SignInBy.LINK:
            raise Refused(ErrorCode.NOT_FOUND, "People do not sign in by links.")

    async def link(self, request: Request) -> Response:
        """Show one button, and sign in by a POST: scanners of links consume nothing."""
        if request.method == "POST":
            require_same_site(request, self.public_url)
        token = token_of(request.path_params["token"], SIGN_IN_PATH)
        # Before the limit of the link, so that guessed links have none.
        try:
            self._require_links()
            link_id = self.client.signer.read_sign_in(token)
        except Refused:
            await self.limits.require(request)
            raise
        await self.limits.require(request, f"sign-in/{link_id}")
        try:
            if request.method != "POST":
                link = await self.client.read_link(token)
                values: dict[str, object] = {
                    "email": link.email,
                    "path": f"{self.frame.root}{SIGN_IN_PATH}{token}",
                }
                page = Page("sign_in_link.html", "sign-in", state="link", values=values)
                return self._respond(request, page)
            await form_of(request)
            opened = await self.client.use_link(token, request.cookies.get(COOKIE))
        except Refused:
            used = Page("sign_in_used.html", "sign-in", status=HTTPStatus.GONE, state="used")
            return self._respond(request, used)
        return await self.welcome(request, opened)

    async def welcome(self, request: Request, opened: OpenedSession) -> Response:
        """Give the cookie of a new session, and go on to the page that was asked for, or home."""
        home = await self._home(opened.email)
        next_path = local_path(opened.next or "", *self._roots)
        response = self._redirect(request, next_path or home or "/sign-in")
        self.cookie.give(response, opened)
        return response

    async def _home(self, email: str) -> str | None:
        """Return the page on which a person begins; None if they are no admin and no operator."""
        if self.client.is_operator(email):
            return "/operator"
        account = await self.client.administered(email)
        return f"/admin/{account}" if account else None

    # The end.

    async def sign_out(self, request: Request) -> Response:
        """Revoke the session."""
        if request.method == "POST":
            require_same_site(request, self.public_url)
        await self.limits.require(request)
        response = self._redirect(request, "/sign-in")
        if request.method != "POST":
            return response
        person = await self.signed_in.find(request)
        if person and person.has_session:
            form: Form = await form_of(request)
            require_own_form(person, form)
            await self.client.sign_out(request.cookies[COOKIE])
        self.cookie.take(response)
        return response

    def _redirect(self, request: Request, path: str) -> Response:
        query = "" if "?" in path else query_of(request)
        return RedirectResponse(f"{self.frame.root}{path}{query}", HTTPStatus.SEE_OTHER)

    def _respond(self, request: Request, page: Page) -> Response:
        return self.frame.respond(request, page)
