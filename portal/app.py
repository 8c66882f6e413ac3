"""The portal as a web application.

Run it in a deployment with
`uvicorn --factory portal.app:create --no-server-header --no-proxy-headers`.
"""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlsplit

from itsdangerous import URLSafeTimedSerializer
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send

from domain.error import ErrorCode, Refused, Unavailable
from portal.admin.account import AccountPages
from portal.admin.invitations import InvitationPages
from portal.admin.invite import InvitePages
from portal.admin.licenses import LicensePages
from portal.admin.orders import OrderPages
from portal.admin.timeline import TimelinePages
from portal.admin.visit import AdminPages
from portal.guide import Guides
from portal.invitee import InviteePages, UrlTemplates
from portal.notice import Notices
from portal.operator.attention import AttentionPages
from portal.operator.audit import AuditPages
from portal.operator.refunds import RefundPages
from portal.operator.search import SearchPages
from portal.operator.visit import OperatorPages
from portal.page import STATIC, Page, PageFrame, query_of
from portal.request import (
    CrossSite,
    Proxies,
    RequestLimits,
    TokenFilter,
    TooManyRequests,
    without_nul,
)
from portal.session import SessionCookie, SignedIn, SignInBy, SignInRequired, StaleForm
from portal.sign_in import SignInPages
from portal.webhook import StripeWebhook
from runtime.clients import Clients, open_clients
from runtime.process import exit_process
from runtime.settings import Settings, load_settings

SECURITY_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}

CACHED: Final = "public, max-age=31536000, immutable"
"""For stylesheet and script: their addresses contain a hash of their content."""

BAD_SETTINGS: Final = 2
"""Exit status, as of the worker."""

_NO_NUL: Final = quote(without_nul("\0")).encode()

log = logging.getLogger(__name__)


class Portal:
    """The application: removes the path of the public URL, and adds the security headers.

    NUL in an address becomes a space: a database would refuse it.
    """

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app = app
        self._root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the application's response with the headers."""
        is_static = False
        if scope["type"] == "http":
            path = without_nul(scope["path"])
            if self._root and path.startswith(f"{self._root}/"):
                path = path.removeprefix(self._root)
            query = scope.get("query_string", b"").replace(b"%00", _NO_NUL)
            scope = {**scope, "path": path, "raw_path": path.encode(), "query_string": query}
            is_static = path.startswith("/static/")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                if is_static and message["status"] == HTTPStatus.OK:
                    headers["Cache-Control"] = CACHED
            await send(message)

        await self._app(scope, receive, send_with_headers)


def create() -> ASGIApp:
    """Build the portal from the settings of the environment.

    Ends the process with status 2 when a setting is invalid, or the id key is another database's.
    """
    with _exit_when_refused():
        settings = load_settings()
        # A missing secret fails the start rather than the first notification.
        _webhook_secret(settings)
    for name in ("uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).addFilter(TokenFilter())

    @asynccontextmanager
    async def opened(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            with _exit_when_refused():
                clients = await stack.enter_async_context(open_clients(settings))
            app.router.routes.extend(_routes(clients))
            yield

    return _portal(settings, [], opened)


@contextmanager
def _exit_when_refused() -> Iterator[None]:
    """Log a refusal and end the process; uvicorn would print a traceback and choose the status."""
    try:
        yield
    except Refused as refused:
        log.error("%s", refused.message)
        exit_process(BAD_SETTINGS)


def portal(clients: Clients) -> ASGIApp:
    """Build the portal over open backends. Raises `Refused(invalid_input)`."""
    return _portal(clients.settings, _routes(clients))


def _portal(
    settings: Settings,
    routes: list[BaseRoute],
    lifespan: Lifespan[Starlette] | None = None,
) -> ASGIApp:
    errors = _ErrorPages(_frame(settings))
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={
            SignInRequired: errors.sign_in,
            StaleForm: errors.respond,
            HTTPException: errors.respond,
            Refused: errors.respond,
            CrossSite: errors.respond,
            TooManyRequests: errors.respond,
            Unavailable: errors.respond,
            Exception: errors.respond,
        },
    )
    app.router.redirect_slashes = False
    return Portal(app, _root(settings))


def _root(settings: Settings) -> str:
    return urlsplit(settings.public_url).path.rstrip("/")


def _frame(settings: Settings) -> PageFrame:
    return PageFrame(_root(settings), settings.support_contact)


def _webhook_secret(settings: Settings) -> str | None:
    return settings.stripe_webhook_secret if settings.billing == "stripe" else None


def _routes(clients: Clients) -> list[BaseRoute]:
    settings = clients.settings
    frame, proxies = _frame(settings), Proxies(settings.trusted_proxies)
    limits = RequestLimits(clients.store.request_counts, proxies, settings.id_key)
    signed_in = SignedIn(
        client=clients.sessions,
        by=_sign_in_by(settings),
        header=settings.trusted_user_header,
        proxies=proxies,
        key=settings.secret_keys[0].encode(),
    )
    pages = InviteePages(
        client=clients.invitee,
        frame=frame,
        limits=limits,
        signed_in=signed_in,
        urls=UrlTemplates(settings.billing_url, settings.users_url),
        public_url=settings.public_url,
        # Stripe refunds to the original method only.
        other_methods=settings.billing == "ledger",
    )
    notices = Notices(clients.invitee, frame, limits, settings.public_url)
    routes: list[BaseRoute] = [
        Route("/health", _health, methods=["GET"]),
        *pages.routes(),
        *notices.routes(),
        *_sign_in_routes(clients, frame, limits, signed_in),
        *Guides(frame, limits, settings.public_url).routes(),
        *_admin_routes(AdminPages(clients, frame, limits, signed_in, settings.public_url)),
        *_operator_routes(OperatorPages(clients, frame, limits, signed_in, settings.public_url)),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    if (secret := _webhook_secret(settings)) is not None:
        stripe = StripeWebhook(secret, clients.refunds, clients.store.reversals)
        routes.append(Route("/webhooks/stripe", stripe.receive, methods=["POST"]))
    return routes


def _sign_in_by(settings: Settings) -> SignInBy:
    if settings.trusted_user_header is not None:
        return SignInBy.PROXY
    return SignInBy.OIDC if settings.oidc_issuer else SignInBy.LINK


def _sign_in_routes(
    clients: Clients, frame: PageFrame, limits: RequestLimits, signed_in: SignedIn
) -> list[Route]:
    settings = clients.settings
    cookie = SessionCookie(frame.root, secure=settings.public_url.startswith("https://"))
    pages = SignInPages(clients.sessions, frame, limits, signed_in, cookie, settings.public_url)
    if signed_in.by is not SignInBy.OIDC:
        return pages.routes()
    assert settings.oidc_issuer and settings.oidc_client_id and settings.oidc_client_secret
    # Loaded only where it is used.
    from adapters.oidc import OidcProvider
    from portal.oidc import OidcPages

    provider = OidcProvider(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret.get_secret_value(),
        redirect_uri=f"{settings.public_url}/sign-in/oidc/callback",
    )
    # itsdangerous signs with the last key of its list.
    keys = list(reversed(settings.secret_keys))
    started = URLSafeTimedSerializer(keys, salt="sign-in at a provider")
    return [*OidcPages(provider, pages, frame, limits, started).routes(), *pages.routes()]


def _admin_routes(admin: AdminPages) -> list[Route]:
    listing = InvitationPages(admin)
    return [
        *listing.routes(),
        *InvitePages(admin, listing).routes(),
        *TimelinePages(admin).routes(),
        *LicensePages(admin).routes(),
        *OrderPages(admin).routes(),
        *AccountPages(admin).routes(),
    ]


def _operator_routes(operator: OperatorPages) -> list[Route]:
    # Stripe refunds to the original method only.
    other_methods = operator.clients.settings.billing == "ledger"
    return [
        *AttentionPages(operator).routes(),
        *RefundPages(operator, other_methods).routes(),
        *SearchPages(operator).routes(),
        *AuditPages(operator).routes(),
    ]


async def _health(request: Request) -> Response:
    """Report that the portal is up; the backends are not checked."""
    return JSONResponse({"status": "ok"})


class _ErrorPages:
    """The pages of requests that have no page of their own."""

    def __init__(self, frame: PageFrame) -> None:
        self._frame = frame

    async def respond(self, request: Request, error: Exception) -> Response:
        """Respond with the page of an error."""
        return self._frame.respond(request, _error_page(error))

    async def sign_in(self, request: Request, error: Exception) -> Response:
        """Redirect to the sign-in page, and back to this page afterwards."""
        query, back = query_of(request), error.back if isinstance(error, SignInRequired) else None
        if back is None and request.method == "GET":
            back = quote(request.scope["path"])
            if request.url.query:
                back += f"?{request.url.query}"
        if back:
            query += f"{'&' if query else '?'}next={quote(back, safe='')}"
        url = f"{self._frame.root}/sign-in{query}"
        return RedirectResponse(url, HTTPStatus.SEE_OTHER)


def _error_page(error: Exception) -> Page:
    match error:
        case HTTPException(status_code=HTTPStatus.NOT_FOUND) | Refused(code=ErrorCode.NOT_FOUND):
            return Page("not_found.html", "not-found", HTTPStatus.NOT_FOUND)
        case Refused(code=ErrorCode.RECIPIENT_MISMATCH as code):
            return _error("mismatch.html", HTTPStatus.FORBIDDEN, code)
        case Refused(code=code):
            return _error("error.html", HTTPStatus.CONFLICT, code)
        case CrossSite():
            return _error("cross_site.html", HTTPStatus.FORBIDDEN, ErrorCode.NOT_AUTHORIZED)
        case StaleForm():
            return _error("stale_form.html", HTTPStatus.FORBIDDEN, ErrorCode.NOT_AUTHORIZED)
        case TooManyRequests(retry_after=seconds):
            code, headers = ErrorCode.RATE_LIMITED, {"Retry-After": str(seconds)}
            page = _error("too_many.html", HTTPStatus.TOO_MANY_REQUESTS, code, headers)
            page.values["seconds"] = seconds
        case HTTPException(status_code=status, headers=headers):
            page = _error("error.html", status, ErrorCode.INVALID_INPUT, headers)
        case _:
            log.warning("a page is unavailable: %s", type(error).__name__)
            code, headers = ErrorCode.BACKEND_UNAVAILABLE, {"Retry-After": "10"}
            page = _error("unavailable.html", HTTPStatus.SERVICE_UNAVAILABLE, code, headers)
    return page


def _error(
    template: str, status: int, code: ErrorCode, headers: Mapping[str, str] | None = None
) -> Page:
    return Page(template, "error", status, error=code.value, headers=dict(headers or {}))
