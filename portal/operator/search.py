"""The search for accounts and for everything about a person."""

from dataclasses import dataclass
from typing import Final

from starlette.responses import Response
from starlette.routing import Route

from domain.address import normalized
from domain.error import ErrorCode, Refused
from domain.search import AccountPage, FoundPerson, PageRequest
from domain.text import one_line
from portal.operator.outcome import address, status_after
from portal.operator.visit import OperatorPages, OperatorVisit
from portal.page import Page
from portal.request import Form

LONGEST_QUERY: Final = 320
"""The length of the longest address."""


@dataclass(frozen=True)
class SearchPages:
    """The search across all accounts.

    It is a POST that answers with the result: the address of a page is kept in logs and in the
    history of browsers, and what is searched for is mostly an address of a person.
    """

    operator: OperatorPages

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            self.operator.page("/search", self.show),
            self.operator.form("/search", self.search, self.again, home="/search"),
        ]

    async def show(self, visit: OperatorVisit) -> Response:
        """Show the form."""
        return self._respond(visit)

    async def search(self, visit: OperatorVisit, form: Form) -> Response:
        """Show the accounts that contain the text, and the person with this address."""
        query = one_line(form.get("q", ""))
        if not 0 < len(query) <= LONGEST_QUERY:
            raise Refused(ErrorCode.INVALID_INPUT, f"Search for 1 to {LONGEST_QUERY} characters.")
        after = one_line(form.get("after", "")) or None
        search = visit.clients.store.search
        person, near = (None, list[str]()) if after else await _person(visit, query)
        accounts = await search.accounts(query, PageRequest(after=after))
        return self._respond(visit, query, accounts=accounts, person=person, near=near)

    async def again(self, visit: OperatorVisit, form: Form, refused: Refused) -> Response:
        """Show the form again, with the reason and what was entered."""
        return self._respond(visit, form.get("q", ""), refused)

    def _respond(
        self,
        visit: OperatorVisit,
        query: str = "",
        refused: Refused | None = None,
        *,
        accounts: AccountPage | None = None,
        person: FoundPerson | None = None,
        near: list[str] | None = None,
    ) -> Response:
        page = Page(
            "operator/search.html",
            "search",
            status=status_after(refused),
            error=refused.code.value if refused else None,
            values={
                "typed": query,
                "refused": refused,
                "accounts": accounts,
                "found_person": person,
                "near": near or [],
                "address": lambda path="", **query: address(visit, path, **query),
            },
        )
        return self.operator.respond(visit, page, tab="search")


async def _person(visit: OperatorVisit, query: str) -> tuple[FoundPerson | None, list[str]]:
    """Return the person with this address, or the addresses that were most likely meant."""
    try:
        return await visit.clients.store.search.find(normalized(query)), []
    except Refused as refused:
        near = refused.details.get("near_matches")
        return None, [str(each) for each in near] if isinstance(near, list) else []
