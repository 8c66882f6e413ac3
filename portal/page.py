"""Pages: rendered by one template each, in the reader's language."""

from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from babel import Locale
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from adapters.letter.rendering import Messages, in_words, plain
from portal.language import PageLanguage, accepted_locales, catalog, languages, page_language

FOLDER: Final = Path(__file__).parent
STATIC: Final = FOLDER / "static"


@dataclass(frozen=True)
class Page:
    """One page: its template, its status and the values that the template shows."""

    template: str
    name: str
    """The value of `data-page`."""
    status: int = 200
    state: str | None = None
    """The value of `data-state`."""
    error: str | None = None
    """The code of a refusal, the value of `data-error`."""
    live: bool = False
    """True if a browser follows the state of this page."""
    values: dict[str, object] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PageFrame:
    """The values that all pages show."""

    root: str
    """The path of the public URL, before which the paths of the portal begin."""
    support_contact: str | None = None

    def respond(
        self,
        request: Request,
        page: Page,
        *,
        locales: tuple[str | None, ...] = (),
        time_zone: str = "UTC",
    ) -> HTMLResponse:
        """Render a page in the language asked for, else in that of the person or the browser."""
        language = language_of(request, locales, time_zone)
        html = (
            _environment(language.tag)
            .get_template(page.template)
            .render(
                **page.values,
                page_name=page.name,
                state=page.state,
                error=page.error,
                live=page.live,
                root=self.root,
                support_contact=self.support_contact,
                language=language,
                languages=[(tag, _language_name(tag)) for tag in languages()],
                query=query_of(request),
                asset=lambda name: f"{self.root}/static/{name}?v={_digest(name)}",
            )
        )
        return HTMLResponse(html, page.status, headers=page.headers)


def language_of(request: Request, locales: tuple[str | None, ...], time_zone: str) -> PageLanguage:
    """Return the language of `?lang`, else of the first known locale, else of the browser."""
    accepted = accepted_locales(request.headers.get("accept-language", ""))
    return page_language([request.query_params.get("lang"), *locales, *accepted], time_zone)


def query_of(request: Request) -> str:
    """Return the query that keeps the chosen language, for links and forms."""
    tag = request.query_params.get("lang")
    return f"?lang={tag}" if tag in languages() else ""


@cache
def _environment(language: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "template"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    messages = Messages(catalog(language), Markup)
    environment.filters |= {"in_words": in_words, "plain": plain}
    environment.globals |= {"_": messages.gettext, "ngettext": messages.ngettext}
    return environment


@cache
def _language_name(tag: str) -> str:
    name = Locale(tag).get_display_name(tag) or tag
    return name[:1].upper() + name[1:]


@cache
def _digest(name: str) -> str:
    """Return a short hash of a file, so that browsers may keep it until it changes."""
    return sha256((STATIC / name).read_bytes()).hexdigest()[:12]
