"""A browser without JavaScript, with which the people of the demo use the portal."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import HTTPCookieProcessor, ProxyHandler, Request, build_opener

from domain.error import ErrorCode, Refused, Unavailable

TIMEOUT_SECONDS = 30

Entered = str | Sequence[str]
"""The text of a field, or the check boxes that are ticked."""


@dataclass
class Form:
    """A form as the page shows it: its buttons' addresses, its fields, and what it offers."""

    actions: list[str]
    fields: dict[str, list[str]] = field(default_factory=dict)
    """The values that it sends unless they are changed."""
    offered: dict[str, list[str]] = field(default_factory=dict)
    """The values of check boxes, radio buttons and lists, by name."""

    def accepts(self, entered: Mapping[str, Entered]) -> bool:
        """Return whether a person can enter these values."""
        return all(
            name in self.fields and all(each in self.offered.get(name, [each]) for each in _all(of))
            for name, of in entered.items()
        )

    def filled(self, entered: Mapping[str, Entered]) -> str:
        """Return the body that a browser sends, boxes in the order of the page."""
        sent = self.fields | {
            name: [each for each in self.offered.get(name, _all(of)) if each in _all(of)]
            for name, of in entered.items()
        }
        return urlencode(sent, doseq=True)


@dataclass(frozen=True)
class Page:
    """A page as a browser shows it."""

    url: str
    status: int
    elements: list[dict[str, str]]
    """The attributes of each element."""
    forms: list[Form]

    @property
    def name(self) -> str | None:
        """Return the name of the page, if it has one."""
        return next(iter(self.all("data-page")), None)

    @property
    def state(self) -> str | None:
        """Return the state of what it shows, if it has one."""
        return next((each.get("data-state") for each in self.elements if "data-page" in each), None)

    def all(self, attribute: str) -> list[str]:
        """Return every value of an attribute, in the order of the page."""
        return [each[attribute] for each in self.elements if attribute in each]

    def element(self, attribute: str, value: str) -> dict[str, str]:
        """Return the attributes of the element that has this one. Raises Refused."""
        for each in self.elements:
            if each.get(attribute) == value:
                return each
        raise Refused(ErrorCode.NOT_FOUND, f"Nothing on {self.url} has {attribute}={value}.")

    def form(self, action: str, entered: Mapping[str, Entered]) -> tuple[str, Form]:
        """Return the address whose path ends with `action`, and the form that is sent there.

        Raises Refused if there is none on which a person can enter these values.
        """
        for form in self.forms:
            for address in form.actions:
                if urlsplit(address).path.endswith(action) and form.accepts(entered):
                    return urljoin(self.url, address), form
        raise Refused(
            ErrorCode.NOT_FOUND,
            f"No form on {self.url} posts {', '.join(entered) or 'nothing'} to {action}.",
        )


class Browser:
    """One person's browser: it keeps cookies, follows redirects and sends forms."""

    def __init__(self, home: str) -> None:
        self._home = home
        # A proxy of the environment cannot reach this machine.
        self._opener = build_opener(ProxyHandler({}), HTTPCookieProcessor())

    async def open(self, address: str) -> Page:
        """Open an address, relative to the portal's. Raises Refused with the code on the page."""
        return await self._request(Request(urljoin(f"{self._home}/", address)))

    async def send(self, page: Page, action: str, **entered: Entered) -> Page:
        """Fill a form and press its button; return the page that follows. Raises Refused."""
        url, form = page.form(action, entered)
        return await self._post(url, form.filled(entered))

    async def post(self, url: str, **entered: str) -> Page:
        """Send a form that has only these fields. Raises Refused."""
        return await self._post(url, urlencode(entered))

    async def _post(self, url: str, body: str) -> Page:
        same_site = {"Origin": self._home, "Sec-Fetch-Site": "same-origin"}
        return await self._request(Request(url, body.encode(), same_site))

    async def _request(self, request: Request) -> Page:
        page = await asyncio.to_thread(self._answer, request)
        if code := next(iter(page.all("data-error")), None):
            raise Refused(ErrorCode(code), f"The page answers {page.status} {code}.")
        return page

    def _answer(self, request: Request) -> Page:
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                return read(response.url, response.status, response.read().decode())
        except HTTPError as refused:
            with refused:
                return read(refused.url, refused.code, refused.read().decode())
        except OSError as failure:
            raise Unavailable(f"The portal does not answer: {failure}") from None


class _Reader(HTMLParser):
    """Reads the elements and the forms of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[dict[str, str]] = []
        self.forms: dict[str, Form] = {}
        self._form = ""
        self._list = ""
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Read an element; a field belongs to the form around it or to the one that it names."""
        element = {name: value or "" for name, value in attrs}
        self.elements.append(element)
        if tag == "form":
            self._form = element.get("id") or str(len(self.forms))
            self.forms.setdefault(self._form, Form([])).actions.append(element.get("action", ""))
            return
        key = element.get("form", self._form)
        if not key:
            return
        form = self.forms.setdefault(key, Form([]))
        name, value = element.get("name", ""), element.get("value", "")
        if tag == "button" and "formaction" in element:
            form.actions.append(element["formaction"])
        elif tag == "select":
            self._list = name
            form.fields[name], form.offered[name] = [], []
        elif tag == "option":
            form.offered[self._list].append(value)
            if "selected" in element or not form.fields[self._list]:
                form.fields[self._list] = [value]
        elif tag == "textarea":
            self._text = name
            form.fields[name] = [""]
        elif tag == "input" and element.get("type") in {"checkbox", "radio"}:
            form.offered.setdefault(name, []).append(value)
            form.fields.setdefault(name, []).extend([value] if "checked" in element else [])
        elif tag == "input" and name:
            form.fields[name] = [value]

    def handle_endtag(self, tag: str) -> None:
        """Leave a form or a field."""
        if tag == "form":
            self._form = ""
        elif tag == "textarea":
            self._text = ""

    def handle_data(self, data: str) -> None:
        """Read the text of a text area."""
        if self._text:
            self.forms[self._form].fields[self._text][0] += data


def read(url: str, status: int, html: str) -> Page:
    """Read the page that a response has."""
    reader = _Reader()
    reader.feed(html)
    return Page(url, status, reader.elements, list(reader.forms.values()))


def _all(entered: Entered) -> Sequence[str]:
    return [entered] if isinstance(entered, str) else entered
