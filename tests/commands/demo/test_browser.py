"""The demo's browser: it sends what a browser without JavaScript sends."""

from urllib.parse import parse_qsl

import pytest

from commands.demo.browser import Page, read
from domain.error import ErrorCode, Refused

HTML = """
<main data-page="licenses" data-state="open"><b data-row="ann" data-result="assigned"></b>
<form method="get" action="/search"><input name="q" value="x"></form>
<form id="change" method="post" action="/a/assign?lang=en">
<input type="hidden" name="csrf_token" value="t&amp;1">
<select name="sku"><option value="">Choose</option><option value="webinar">Webinar</option></select>
<select name="cycle"><option value="m">m</option><option value="y" selected>y</option></select>
<input type="radio" name="portal" value="plans" checked>
<input type="radio" name="portal" value="account">
<input type="checkbox" name="atomic" value="1">
<textarea name="note">Dear &amp; all</textarea>
<button>Give</button><button formaction="/a/unassign">Take</button></form>
<input type="checkbox" name="email" value="ann" form="change">
<input type="checkbox" name="email" value="bea" form="change" checked>
<input name="lost" value="in no form"></main>
"""
AS_SHOWN = [
    ("csrf_token", "t&1"),
    ("sku", ""),
    ("cycle", "y"),
    ("portal", "plans"),
    ("note", "Dear & all"),
    ("email", "bea"),
]


@pytest.fixture
def page() -> Page:
    return read("http://localhost:1/a/licenses", 200, HTML)


def sent(page: Page, action: str, **entered: str | list[str]) -> list[tuple[str, str]]:
    _, form = page.form(action, entered)
    return parse_qsl(form.filled(entered), keep_blank_values=True)


def test_a_page_has_its_name_its_state_and_the_marked_elements(page: Page) -> None:
    assert (page.name, page.state) == ("licenses", "open")
    assert page.element("data-row", "ann")["data-result"] == "assigned"


@pytest.mark.parametrize("action", ["/assign", "/unassign"])
def test_a_form_sends_its_fields_as_they_are_shown(page: Page, action: str) -> None:
    """Boxes that are not ticked and fields of no form are not sent."""
    assert sent(page, action) == AS_SHOWN


def test_a_button_sends_the_form_to_its_own_address(page: Page) -> None:
    assert page.form("/unassign", {})[0] == "http://localhost:1/a/unassign"


def test_entered_values_replace_the_shown_ones(page: Page) -> None:
    """Boxes are sent in the order of the page, not in that of the request."""
    fields = sent(page, "/assign", email=["bea", "ann"], sku="webinar", portal="account", note="-")
    assert dict(fields)["sku"] == "webinar"
    assert [value for name, value in fields if name == "email"] == ["ann", "bea"]
    assert [value for name, value in fields if name == "portal"] == ["account"]


@pytest.mark.parametrize(
    "entered", [{"sku": "workplace"}, {"email": ["carl"]}, {"lost": "x"}, {"cascade": "1"}]
)
def test_what_a_page_does_not_offer_cannot_be_entered(
    page: Page, entered: dict[str, str | list[str]]
) -> None:
    with pytest.raises(Refused) as refused:
        sent(page, "/assign", **entered)
    assert refused.value.code is ErrorCode.NOT_FOUND
