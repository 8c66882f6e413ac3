"""Sign-in by an OpenID Connect provider."""

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from itsdangerous import BadData, URLSafeTimedSerializer
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from adapters.oidc import OidcProvider, OidcStarted
from domain.error import ErrorCode, Refused
from domain.session import local_path
from portal.page import Page, PageFrame
from portal.request import RequestLimits
from portal.session import COOKIE
from portal.sign_in import AFTER_PROVIDER, SignInPages

STARTED: Final = "seatflow_sign_in"
"""The cookie that binds the answer of the provider to the browser that has asked."""
STARTED_SECONDS: Final = 600

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OidcPages:
    """The beginning and the end of a sign-in at the provider."""

    provider: OidcProvider
    pages: SignInPages
    frame: PageFrame
    limits: RequestLimits
    started: URLSafeTimedSerializer

    def routes(self) -> list[Route]:
        """Return the routes, which come before those of links."""
        return [
            Route("/sign-in/oidc", self.start, methods=["GET"]),
            Route("/sign-in/oidc/callback", self.finish, methods=["GET"]),
        ]

    async def start(self, request: Request) -> Response:
        """Redirect to the provider."""
        await self.limits.require(request)
        next_path = local_path(request.query_params.get("next", ""), *AFTER_PROVIDER)
        url, started = await self.provider.start(next_path)
        response = RedirectResponse(url, HTTPStatus.SEE_OTHER)
        response.set_cookie(
            STARTED,
            str(self.started.dumps(started.model_dump(mode="json"))),
            max_age=STARTED_SECONDS,
            path=self._path,
            secure=self.pages.cookie.secure,
            httponly=True,
            samesite="lax",
        )
        return response

    async def finish(self, request: Request) -> Response:
        """Open a session for the person whom the provider has verified."""
        await self.limits.require(request)
        try:
            started = self._started(request)
            email = await self.provider.finish(started, request.query_params)
        except Refused as refused:
            log.warning("%s", refused.message)
            response: Response = self.frame.respond(request, _FAILED)
        else:
            opened = await self.pages.client.open(email, request.cookies.get(COOKIE), started.next)
            response = await self.pages.welcome(request, opened)
        response.delete_cookie(STARTED, path=self._path)
        return response

    def _started(self, request: Request) -> OidcStarted:
        try:
            kept = self.started.loads(request.cookies.get(STARTED, ""), max_age=STARTED_SECONDS)
            return OidcStarted.model_validate(kept)
        except (BadData, ValidationError):
            raise Refused(
                ErrorCode.NOT_AUTHORIZED, "The sign-in failed: this browser has begun none."
            ) from None

    @property
    def _path(self) -> str:
        return f"{self.frame.root}/sign-in/oidc"


_FAILED: Final = Page(
    "sign_in_failed.html",
    "sign-in",
    status=HTTPStatus.FORBIDDEN,
    state="failed",
    error=ErrorCode.NOT_AUTHORIZED.value,
)
