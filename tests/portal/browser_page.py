"""Pages as a test reads them: their status, and what the contract marks in them."""

import re
from dataclasses import dataclass
from html import unescape

import httpx


@dataclass(frozen=True)
class ReadPage:
    """A response that is a page."""

    response: httpx.Response

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def html(self) -> str:
        return self.response.text

    @property
    def text(self) -> str:
        """Return the text of `<main>`, with each run of blanks as one."""
        main = re.search(r"<main.*?</main>", self.html, re.DOTALL)
        assert main is not None
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", main[0])).split())

    @property
    def name(self) -> str | None:
        return self.attribute("data-page")

    @property
    def state(self) -> str | None:
        return self.attribute("data-state")

    @property
    def error(self) -> str | None:
        return self.attribute("data-error")

    def attribute(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> list[str]:
        return re.findall(rf'{name}="([^"]*)"', self.html)

    def form(self, action: str) -> dict[str, str]:
        """Return the hidden fields of the form that posts to `action`."""
        form = re.search(
            rf'<form method="post" action="[^"]*/{action}[^"]*".*?</form>', self.html, re.DOTALL
        )
        assert form is not None, f"no form posts to {action}"
        fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form[0])
        return {name: unescape(value) for name, value in fields}
