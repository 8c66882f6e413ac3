"""The pages of one invitation, `/i/TOKEN`, and the answers of the invitee."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from adapters.link import PATH, token_of
from clients.invitee import InviteeClient, OpenedLink
from domain.error import ErrorCode, Refused
from domain.invitation import Choice, InvitationState
from domain.invitee_page import InviteePage
from domain.money import Money
from domain.preview import TransferRefused
from portal.page import Page, PageFrame, query_of
from portal.request import RequestLimits, form_of, require_same_site
from portal.session import SignedIn

GONE: Final = frozenset(
    {
        InvitationState.DECLINED,
        InvitationState.REVOKED,
        InvitationState.EXPIRED,
        InvitationState.UNDELIVERABLE,
        InvitationState.SUPERSEDED,
    }
)
"""The ends whose page has the status 410."""

_BAD_INPUT = frozenset({ErrorCode.INVALID_INPUT, ErrorCode.INVALID_EMAIL})

Form = dict[str, str]


@dataclass(frozen=True)
class UrlTemplates:
    """The URL templates of a deployment's own pages, with `{account}`."""

    billing: str | None
    users: str | None

    def of(self, account: str) -> dict[str, str | None]:
        """Return the URLs for one account."""
        return {
            "billing_url": self.billing and self.billing.replace("{account}", account),
            "users_url": self.users and self.users.replace("{account}", account),
        }


@dataclass(frozen=True)
class InviteePages:
    """The pages of invitations; a GET changes nothing, a POST is answered by a redirect."""

    client: InviteeClient
    frame: PageFrame
    limits: RequestLimits
    signed_in: SignedIn
    urls: UrlTemplates
    public_url: str
    other_methods: bool
    """True if the payment provider can refund to another payment method (REF-4)."""

    def routes(self) -> list[Route]:
        """Return the routes of the page and of its forms."""
        actions: dict[str, Callable[[OpenedLink, Form, Request], Awaitable[Response]]] = {
            "review": self._review,
            "accept": self._accept,
            "decline": self._decline,
            "recheck": self._recheck,
            "invite-members": self._invite_members,
            "refund/convert": self._convert_refund,
            "refund/retry": self._retry_refund,
        }
        return [
            *(
                Route(f"/i/{{token}}/{path}", self._posted(action), methods=["GET", "POST"])
                for path, action in actions.items()
            ),
            # Mail programs leave characters behind a link, "/" among them.
            Route("/i/{token:path}", self.show, methods=["GET"]),
        ]

    # The page.

    async def show(self, request: Request) -> Response:
        """Show the invitation as it is now."""
        link = await self._open(request)
        if link.replaced:
            return await self._replaced(request, link)
        return await self._respond(request, link)

    async def _open(self, request: Request) -> OpenedLink:
        """Return the invitation of the link. Raises Refused: `not_found`, `recipient_mismatch`."""
        try:
            link = await self.client.open(token_of(request.path_params["token"], PATH))
        except Refused:
            await self.limits.require(request)
            raise
        await self.limits.require(request, f"{link.invitation_id}/{link.number}")
        invitee = link.stored.invitation.email
        await self.signed_in.require_invitee(request, invitee, f"{PATH}{link.token}")
        return link

    async def _respond(
        self, request: Request, link: OpenedLink, refused: Refused | None = None, **values: object
    ) -> Response:
        """Render the invitation; after a refusal with its code and status."""
        return self._render(request, link, await self.client.page(link), refused, **values)

    def _render(
        self,
        request: Request,
        link: OpenedLink,
        page: InviteePage,
        refused: Refused | None = None,
        **values: object,
    ) -> Response:
        state = page.invitation.state
        template = _template_of(page)
        shown = Page(
            template,
            "invitation",
            status=_status(page, refused),
            state=state.value,
            error=refused.code.value if refused else None,
            live=not state.final,
            values=self._values(link, page) | {"refused": refused, "answer": {}, **values},
        )
        return self._framed(request, page, shown)

    def _framed(self, request: Request, page: InviteePage, shown: Page) -> Response:
        return self.frame.respond(request, shown, locales=(page.locale,), time_zone=page.time_zone)

    def _values(self, link: OpenedLink, page: InviteePage) -> dict[str, object]:
        source = page.source.id if page.source else ""
        return {
            "page": page,
            "path": f"{self.frame.root}/i/{link.token}",
            "other_methods": page.other_methods if self.other_methods else (),
            **self.urls.of(source),
        }

    async def _replaced(self, request: Request, link: OpenedLink) -> Response:
        """Render the page of a link that a resend has replaced (INV-9)."""
        page = await self.client.page(link)
        journal = reversed(page.invitation.journal)
        resent = next((entry.at for entry in journal if entry.event == "resend"), page.at)
        values: dict[str, object] = {"page": page, "resent": resent}
        shown = Page("replaced.html", "replaced", status=HTTPStatus.GONE, values=values)
        return self._framed(request, page, shown)

    # The forms.

    def _posted(
        self, act: Callable[[OpenedLink, Form, Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint of a form: a POST acts, a GET leads to the page."""

        async def endpoint(request: Request) -> Response:
            if request.method == "POST":
                require_same_site(request, self.public_url)
            link = await self._open(request)
            if request.method != "POST":
                return self._to_page(request, link)
            if link.replaced:
                return await self._replaced(request, link)
            form = await form_of(request)
            try:
                return await act(link, form, request)
            except Refused as refused:
                if refused.code is ErrorCode.NOT_FOUND:
                    raise
                return await self._respond(request, link, refused, answer=form)

        return endpoint

    def _to_page(self, request: Request, link: OpenedLink) -> Response:
        """Redirect to the page, so that reloading it repeats nothing."""
        url = f"{self.frame.root}/i/{link.token}{query_of(request)}"
        return RedirectResponse(url, HTTPStatus.SEE_OTHER)

    async def _review(self, link: OpenedLink, form: Form, request: Request) -> Response:
        """Record the binding quote, and show the consequences once more (QUO-5)."""
        choice = _choice_of(form)
        before = await self.client.page(link)
        if before.invitation.state.accepted:
            return self._to_page(request, link)
        if before.preview and not before.preview.blockers:
            _require_choice(before, choice)
        await self.client.review(link)
        page = await self.client.page(link)
        if page.preview is None:
            return self._to_page(request, link)
        return self._render_review(request, link, page, choice)

    def _render_review(
        self,
        request: Request,
        link: OpenedLink,
        page: InviteePage,
        choice: Choice | None,
        *,
        refused: Refused | None = None,
        before: Money | None = None,
    ) -> Response:
        shown = Page(
            "review.html",
            "review",
            status=HTTPStatus.CONFLICT if refused else HTTPStatus.OK,
            state=page.invitation.state.value,
            error=refused.code.value if refused else None,
            values=self._values(link, page)
            | {"choice": choice, "refused": refused, "before": before},
        )
        return self._framed(request, page, shown)

    async def _accept(self, link: OpenedLink, form: Form, request: Request) -> Response:
        """Accept at the amount that was shown; a newer quote is shown first (QUO-5)."""
        choice, shown = _choice_of(form), _shown_amount(form)
        try:
            await self.client.accept(link, choice, shown)
        except Refused as refused:
            if refused.code is not ErrorCode.QUOTE_EXPIRED:
                raise
            page = await self.client.page(link)
            if page.preview is None:
                return self._to_page(request, link)
            return self._render_review(request, link, page, choice, refused=refused, before=shown)
        return self._to_page(request, link)

    async def _decline(self, link: OpenedLink, form: Form, request: Request) -> Response:
        await self.client.decline(link, form.get("reason"))
        return self._to_page(request, link)

    async def _recheck(self, link: OpenedLink, form: Form, request: Request) -> Response:
        await self.client.recheck(link)
        return self._to_page(request, link)

    async def _invite_members(self, link: OpenedLink, form: Form, request: Request) -> Response:
        results = await self.client.invite_members(link)
        refused = [row for row in results if row.error]
        if refused:
            return await self._respond(request, link, invited=results)
        return self._to_page(request, link)

    async def _convert_refund(self, link: OpenedLink, form: Form, request: Request) -> Response:
        if await self._refund_failed(link):
            await self.client.convert_refund(link)
        return self._to_page(request, link)

    async def _retry_refund(self, link: OpenedLink, form: Form, request: Request) -> Response:
        page = await self.client.page(link)
        methods = {each.id for each in page.other_methods} if self.other_methods else set()
        if form.get("method") not in methods:
            raise Refused(ErrorCode.INVALID_INPUT, "Choose one of the payment methods.")
        if await self._refund_failed(link):
            await self.client.retry_refund(link, form["method"])
        return self._to_page(request, link)

    async def _refund_failed(self, link: OpenedLink) -> bool:
        """Return whether a part still waits for a decision: a second click finds none."""
        refund = (await self.client.page(link)).refund
        return refund is not None and refund.failed.amount > 0


def _template_of(page: InviteePage) -> str:
    state = page.invitation.state
    if state.accepted:
        return "joined.html"
    if state.final:
        return "ended.html"
    blocked = page.preview is not None and page.preview.blockers
    return "blocked.html" if blocked else "invitation.html"


def _status(page: InviteePage, refused: Refused | None) -> int:
    if refused is None:
        return HTTPStatus.GONE if page.invitation.state in GONE else HTTPStatus.OK
    if refused.code in _BAD_INPUT:
        return HTTPStatus.UNPROCESSABLE_ENTITY
    if refused.code is ErrorCode.RATE_LIMITED:
        return HTTPStatus.TOO_MANY_REQUESTS
    return HTTPStatus.CONFLICT


def _choice_of(form: Form) -> Choice | None:
    named = form.get("choice", "")
    if not named:
        return None
    try:
        return Choice(named)
    except ValueError:
        raise Refused(ErrorCode.INVALID_INPUT, "Choose refund or transfer.") from None


def _require_choice(page: InviteePage, choice: Choice | None) -> None:
    """Raise Refused unless the choice is one that the page offers (QUO-4, QUO-6)."""
    preview = page.preview
    if preview is None or preview.refund is None:
        return
    if choice is None:
        raise Refused(ErrorCode.CHOICE_REQUIRED, "Choose what happens to the unused value.")
    if choice is Choice.TRANSFER and isinstance(preview.transfer, TransferRefused):
        raise Refused(ErrorCode.CURRENCY_MISMATCH, "The account pays in another currency.")


def _shown_amount(form: Form) -> Money | None:
    """Return the amount of the review page that was posted, if any."""
    amount, _, currency = form.get("shown", "").partition(" ")
    try:
        return Money(amount=Decimal(amount), currency=currency) if currency else None
    except InvalidOperation:
        raise Refused(ErrorCode.INVALID_INPUT, "The amount is not a number.") from None
