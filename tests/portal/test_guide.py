"""The guides: public pages in every language."""

import re

import pytest
from babel.messages.pofile import read_po

from adapters.letter.language import CATALOGS as LETTERS
from domain.text import LANGUAGES
from portal.guide import GUIDES
from portal.language import CATALOGS, languages
from portal.page import FOLDER
from tests.portal.browser_page import ReadPage
from tests.portal.conftest import Visitor
from tests.portal.test_template import extracted
from tests.world import JANE

TEMPLATES = sorted((FOLDER / "template" / "guide").glob("*.html"))
SAME_WORDS = {"Large Meeting", "Webinar", "Guides", "Participants"}
"""Messages that some languages do not translate."""


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("guide", GUIDES)
async def test_a_guide_in_each_language(visitor: Visitor, guide: str, language: str) -> None:
    """TXT-1: without signing in, and without English in another language's page."""
    page = await visitor.get(f"/guide/{guide}?lang={language}")
    assert (page.status, page.name) == (200, "guide")
    assert page.attribute("lang") == language
    assert len(re.findall("<li>", page.html)) > 10
    template = FOLDER / "template" / "guide" / f"{guide}.html"
    texts = [message.split("%(")[0] for message in extracted(template)]
    sentences = [text for text in texts if len(text) > 12 and text not in SAME_WORDS]
    assert all((text in page.html) == (language == "en") for text in sentences), [
        text for text in sentences if (text in page.html) != (language == "en")
    ]


async def test_a_guide_is_in_the_language_of_the_browser(visitor: Visitor) -> None:
    """TXT-1: nobody is signed in, so that no locale is known."""
    page = await visitor.get("/guide/admin", accept_language="pl-PL,en;q=0.5")
    assert page.attribute("lang") == "pl"


async def test_an_unknown_guide_is_not_found(visitor: Visitor) -> None:
    for path in ("/guide/operator", "/guide/frame", "/guide/", "/guide/../invitation"):
        page = await visitor.get(path)
        assert (page.status, page.name) == (404, "not-found")


async def test_links_of_a_guide_lead_to_pages_and_have_an_address_on_paper(
    visitor: Visitor,
) -> None:
    """A link keeps the language; on paper it is followed by its public address."""
    page = await visitor.get("/guide/admin?lang=de")
    public_url = visitor.world.clients.settings.public_url
    found = dict(re.findall(r'<a href="([^"]*)" data-address="([^"]*)"', page.html))
    assert found == {
        "/sign-in?lang=de": f"{public_url}/sign-in",
        "/guide/invitee?lang=de": f"{public_url}/guide/invitee",
        "/guide/large-meetings?lang=de": f"{public_url}/guide/large-meetings",
    }


async def test_the_invitation_and_its_page_link_the_guide(visitor: Visitor) -> None:
    """The e-mail and the page lead an invitee to the guide."""
    await visitor.world.pending(JANE)
    letter = await visitor.world.mailed("invitation", JANE)
    [address] = re.findall(r"\S+/guide/\S+", letter.text)
    assert (await visitor.get(address)).name == "guide"
    link = await visitor.link(JANE)
    page: ReadPage = await visitor.get(f"{link}?lang=sv")
    assert '<a href="/guide/invitee?lang=sv"' in page.html


def test_a_guide_names_buttons_as_the_letters_do() -> None:
    """A reader finds the words of the guide in the e-mails."""
    messages = {message for template in TEMPLATES for message in extracted(template)}
    compared = 0
    for language in languages()[1:]:
        with (CATALOGS / language / "pages.po").open("rb") as file:
            pages = read_po(file, locale=language)
        with (LETTERS / language / "letters.po").open("rb") as file:
            letters = read_po(file, locale=language)
        for message in messages:
            if (letter := letters.get(message)) is not None:
                page = pages.get(message)
                assert page is not None
                assert page.string == letter.string, f"{language}: {message}"
                compared += 1
    assert compared >= 5
