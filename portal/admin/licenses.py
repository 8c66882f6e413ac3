"""The users of an account and their licenses."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Literal
from urllib.parse import urlencode

from itsdangerous import BadData, URLSafeSerializer
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from domain.account import Role
from domain.assignment import AssignmentResult, AssignmentState
from domain.error import ErrorCode, Refused
from domain.license import Sku, parse_capacity
from domain.license_page import PageOfUsers, UserLicenses, UserOfResult
from domain.remedy import Removal
from domain.text import WHOLE_NUMBER
from portal.admin.visit import AdminPages, AdminVisit
from portal.page import Page, query_of
from portal.request import Form
from portal.visit import status_of

_MAX_FIELDS: Final = 300
"""More than one request may name, so that the refusal of too many users says so."""
_LONGEST_NUMBER: Final = 15

Kind = Literal["give", "take", "unlink", "delete"]


@dataclass(frozen=True)
class Outcome:
    """The result of a change for one user."""

    email: str
    name: str | None
    number: int | None
    """None for an address that is not on the account."""
    state: str
    code: str | None = None
    """The reason of a user who was refused or waits."""
    held_before: bool = False
    meetings: int = 0
    """The meetings that lose the capacity of the license, or would lose it."""
    webinars: int = 0
    topics: tuple[str, ...] = ()
    """The names of these meetings and webinars."""

    @property
    def shown_name(self) -> str:
        """Return the name, or the address of a person without one."""
        return self.name or self.email


@dataclass(frozen=True)
class LicenseChange:
    """A change that was requested, with the result for each user."""

    kind: Kind
    sku: Sku | None = None
    """None if users were removed."""
    capacity: int | None = None
    outcomes: tuple[Outcome, ...] = ()
    atomic: bool = False

    def having(self, state: str, code: str | None = None) -> list[Outcome]:
        """Return the users with this result."""
        return [
            each
            for each in self.outcomes
            if each.state == state and (code is None or each.code == code)
        ]

    @property
    def of_the_request(self) -> bool:
        """Return whether the whole request was refused, for a reason that is no user's."""
        return {each.code for each in self.outcomes} <= {
            ErrorCode.CAPACITY_REQUIRED,
            ErrorCode.INVALID_CAPACITY,
            ErrorCode.TARGET_NOT_PAID,
            ErrorCode.NOT_AUTHORIZED,
        }

    @property
    def refusal(self) -> Refused | None:
        """Return the first refusal if all were refused."""
        refused = self.having(AssignmentState.REFUSED)
        if len(refused) < len(self.outcomes) or not refused:
            return None
        code = next((each.code for each in refused if each.code), ErrorCode.CONFLICT)
        return Refused(ErrorCode(code), "All were refused.")


@dataclass(frozen=True)
class _Answer:
    """The answer to a form, or to none."""

    refused: Refused | None = None
    """The reason why nothing was changed."""
    change: LicenseChange | None = None
    form: Form = field(default_factory=lambda: Form({}))
    """The entered values, shown again."""


@dataclass(frozen=True)
class LicensePages:
    """The list of users with the pools, the page of one user, and the changes of both."""

    admin: AdminPages

    def routes(self) -> list[Route]:
        """Return the routes."""
        form = partial(self.admin.form, home="/licenses", max_fields=_MAX_FIELDS)
        user = "/licenses/{number}"
        return [
            self.admin.page("/licenses", self.show),
            form("/assign", self.assign, self.change_again),
            form("/unassign", self.unassign, self.change_again),
            self.admin.page(user, self.edit),
            self.admin.page(f"{user}/remove", self.confirm_removal),
            form(f"{user}/unlink", self.unlink, self.removal_again),
            form(f"{user}/delete", self.delete, self.removal_again),
        ]

    # Pages.

    async def show(self, visit: AdminVisit) -> Response:
        """Show the pools and a page of users."""
        return await self._respond(visit, _Answer(change=await _reported(visit)))

    async def edit(self, visit: AdminVisit) -> Response:
        """Show one user with what can be changed."""
        number = _number(visit.request.path_params["number"])
        return await self._respond_user(visit, number, _Answer(change=await _reported(visit)))

    # Changes of licenses.

    async def assign(self, visit: AdminVisit, form: Form) -> Response:
        """Assign licenses to the selected users."""
        sku, capacity = _sku(form), parse_capacity(form.get("capacity", "").strip() or None)
        atomic = _checked(form, "atomic")
        results = await visit.clients.assignments.assign(
            visit.account.id,
            sku,
            form.all("email"),
            visit.by,
            capacity=capacity,
            atomic=atomic,
            give_base_license=_checked(form, "give_base_license"),
        )
        # The capacity that was chosen because it was the only one possible (ASG-2).
        chosen = next((each.capacity for each in results if each.capacity), capacity)
        outcomes = await _outcomes(visit, results)
        change = LicenseChange("give", sku, chosen, outcomes, atomic)
        return await self._respond_changed(visit, form, change)

    async def unassign(self, visit: AdminVisit, form: Form) -> Response:
        """Release licenses of the selected users."""
        sku = _sku(form)
        results = await visit.clients.assignments.unassign(
            visit.account.id,
            sku,
            form.all("email"),
            visit.by,
            cascade=_checked(form, "cascade"),
        )
        change = LicenseChange("take", sku, outcomes=await _outcomes(visit, results))
        return await self._respond_changed(visit, form, change)

    async def change_again(self, visit: AdminVisit, form: Form, refused: Refused) -> Response:
        """Show the page of a form after a refusal of the whole request."""
        return await self._respond_form(visit, _Answer(refused, form=form))

    async def _respond_changed(
        self, visit: AdminVisit, form: Form, change: LicenseChange
    ) -> Response:
        """Redirect if nobody was refused; else the page says what can be done about it."""
        if change.having(AssignmentState.REFUSED):
            return await self._respond_form(visit, _Answer(change.refusal, change, form))
        number = _number(form.get("user", ""))
        path = "/licenses" if number is None else f"/licenses/{number}"
        return _redirect(visit, path, form, change)

    async def _respond_form(self, visit: AdminVisit, answer: _Answer) -> Response:
        if "user" in answer.form:
            return await self._respond_user(visit, _number(answer.form["user"]), answer)
        return await self._respond(visit, answer)

    async def _respond(self, visit: AdminVisit, answer: _Answer) -> Response:
        part = _part(visit, answer.form)
        page = await visit.clients.store.pages.licenses.page(visit.account.id, part)
        home = _href(visit, "/licenses", **_query(part))
        return self._rendered(visit, "licenses", answer, page=page, part=part, home=home)

    async def _respond_user(
        self, visit: AdminVisit, number: int | None, answer: _Answer
    ) -> Response:
        page = await _user(visit, number)
        home, removable = _href(visit, f"/licenses/{number}"), _is_removable(visit, page)
        return self._rendered(
            visit, "license-user", answer, page=page, removable=removable, home=home
        )

    # Removal of a user.

    async def confirm_removal(self, visit: AdminVisit) -> Response:
        """Show both ways to remove a user, and what each means."""
        return await self._respond_removal(visit)

    async def unlink(self, visit: AdminVisit, form: Form) -> Response:
        """Remove a user, who keeps their data on a free account of their own."""
        return await self._remove(visit, Removal.UNLINK)

    async def delete(self, visit: AdminVisit, form: Form) -> Response:
        """Remove a user with their data, once that was confirmed."""
        if not _checked(form, "confirm"):
            raise Refused(ErrorCode.INVALID_INPUT, "Confirm that the data is deleted.")
        return await self._remove(visit, Removal.DELETE)

    async def removal_again(self, visit: AdminVisit, form: Form, refused: Refused) -> Response:
        """Show the page of the removal after a refusal."""
        return await self._respond_removal(visit, refused)

    async def _remove(self, visit: AdminVisit, how: Removal) -> Response:
        user = (await _removable(visit)).user
        await visit.clients.store.remedies.remove_user(
            visit.account.id,
            user.email,
            how,
            datetime.now(UTC),
            by=visit.clients.author.acting_for(visit.by),
        )
        outcome = Outcome(user.email, user.name, user.number, "removed")
        return _redirect(
            visit, "/licenses", Form({}), LicenseChange(how.value, outcomes=(outcome,))
        )

    async def _respond_removal(self, visit: AdminVisit, refused: Refused | None = None) -> Response:
        page = await _removable(visit)
        home = _href(visit, f"/licenses/{page.user.number}/remove")
        return self._rendered(visit, "license-removal", _Answer(refused), page=page, home=home)

    def _rendered(
        self, visit: AdminVisit, name: str, answer: _Answer, **values: object
    ) -> Response:
        refused, form = answer.refused, answer.form
        page = Page(
            f"admin/{name.replace('-', '_')}.html",
            name,
            status_of(refused),
            error=refused.code.value if refused else None,
            values={
                "refused": refused,
                "change": answer.change,
                "form": form,
                "checked": partial(_checked, form),
                "href": partial(_href, visit),
                **values,
            },
        )
        return self.admin.respond(visit, page, tab="licenses")


# Reading forms and addresses.


def _sku(form: Form) -> Sku:
    try:
        return Sku(form.get("sku", ""))
    except ValueError:
        raise Refused(ErrorCode.INVALID_INPUT, "Choose a license.", field="sku") from None


def _checked(form: Form, name: str) -> bool:
    return form.get(name, "").lower() not in {"", "0", "false", "no", "off"}


def _number(text: str) -> int | None:
    return int(text) if WHOLE_NUMBER.fullmatch(text) and len(text) <= _LONGEST_NUMBER else None


def _part(visit: AdminVisit, form: Form) -> PageOfUsers:
    """Return the part of the list that the form was sent from, or that the address names."""
    given = form or visit.request.query_params
    return PageOfUsers(
        query=given.get("q", "").strip() or None,
        without_base_license=given.get("basic", "") == "1",
        after=_number(given.get("after", "")),
    )


def _query(part: PageOfUsers) -> dict[str, object]:
    basic = 1 if part.without_base_license else None
    return {"q": part.query, "basic": basic, "after": part.after}


def _href(visit: AdminVisit, path: str, **parameters: object) -> str:
    """Return the address of a page in the chosen language."""
    named = {name: value for name, value in parameters.items() if value is not None}
    query = query_of(visit.request)
    if named:
        query += f"{'&' if query else '?'}{urlencode(named)}"
    return f"{visit.path}{path}{query}"


async def _user(visit: AdminVisit, number: int | None) -> UserLicenses:
    if number is None:
        raise Refused(ErrorCode.NOT_FOUND, "There is no such user.")
    return await visit.clients.store.pages.licenses.user(visit.account.id, number)


async def _removable(visit: AdminVisit) -> UserLicenses:
    page = await _user(visit, _number(visit.request.path_params["number"]))
    if not _is_removable(visit, page):
        raise Refused(ErrorCode.NOT_FOUND, f"{page.user.email} cannot be removed here.")
    return page


def _is_removable(visit: AdminVisit, page: UserLicenses) -> bool:
    """Return whether the user is neither the owner nor the person who is signed in."""
    return page.user.role is not Role.OWNER and page.user.email != visit.person.email


# Results, which the address of the next page has, signed for this session.


async def _outcomes(visit: AdminVisit, results: Sequence[AssignmentResult]) -> tuple[Outcome, ...]:
    emails = [each.email for each in results]
    named = await visit.clients.store.pages.licenses.named(visit.account.id, emails=emails)
    users = {user.email: user for user in named}
    return tuple(_outcome(each, users.get(each.email)) for each in results)


def _outcome(result: AssignmentResult, user: UserOfResult | None) -> Outcome:
    error: dict[str, Any] = result.error or {}
    code = error.get("code")
    # Of an atomic request all have the reason of the first.
    if code == ErrorCode.BASE_LICENSE_REQUIRED and user and user.licensed:
        code = None
    meetings = error.get("meetings") or [each.model_dump() for each in result.meetings]
    webinars = error.get("webinars") or [each.model_dump() for each in result.webinars]
    return Outcome(
        email=result.email,
        name=user.name if user else None,
        number=user.number if user else None,
        state=result.state.value,
        code=code,
        held_before=result.held_before,
        meetings=len(meetings),
        webinars=len(webinars),
        topics=tuple(str(each["topic"]) for each in (*meetings, *webinars)),
    )


def _redirect(visit: AdminVisit, path: str, form: Form, change: LicenseChange) -> Response:
    rows = [
        (each.number, each.state, each.code, each.held_before, each.meetings, each.webinars)
        for each in change.outcomes
    ]
    result = _serializer(visit).dumps([change.kind, change.sku, change.capacity, rows])
    query = _query(_part(visit, form)) if form else {}
    url = _href(visit, path, **query, result=result)
    return RedirectResponse(url, HTTPStatus.SEE_OTHER)


async def _reported(visit: AdminVisit) -> LicenseChange | None:
    """Return the change that led to this page, if one did.

    Its address names users by number, so that no log has personal data.
    """
    try:
        kind, sku, capacity, rows = _serializer(visit).loads(
            visit.request.query_params.get("result", "")
        )
    except BadData:
        return None
    numbers = [row[0] for row in rows]
    named = await visit.clients.store.pages.licenses.named(visit.account.id, numbers=numbers)
    users = {user.number: user for user in named}
    return LicenseChange(
        kind=kind,
        sku=Sku(sku) if sku else None,
        capacity=capacity,
        outcomes=tuple(
            Outcome(users[number].email, users[number].name, number, *more)
            for number, *more in rows
            if number in users
        ),
    )


def _serializer(visit: AdminVisit) -> URLSafeSerializer:
    return URLSafeSerializer(visit.person.csrf_token, salt=f"licenses of {visit.account.id}")
