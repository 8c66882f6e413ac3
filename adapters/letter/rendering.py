"""Rendering of letters: one template for each event, rendered as HTML and as plain text."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from gettext import NullTranslations
from pathlib import Path
from textwrap import shorten
from typing import Final, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydantic import JsonValue

from adapters.letter.language import catalog, language_for
from domain.letter import Letter
from domain.text import one_line

TEMPLATES = Path(__file__).parent / "template"

PREHEADER_LENGTH: Final = 140
"""The characters that mail programs show beside the subject."""

Form = Literal["html", "text"]


@dataclass(frozen=True)
class RenderedLetter:
    """The subject and both bodies of a letter."""

    subject: str
    """One line; holds no personal data (TXT-1)."""
    text: str
    html: str
    language: str
    """Language code of the text, for example `de`."""


@dataclass(frozen=True)
class Help:
    """The ways in which a deployment helps the readers of its letters."""

    support_contact: str | None = None
    """An address, a page or a number; None if the deployment names none."""
    reads_replies: bool = False
    """True if somebody reads the replies to letters without a contact."""
    operators: str | None = None
    """The operators' address, if the deployment has one."""
    public_url: str | None = None
    """The address of the portal, whose guides letters link; None: they link none."""


def render_letter(letter: Letter, help: Help = Help()) -> RenderedLetter:
    """Render `letter` in the reader's language, with times in the reader's zone (TXT-1)."""
    language = language_for(letter.reader.locale)
    context = {
        "letter": letter,
        "help": help,
        "language": language.tag,
        "amount": language.amount,
        "day": language.day,
        "number": language.number,
        "listed": language.listed,
        "moment": partial(language.moment, time_zone=letter.reader.time_zone),
        "short_moment": partial(language.short_moment, time_zone=letter.reader.time_zone),
        "time_zone": letter.reader.time_zone,
    }
    text = _environment("text", language.tag).get_template(f"{letter.event}.j2")
    html = _environment("html", language.tag).get_template(f"{letter.event}.j2")
    subject = "".join(text.blocks["subject"](text.new_context(context)))
    plain_text = _collapse_empty_lines(text.render(context))
    return RenderedLetter(
        subject=one_line(subject),
        text=plain_text,
        html=_collapse_empty_lines(html.render(context, preheader=_preheader(plain_text))),
        language=language.tag,
    )


@cache
def _environment(form: Form, language: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([TEMPLATES, TEMPLATES / form]),
        autoescape=form == "html",
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    messages = Messages(catalog(language), Markup if form == "html" else str)
    environment.filters["plain"] = plain
    environment.filters["in_words"] = in_words
    environment.globals |= {"_": messages.gettext, "ngettext": messages.ngettext}
    return environment


@dataclass(frozen=True)
class Messages:
    """The translation functions that templates call."""

    catalog: NullTranslations
    form: type[str]
    """`Markup` escapes the values inserted into a message; `str` inserts them unchanged."""

    def gettext(self, message: str, **values: object) -> str:
        """Translate `message` and insert `values`."""
        return self._insert(self.catalog.gettext(message), values)

    def ngettext(self, one: str, many: str, count: int, **values: object) -> str:
        """Translate the singular or plural for `count`; the message names the count `num`."""
        return self._insert(self.catalog.ngettext(one, many, count), {"num": count, **values})

    def _insert(self, message: str, values: Mapping[str, object]) -> str:
        for name, value in values.items():
            # "Sp. z o.o." at the end of a sentence brings its own full stop.
            if str(value).endswith("."):
                message = re.sub(rf"(%\({name}\)s)\.(?!\S)", r"\1", message)
        return self.form(message) % values


def plain(value: JsonValue) -> str:
    """Format a value from another system, such as an id or a setting, on one line (TXT-3)."""
    text = isinstance(value, str) and value.strip()
    return one_line(text or json.dumps(value, ensure_ascii=False))


def in_words(key: str) -> str:
    """Return a setting's key as words, for a setting without a known name."""
    words = plain(key).replace("_", " ")
    return words[:1].upper() + words[1:]


def _preheader(text: str) -> str:
    """Return the beginning of the first paragraph after the greeting, for lists of e-mails."""
    return shorten(text.split("\n\n")[1], PREHEADER_LENGTH, placeholder=" …")


def _collapse_empty_lines(page: str) -> str:
    # Parts that a template omits leave empty lines behind.
    return re.sub(r"\n\s*\n", "\n\n", page).strip() + "\n"
