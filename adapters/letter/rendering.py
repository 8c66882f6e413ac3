"""Each letter is one template, written once and set twice: as HTML and as plain text."""

import json
import re
from dataclasses import dataclass
from functools import cache, partial
from gettext import NullTranslations
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydantic import JsonValue

from adapters.letter.language import catalog, language_for
from domain.letter import Letter
from domain.text import one_line

TEMPLATES = Path(__file__).parent / "template"

Form = Literal["html", "text"]


@dataclass(frozen=True)
class WrittenLetter:
    """A letter in words."""

    subject: str
    """One line; holds no personal data (TXT-1)."""
    text: str
    html: str
    language: str
    """The language it is written in, for example `de`."""


def written(letter: Letter) -> WrittenLetter:
    """`letter` in the reader's language, its times in the reader's zone (TXT-1)."""
    language = language_for(letter.reader.locale)
    facts = {
        "letter": letter,
        "language": language.tag,
        "amount": language.amount,
        "day": language.day,
        "number": language.number,
        "moment": partial(language.moment, time_zone=letter.reader.time_zone),
    }
    text = _environment("text", language.tag).get_template(f"{letter.event}.j2")
    html = _environment("html", language.tag).get_template(f"{letter.event}.j2")
    subject = "".join(text.blocks["subject"](text.new_context(facts)))
    return WrittenLetter(
        subject=one_line(subject),
        text=_without_gaps(text.render(facts)),
        html=_without_gaps(html.render(facts)),
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
    words = Words(catalog(language), Markup if form == "html" else str)
    environment.filters["plain"] = plain
    environment.globals |= {"_": words.gettext, "ngettext": words.ngettext}
    return environment


@dataclass(frozen=True)
class Words:
    """What templates call to say something in their language."""

    catalog: NullTranslations
    form: type[str]
    """`Markup` escapes the facts that go into a message; `str` takes them as they are."""

    def gettext(self, message: str, **facts: object) -> str:
        """`message` translated, with `facts` in its places."""
        return self.form(self.catalog.gettext(message)) % facts

    def ngettext(self, one: str, many: str, count: int, **facts: object) -> str:
        """The message for `count` of something, translated; `count` goes in as `num`."""
        message = self.catalog.ngettext(one, many, count)
        return self.form(message) % {"num": count, **facts}


def plain(value: JsonValue) -> str:
    """What an outside system gave, such as an id or a setting, on one line (TXT-3)."""
    written_out = isinstance(value, str) and value.strip()
    return one_line(written_out or json.dumps(value, ensure_ascii=False))


def _without_gaps(page: str) -> str:
    """What a template leaves out leaves no hole: at most one empty line in a row."""
    return re.sub(r"\n\s*\n", "\n\n", page).strip() + "\n"
