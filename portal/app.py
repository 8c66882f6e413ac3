"""The portal as a web application.

Run it in a deployment with `uvicorn --factory portal.app:create --no-server-header`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clients.refund import RefundClient
from portal.webhook import StripeWebhook
from runtime.clients import open_clients
from runtime.settings import Settings, load_settings

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class SecurityHeaders:
    """Adds the security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the application's response with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def create() -> Starlette:
    """Build the portal from the settings of the environment. Raises `Refused(invalid_input)`."""
    settings = load_settings()
    # A missing secret fails the start rather than the first notification.
    secret = _webhook_secret(settings)

    @asynccontextmanager
    async def opened(app: Starlette) -> AsyncIterator[None]:
        async with open_clients(settings) as clients:
            app.router.routes.extend(_routes(secret, clients.refunds))
            yield

    return Starlette(lifespan=opened, middleware=[Middleware(SecurityHeaders)])


def portal(settings: Settings, refunds: RefundClient) -> Starlette:
    """Build the portal over open backends. Raises `Refused(invalid_input)`."""
    routes = _routes(_webhook_secret(settings), refunds)
    return Starlette(routes=routes, middleware=[Middleware(SecurityHeaders)])


def _webhook_secret(settings: Settings) -> str | None:
    return settings.stripe_webhook_secret if settings.billing == "stripe" else None


def _routes(webhook_secret: str | None, refunds: RefundClient) -> Sequence[Route]:
    routes = [Route("/health", _health, methods=["GET"])]
    if webhook_secret is not None:
        stripe = StripeWebhook(webhook_secret, refunds)
        routes.append(Route("/webhooks/stripe", stripe.receive, methods=["POST"]))
    return routes


async def _health(request: Request) -> Response:
    """Report that the portal is up; the backends are not checked."""
    return JSONResponse({"status": "ok"})
