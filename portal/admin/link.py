"""Parts of the pages of an account's money and settings that several of them use."""

from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from domain.error import ErrorCode, Refused
from portal.admin.visit import AdminVisit
from portal.page import query_of

_LONGEST_ID: Final = 100


def redirect(visit: AdminVisit, path: str, **query: str) -> Response:
    """Redirect to a page of the account with a query, and keep the chosen language."""
    kept = query_of(visit.request)
    more = urlencode(query)
    joined = f"{kept}&{more}" if kept and more else kept or (f"?{more}" if more else "")
    return RedirectResponse(f"{visit.path}{path}{joined}", HTTPStatus.SEE_OTHER)


def named(visit: AdminVisit, parameter: str) -> str | None:
    """Return an id or a cursor of the query; None if it cannot be one."""
    return readable(visit.request.query_params.get(parameter))


def readable(id: str | None) -> str | None:
    """Return `id` if it can be one."""
    if not id or len(id) > _LONGEST_ID or not id.isascii() or not id.isprintable():
        return None
    return id


def require_id(id: str | None) -> str:
    """Return `id` if it can be one. Raises `Refused(not_found)`."""
    found = readable(id)
    if found is None:
        raise Refused(ErrorCode.NOT_FOUND, "There is nothing with this id.")
    return found


def author_of(visit: AdminVisit) -> str:
    """Return the author of what the visitor does in the name of an admin (OPS-8)."""
    return visit.clients.author.acting_for(visit.by)
