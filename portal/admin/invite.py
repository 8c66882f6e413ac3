"""Inviting people: the form, the review before anything is sent, and the progress afterwards."""

import asyncio
import csv
import io
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, get_args

from pydantic import JsonValue
from starlette.responses import Response
from starlette.routing import Route

from domain.batch import BatchRow, RowResult, rows_of
from domain.error import ErrorCode, Refused
from domain.invitation import License, Person, checked_note
from domain.invitation_list import BatchPage, Review, ReviewedRow
from domain.people_file import NOT_UTF8, PeopleFile, read_people
from domain.text import WHOLE_NUMBER, one_line, unknown_locale
from portal.admin.invitations import InvitationPages
from portal.admin.visit import AdminPages, AdminVisit
from portal.page import Page
from portal.request import Form

MOST_PEOPLE: Final = 10_000
MOST_ENTRIES: Final = 2 * MOST_PEOPLE
"""Addresses with those that are repeated; more are refused before they are parsed."""
MAX_BYTES: Final = 4 * 1024 * 1024
"""Of a form with so many people: some 400 bytes for each, URL-encoded."""
MOST_HEADS_UP_DAYS: Final = 365
ROWS_SHOWN: Final = 100
"""Rows of a review that are shown whatever their result; refused ones are shown all."""
MISTAKES_SHOWN: Final = 20

FIELDS: Final = ("people", "license", "locale", "heads_up_days", "note")
"""The fields of the form that are carried from page to page."""

_RESULTS: Final[Mapping[str, RowResult]] = {each: each for each in get_args(RowResult)}
_BATCH_ID = re.compile("web-[0-9a-f]{24}")
_SEPARATORS = re.compile(r"[,;\t\r\n]+")
_NAMED_ADDRESS = re.compile(r"([^<>]*)<([^<>]*)>")


@dataclass(frozen=True)
class InviteRequest:
    """The request of a form."""

    rows: Sequence[BatchRow]
    repeated: int
    """The number of rows that repeat an address."""
    heads_up_days: int
    note: str | None


@dataclass(frozen=True)
class InvitePages:
    """The pages of inviting people."""

    admin: AdminPages
    listing: InvitationPages

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            self.admin.form("/invite", self.review, self.again, max_bytes=MAX_BYTES),
            self.admin.form("/invite/confirm", self.confirm, self.again, max_bytes=MAX_BYTES),
            self.admin.page("/invite/{batch}", self.progress),
        ]

    async def review(self, visit: AdminVisit, form: Form) -> Response:
        """Show what would become of each row; nothing is sent or written."""
        request = await request_of(form)
        clients = visit.clients
        review = await clients.invitation_lists.review(visit.account.id, request.rows, visit.by)
        shown = _shown(review)
        page = Page(
            "admin/invite_review.html",
            "invite-review",
            values={
                "review": review,
                "request": request,
                "shown": shown,
                "unshown": len(review.rows) - len(shown),
                "entered": entered_in(form),
                "batch": f"web-{secrets.token_hex(12)}",
                "refused": None,
            },
        )
        return self.admin.respond(visit, page, tab="invitations")

    async def confirm(self, visit: AdminVisit, form: Form) -> Response:
        """Start the batch; a second click finds the same one.

        Each row is decided again when it is invited.
        """
        request = await request_of(form)
        batch_id = form.get("batch", "")
        if not _BATCH_ID.fullmatch(batch_id):
            raise Refused(ErrorCode.CONFLICT, "The invitations have to be checked first.")
        batch = await visit.clients.batches.submit(
            visit.account.id,
            request.rows,
            visit.by,
            batch_id=batch_id,
            heads_up_days=request.heads_up_days,
            note=request.note,
        )
        return self.admin.redirect(visit, f"/invite/{batch.batch_id}")

    async def again(self, visit: AdminVisit, form: Form, refused: Refused) -> Response:
        """Show the form again, with the reason and what was entered."""
        return await self.listing.respond(visit, refused, entered_in(form))

    async def progress(self, visit: AdminVisit) -> Response:
        """Show how far a batch is, and the results of its rows."""
        query = visit.request.query_params
        result, after = query.get("result", ""), query.get("next", "")
        found = await visit.clients.invitation_lists.batch(
            visit.account.id,
            visit.request.path_params["batch"],
            _RESULTS.get(result),
            int(after) if WHOLE_NUMBER.fullmatch(after) and len(after) < 9 else None,
        )
        return self.admin.respond(visit, _progress_page(visit, found), tab="invitations")


def _progress_page(visit: AdminVisit, found: BatchPage) -> Page:
    running = not found.progress.finished
    query = visit.request.url.query
    return Page(
        "admin/invite_progress.html",
        "invite-progress",
        state="running" if running else "finished",
        live=running,
        values={
            "found": found,
            "now": datetime.now(UTC),
            "result": _RESULTS.get(visit.request.query_params.get("result", "")),
            "here": f"{visit.path}/invite/{found.batch.batch_id}",
            "live_address": f"{visit.path}/invite/{found.batch.batch_id}"
            + (f"?{query}" if query else ""),
        },
    )


def _shown(review: Review) -> list[ReviewedRow]:
    """Return the first rows and all refused ones."""
    return [
        row
        for number, row in enumerate(review.rows)
        if number < ROWS_SHOWN or row.result == "refused"
    ]


def entered_in(form: Form) -> dict[str, str]:
    """Return the fields as they were entered."""
    return {name: form.get(name, "") for name in FIELDS}


async def request_of(form: Form) -> InviteRequest:
    """Return the request of a form.

    Raises `Refused(invalid_input)` with every mistake, by field, in `fields`.
    """
    # Ten thousand addresses take a second to parse; other requests are answered meanwhile.
    return await asyncio.to_thread(_request_of, form)


def _request_of(form: Form) -> InviteRequest:
    fields: dict[str, JsonValue] = {}
    license, locale = form.get("license") or License.BASIC, form.get("locale") or None
    if license not in set(License):
        fields["license"] = "unknown"
        license = License.BASIC
    if locale and unknown_locale(locale):
        fields["locale"] = "unknown"
        locale = None
    typed = form.get("heads_up_days", "").strip() or "0"
    if not WHOLE_NUMBER.fullmatch(typed) or int(typed) > MOST_HEADS_UP_DAYS:
        fields["heads_up_days"] = "not_whole"
    note = None
    try:
        note = checked_note(form.get("note"))
    except Refused:
        fields["note"] = "too_long"
    text = form.get("people", "")
    too_many = _count_of_entries(text) > MOST_ENTRIES
    given, file = _people_of("" if too_many else text, License(license), locale)
    rows = rows_of(given, file)
    if mistake := "too_many" if too_many else _mistake_in(file, rows):
        fields["people"] = mistake
    mistakes: list[JsonValue] = [
        f"{each.place}: {each.reason}" for each in file.unreadable[:MISTAKES_SHOWN]
    ]
    if fields:
        raise Refused(
            ErrorCode.INVALID_INPUT,
            "What was entered has mistakes; nobody was invited.",
            fields=fields,
            mistakes=mistakes,
        )
    return InviteRequest(
        rows=rows,
        repeated=len(given) + len(file.rows) + len(file.repeated) - len(rows),
        heads_up_days=int(typed),
        note=note,
    )


def _mistake_in(file: PeopleFile, rows: Sequence[BatchRow]) -> str | None:
    if file.unreadable:
        return "unreadable"
    if not rows:
        return "missing"
    return "too_many" if len(rows) > MOST_PEOPLE else None


def _count_of_entries(text: str) -> int:
    """Return about how many addresses a list has, or how many rows a table has."""
    if is_table(text):
        return max(text.count("\n"), text.count("\r"))
    return sum(1 for _ in _SEPARATORS.finditer(text))


def _people_of(
    text: str, license: License, locale: str | None
) -> tuple[Sequence[Person], PeopleFile]:
    """Return the people of a list of addresses, or of a table whose first line names `email`."""
    if "\N{REPLACEMENT CHARACTER}" in text:
        mistake: dict[str, JsonValue] = {"row": 1, "column": None, "reason": NOT_UTF8}
        return [], PeopleFile.model_validate({"unreadable": [mistake]})
    if is_table(text):
        return [], read_people(io.BytesIO(text.encode()), license, locale)
    people = []
    for entry in _SEPARATORS.split(text):
        if not (written := one_line(entry)):
            continue
        # As mail programs write several recipients.
        named = _NAMED_ADDRESS.fullmatch(written)
        name, email = (named[1].strip(' "') or None, named[2]) if named else (None, written)
        people.append(Person(email=email.strip(), name=name, license=license, locale=locale))
    return people, PeopleFile()


def is_table(text: str) -> bool:
    """Return whether the first line that is not blank names the column `email`."""
    lines = io.StringIO(text.lstrip("\ufeff"), newline=None)
    first = next((line for line in lines if line.strip()), "")
    return any(
        cell.strip().casefold() == "email"
        for separator in ",;\t"
        # A line of addresses may be longer than the longest cell that csv reads.
        for cell in next(csv.reader([first[:1000]], delimiter=separator), [])
    )
