"""The templates of pages: every text can be translated."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po

from portal.language import CATALOGS, languages
from portal.page import FOLDER

TEMPLATES = sorted((FOLDER / "template").rglob("*.html"))
NAMES = {"Seatflow"}
"""Words that are the same in every language."""


def named(template: Path) -> str:
    """Return the name of a template, as pages give it."""
    return str(template.relative_to(FOLDER / "template"))


@pytest.mark.parametrize("template", TEMPLATES, ids=named)
def test_every_text_of_a_page_is_a_message(template: Path) -> None:
    """TXT-1: a template holds no words outside the calls of gettext."""
    source = template.read_text(encoding="utf-8")
    source = re.sub(r"\{% block kind %\}.*?\{% endblock %\}", " ", source)
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<!--.*?-->", " ", source, flags=re.DOTALL)
    text = re.sub(r"<[^<>]*>|[a-z-]+=\"[^\"]*\"", " ", text)
    assert set(re.findall(r"[A-Za-z]{2,}", text)) - NAMES == set()


@pytest.mark.parametrize("template", TEMPLATES, ids=named)
def test_every_form_of_a_signed_in_page_has_the_token(template: Path) -> None:
    """A form of an admin or operator begins with the token of their session."""
    if template.parent == FOLDER / "template" and template.name != "signed_in.html":
        return
    source = template.read_text(encoding="utf-8")
    forms = re.findall(r'<form method="post"[^>]*>\s*(.{0,10})', source)
    assert all(each.startswith("{{ csrf }}") for each in forms)


def test_a_catalog_has_every_message_with_the_same_placeholders() -> None:
    """TXT-1: a language is complete, or it is not offered."""
    messages = {message for template in TEMPLATES for message in extracted(template)}
    assert "Review before joining" in messages
    for language in languages()[1:]:
        with (CATALOGS / language / "pages.po").open("rb") as file:
            catalog = read_po(file, locale=language)
        for message in messages:
            entry = catalog.get(message)
            assert entry, f"{language} lacks: {message}"
            for form in [entry.string] if isinstance(entry.string, str) else entry.string or []:
                assert form, f"{language}: {message}"
                assert placeholders(form) == placeholders(message), f"{language}: {message}"


def extracted(template: Path) -> Iterator[str]:
    """Yield the messages of a template; of a plural, the singular."""
    for _, message, *_ in extract_from_file("jinja2.ext:babel_extract", str(template)):
        yield message if isinstance(message, str) else message[0]


def placeholders(message: str) -> set[str]:
    return set(re.findall(r"%\((\w+)\)", message))
