"""Pages for people who are signed in: who may open them, and their frame."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Generic, Protocol, TypeVar

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from domain.error import ErrorCode, Refused
from portal.page import Page, PageFrame, query_of
from portal.request import (
    MAX_FIELDS,
    MAX_FORM_BYTES,
    Form,
    RequestLimits,
    form_of,
    require_same_site,
)
from portal.session import CSRF_FIELD, Person, SignedIn, require_own_form
from runtime.clients import Clients

_BAD_INPUT = frozenset(
    {
        ErrorCode.INVALID_INPUT,
        ErrorCode.INVALID_EMAIL,
        ErrorCode.INVALID_CAPACITY,
        ErrorCode.INVALID_QUANTITY,
        ErrorCode.INVALID_CYCLE,
        ErrorCode.CAPACITY_REQUIRED,
    }
)


def status_of(refused: Refused | None) -> int:
    """Return the status of a page after a refusal, or without one."""
    if refused is None:
        return HTTPStatus.OK
    if refused.code in _BAD_INPUT:
        return HTTPStatus.UNPROCESSABLE_ENTITY
    if refused.code is ErrorCode.RATE_LIMITED:
        return HTTPStatus.TOO_MANY_REQUESTS
    return HTTPStatus.CONFLICT


class Visit(Protocol):
    """A request of somebody who may open the page."""

    @property
    def request(self) -> Request:
        """The request."""

    @property
    def person(self) -> Person:
        """The person who is signed in."""

    @property
    def path(self) -> str:
        """The path before which the paths of all pages of this kind begin."""

    @property
    def locale(self) -> str | None:
        """The person's own locale."""

    @property
    def time_zone(self) -> str:
        """The zone in which times are shown."""


V = TypeVar("V", bound=Visit)

Show = Callable[[V], Awaitable[Response]]
Act = Callable[[V, Form], Awaitable[Response]]
Again = Callable[[V, Form, Refused], Awaitable[Response]]


@dataclass(frozen=True)
class SignedInPages(ABC, Generic[V]):
    """The common parts of pages that need somebody who is signed in."""

    clients: Clients
    frame: PageFrame
    limits: RequestLimits
    signed_in: SignedIn
    public_url: str

    base = ""
    """The path of the routes, with the names of their parameters."""

    @abstractmethod
    async def enter(self, request: Request) -> V:
        """Return the visit. Raises SignInRequired, and `Refused(not_found)` for all others."""

    def page(self, path: str, show: Show[V]) -> Route:
        """Return the route of a page, which changes nothing."""

        async def endpoint(request: Request) -> Response:
            await self.limits.require(request)
            return await show(await self.enter(request))

        return Route(f"{self.base}{path}", endpoint, methods=["GET"])

    def form(
        self,
        path: str,
        act: Act[V],
        again: Again[V],
        *,
        home: str = "",
        max_bytes: int = MAX_FORM_BYTES,
        max_fields: int = MAX_FIELDS,
    ) -> Route:
        """Return the route of a form: a POST acts, a GET leads to the page `home`.

        The person and their role are checked before the body is read. `home` may have the
        parameters of `path`. `again` renders the page of
        the form after a refusal, with the values that were entered.
        """

        async def endpoint(request: Request) -> Response:
            if request.method == "POST":
                require_same_site(request, self.public_url)
            await self.limits.require(request)
            visit = await self.enter(request)
            if request.method != "POST":
                return self.redirect(visit, home.format_map(request.path_params))
            form = await form_of(request, max_bytes=max_bytes, max_fields=max_fields)
            require_own_form(visit.person, form)
            try:
                return await act(visit, form)
            except Refused as refused:
                if refused.code is ErrorCode.NOT_FOUND:
                    raise
                return await again(visit, form, refused)

        return Route(f"{self.base}{path}", endpoint, methods=["GET", "POST"])

    def redirect(self, visit: V, path: str = "") -> Response:
        """Redirect to a page, so that reloading it repeats nothing."""
        return RedirectResponse(
            f"{visit.path}{path}{query_of(visit.request)}", HTTPStatus.SEE_OTHER
        )

    def respond(self, visit: V, page: Page, tab: str | None = None) -> Response:
        """Render a page; `tab` is the part of the navigation that it belongs to."""
        page.values.update(visit=visit, person=visit.person, tab=tab, csrf=csrf_input(visit.person))
        return self.frame.respond(
            visit.request, page, locales=(visit.locale,), time_zone=visit.time_zone
        )


def csrf_input(person: Person) -> Markup:
    """Return the hidden field that every form of a signed-in page has."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(
        CSRF_FIELD, person.csrf_token
    )
