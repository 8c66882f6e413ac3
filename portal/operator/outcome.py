"""The end of an action of an operator: the next page, or the reason why nothing was done."""

from collections.abc import Awaitable, Mapping
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from domain.error import ErrorCode, Refused, Unavailable
from domain.text import one_line
from portal.operator.visit import OperatorVisit
from portal.request import Form
from portal.visit import status_of

LONGEST_REASON: Final = 500

Result = TypeVar("Result")


def go(visit: OperatorVisit, path: str, **query: str | None) -> Response:
    """Redirect to a page of operators; `done` is the action that it reports."""
    return RedirectResponse(address(visit, path, **query), HTTPStatus.SEE_OTHER)


def address(visit: OperatorVisit, path: str, **query: str | None) -> str:
    """Return the address of a page with a query, in the chosen language."""
    lang = visit.request.query_params.get("lang")
    fields = {name: text for name, text in {**query, "lang": lang}.items() if text}
    return f"{visit.path}{path}{'?' if fields else ''}{urlencode(fields)}"


def reason_of(form: Form) -> str:
    """Return the entered reason. Raises `Refused(invalid_input)`."""
    reason = one_line(form.get("reason", ""))
    if not 0 < len(reason) <= LONGEST_REASON:
        raise Refused(
            ErrorCode.INVALID_INPUT, f"Write a reason in 1 to {LONGEST_REASON} characters."
        )
    return reason


async def answered(request: Awaitable[Result]) -> Result:
    """Await a request. Raises Refused, so that the form keeps its values, also when unavailable."""
    try:
        return await request
    except Unavailable as unavailable:
        raise Refused(ErrorCode.BACKEND_UNAVAILABLE, unavailable.message) from unavailable


def status_after(refused: Refused | None) -> int:
    """Return the status of a page after a refusal, or without one."""
    if refused and refused.code is ErrorCode.BACKEND_UNAVAILABLE:
        return HTTPStatus.SERVICE_UNAVAILABLE
    return status_of(refused)


def headers_after(refused: Refused | None) -> Mapping[str, str]:
    """Return the headers of a page after a refusal, or without one."""
    unavailable = refused and refused.code is ErrorCode.BACKEND_UNAVAILABLE
    return {"Retry-After": "10"} if unavailable else {}
