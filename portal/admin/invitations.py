"""The invitations of an account."""

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from domain.error import Refused
from domain.invitation import InvitationState
from domain.invitation_list import InvitationFilter, InvitationPage, ListedInvitation
from domain.text import WHOLE_NUMBER, one_line, spreadsheet_text
from portal.admin.visit import AdminPages, AdminVisit
from portal.language import languages
from portal.page import Page
from portal.visit import status_of

LONGEST_QUERY: Final = 200
MOST_QUIET_DAYS: Final = 36_500

COLUMNS: Final = (
    "email",
    "name",
    "state",
    "license",
    "invited_by",
    "sent_at",
    "answer_by",
    "reminders",
    "quiet_since",
    "blockers",
)
"""The columns of the download."""


@dataclass(frozen=True)
class Chip:
    """A filter of the list, with the number of invitations that it shows."""

    name: str
    """`live`, `quiet`, `all`, or a state."""
    address: str
    count: int
    current: bool


@dataclass(frozen=True)
class InvitationPages:
    """The list of invitations, and its download."""

    admin: AdminPages

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            self.admin.page("", self.show),
            self.admin.page("/invitations.csv", self.download),
        ]

    async def show(self, visit: AdminVisit) -> Response:
        """Show the invitations that the query names: the live ones, unless it says otherwise."""
        return await self.respond(visit)

    async def respond(
        self,
        visit: AdminVisit,
        refused: Refused | None = None,
        entered: dict[str, str] | None = None,
    ) -> Response:
        """Respond with the list; after a refusal with its reason and what was entered."""
        wanted = filter_of(visit)
        after = visit.request.query_params.get("next")
        found = await visit.clients.invitation_lists.page(visit.account.id, wanted, after)
        quiet_days = wanted.quiet_days
        if quiet_days is None:
            quiet_days = visit.clients.settings.policy.remind_after_days
        address = _address_of(visit, wanted)
        page = Page(
            "admin/invitations.html",
            "invitations",
            status=status_of(refused),
            error=refused.code.value if refused else None,
            values={
                "found": found,
                "wanted": wanted,
                "chips": _chips(found, wanted, quiet_days, address),
                "quiet_days": quiet_days,
                "address": address,
                "later_page": after is not None,
                "may_invite": may_invite(visit),
                "refused": refused,
                "entered": entered,
                "invited_again": invited_again,
                "now": datetime.now(UTC),
            },
        )
        return self.admin.respond(visit, page, tab="invitations")

    async def download(self, visit: AdminVisit) -> Response:
        """Send the invitations of the same filter as CSV, as text for spreadsheets."""
        lists = visit.clients.invitation_lists
        parts = lists.every(visit.account.id, filter_of(visit))
        # A backend that does not answer is an error page, not the start of a file.
        first = await anext(parts)

        async def lines() -> AsyncIterator[str]:
            yield "\ufeff" + _csv([COLUMNS])
            yield _csv(map(_cells, first))
            async for part in parts:
                yield _csv(map(_cells, part))

        name = f"invitations-{visit.account.id}.csv"
        disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(lines(), media_type="text/csv", headers=disposition)


def may_invite(visit: AdminVisit) -> bool:
    """Return whether the account can invite people (INV-1)."""
    account = visit.account
    return account.plan != "free" and not account.suspended and account.owner is not None


def filter_of(visit: AdminVisit) -> InvitationFilter:
    """Return the filter of the request's query; values that are none are ignored."""
    query = visit.request.query_params
    known = set(InvitationState)
    days = query.get("stale_days", "")
    is_number = WHOLE_NUMBER.fullmatch(days) and int(days) <= MOST_QUIET_DAYS
    return InvitationFilter(
        states=tuple(
            dict.fromkeys(InvitationState(each) for each in query.getlist("state") if each in known)
        ),
        everything=query.get("all") == "1",
        query=one_line(query.get("q", ""))[:LONGEST_QUERY] or None,
        quiet_days=int(days) if is_number else None,
    )


Address = Callable[..., str]


def _address_of(visit: AdminVisit, wanted: InvitationFilter) -> Address:
    """Return the function that builds the address of the list or the download with a filter."""
    tag = visit.request.query_params.get("lang")
    lang = [("lang", tag)] if tag in languages() else []
    own: list[tuple[str, str]] = [("state", state.value) for state in wanted.states]
    own += [("all", "1")] if wanted.everything else []
    own += [("stale_days", str(wanted.quiet_days))] if wanted.quiet_days is not None else []

    def address(path: str = "", other: list[tuple[str, str]] | None = None, **more: str) -> str:
        fields = own if other is None else other
        search = {"q": wanted.query, **more}
        query = [*fields, *((name, text) for name, text in search.items() if text), *lang]
        return f"{visit.path}{path}{'?' if query else ''}{urlencode(query)}"

    return address


def _chips(
    found: InvitationPage, wanted: InvitationFilter, quiet_days: int, address: Address
) -> list[Chip]:
    """Return the filters that find something, and those that are chosen."""
    counts, states = found.counts, set(wanted.states)
    plain = not states and wanted.quiet_days is None
    ended = wanted.everything or any(state.final for state in states)
    live = plain and not wanted.everything
    chips = [Chip("live", address(other=[]), counts.live, live)]
    for state in InvitationState:
        count = counts.by_state.get(state, 0)
        if state in states or (count and (ended or not state.final)):
            one = address(other=[("state", state.value)])
            chips.append(Chip(state.value, one, count, state in states))
    if counts.quiet or wanted.quiet_days is not None:
        quiet = address(other=[("stale_days", str(quiet_days))])
        chips.append(Chip("quiet", quiet, counts.quiet, wanted.quiet_days is not None))
    everything = address(other=[("all", "1")])
    return [*chips, Chip("all", everything, counts.all, plain and wanted.everything)]


def invited_again(listed: ListedInvitation) -> str:
    """Return the table that invites a person again as before."""
    invitation = listed.invitation
    cells = (invitation.email, listed.name, invitation.license, listed.locale)
    return _csv([("email", "name", "license", "locale"), [each or "" for each in cells]])


def _cells(listed: ListedInvitation) -> list[str]:
    invitation = listed.invitation
    cells = (
        invitation.email,
        listed.name,
        invitation.state,
        invitation.license,
        invitation.invited_by,
        _time(listed.sent_at),
        _time(invitation.expires_at),
        invitation.reminders_sent,
        _time(invitation.quiet_since),
        " ".join(blocker.code for blocker in invitation.blockers),
    )
    return [spreadsheet_text("" if cell is None else cell) for cell in cells]


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else ""


def _csv(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
