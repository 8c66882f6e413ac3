"""The operators' list, with what can be done about each case."""

import shlex
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from starlette.responses import Response
from starlette.routing import Route

from domain.attention import AttentionCase, AttentionKind
from domain.error import ErrorCode, Refused
from domain.text import one_line
from portal.operator.outcome import (
    address,
    answered,
    go,
    headers_after,
    reason_of,
    status_after,
)
from portal.operator.visit import OperatorPages, OperatorVisit
from portal.page import Page
from portal.request import Form
from runtime.attention import Attention

PAGE_SIZE: Final = 50
_LONGEST_NAME: Final = 100


class Action(StrEnum):
    """The part of the page that does what the remedy of a case does."""

    REFUND_CLOSE = "refund_close"
    REFUND_DECIDE = "refund_decide"
    """Convert, retry or close."""
    REFUND_SHOW = "refund_show"
    MOVE_RETRY = "move_retry"
    OUTBOX = "outbox"
    """Retry or discard."""
    REVERSAL_CLOSE = "reversal_close"
    DIVERGENCE_SETTLE = "divergence_settle"
    CREDIT_SHOW = "credit_show"
    AUDIT = "audit"
    COMMAND = "command"
    """Only a command line can do it."""


@dataclass(frozen=True)
class Entry:
    """A case of the list, and what the page does about it."""

    case: AttentionCase
    action: Action
    subject: str = ""
    """The id that the action is about; for a move the key of the invitee."""


@dataclass(frozen=True)
class Wanted:
    """The filter of the list, and the row after which the page begins."""

    kind: AttentionKind | None = None
    account: str = ""
    newest_first: bool = False
    after: str = ""

    def selects(self, case: AttentionCase) -> bool:
        """Return whether the list shows the case."""
        return self.of_account(case) and self.kind in {None, case.kind}

    def of_account(self, case: AttentionCase) -> bool:
        """Return whether the case concerns the account, if one is named."""
        return not self.account or case.account == self.account

    @property
    def query(self) -> dict[str, str | None]:
        """Return the fields that keep the filter."""
        order = "newest" if self.newest_first else None
        return {"kind": self.kind, "account": self.account or None, "order": order}


@dataclass(frozen=True)
class AttentionPages:
    """The page of everything that waits for a person, and the forms on it."""

    operator: OperatorPages

    def routes(self) -> list[Route]:
        """Return the routes."""
        form = self.operator.form
        return [
            self.operator.page("", self.show),
            form("/moves/retry", self.retry_move, self.again),
            form("/outbox/retry", self.retry, self.again),
            form("/outbox/discard", self.discard, self.again),
            form("/reversals/close", self.close_reversal, self.again),
            form("/divergences/settle", self.settle, self.again),
        ]

    async def show(self, visit: OperatorVisit) -> Response:
        """Show the operators' list."""
        return await self._respond(visit, _wanted(visit.request.query_params))

    async def retry_move(self, visit: OperatorVisit, form: Form) -> Response:
        """Retry the failed items of a move (TRF-1)."""
        invitations = visit.clients.invitations
        await _settled(invitations.retry_move(form.get("into", ""), form.get("subject", "")))
        return _done(visit, form, "move_retried")

    async def retry(self, visit: OperatorVisit, form: Form) -> Response:
        """Make a row of the outbox due now (OPS-1)."""
        by = visit.clients.author.name
        _require(await visit.clients.store.outbox.retry(_number(form), by=by))
        return _done(visit, form, "outbox_retried")

    async def discard(self, visit: OperatorVisit, form: Form) -> Response:
        """Delete a row of the outbox (OPS-1)."""
        by = visit.clients.author.name
        _require(await visit.clients.store.outbox.discard(_number(form), by=by))
        return _done(visit, form, "outbox_discarded")

    async def close_reversal(self, visit: OperatorVisit, form: Form) -> Response:
        """Close a reversal, so that it leaves the list (OPS-5)."""
        reversals, by = visit.clients.store.reversals, visit.clients.author.name
        reason, at = reason_of(form), datetime.now(UTC)
        await _settled(reversals.close(form.get("subject", ""), by, reason, at))
        return _done(visit, form, "reversal_closed")

    async def settle(self, visit: OperatorVisit, form: Form) -> Response:
        """Settle a difference, so that it leaves the list (OPS-6)."""
        by = visit.clients.author.name
        _require(await visit.clients.store.restore.settle(_number(form), by=by))
        return _done(visit, form, "divergence_settled")

    async def again(self, visit: OperatorVisit, form: Form, refused: Refused) -> Response:
        """Show the list again, with the reason and what was entered."""
        return await self._respond(visit, _wanted(form), refused, form)

    async def _respond(
        self,
        visit: OperatorVisit,
        wanted: Wanted,
        refused: Refused | None = None,
        answer: Form | None = None,
    ) -> Response:
        cases = await Attention(visit.clients).cases()
        unreachable = [each for each in cases if each.kind is AttentionKind.TEMPORAL_UNREACHABLE]
        cases = [each for each in cases if each not in unreachable]
        of_account = [case for case in cases if wanted.of_account(case)]
        shown, more = _page([case for case in of_account if wanted.selects(case)], wanted)
        page = Page(
            "operator/attention.html",
            "attention",
            status=status_after(refused),
            error=refused.code.value if refused else None,
            headers=dict(headers_after(refused)),
            values={
                "entries": [_entry(case) for case in shown],
                "kinds": sorted(Counter(case.kind for case in of_account).items()),
                "total": len(of_account),
                "everything": len(cases),
                "wanted": wanted,
                "more": more,
                "unreachable": next(iter(unreachable), None),
                "refused": refused,
                "answer": answer or {},
                "done": visit.request.query_params.get("done", ""),
                "address": lambda path="", **query: address(visit, path, **query),
            },
        )
        return self.operator.respond(visit, page, tab="attention")


def _wanted(fields: Mapping[str, str]) -> Wanted:
    """Return the filter of a query or a form; values that are none are ignored."""
    get = fields.get
    kind = get("kind", "")
    return Wanted(
        kind=AttentionKind(kind) if kind in set(AttentionKind) else None,
        account=one_line(get("account", ""))[:_LONGEST_NAME],
        newest_first=get("order", "") == "newest",
        after=get("after", ""),
    )


def _page(cases: Sequence[AttentionCase], wanted: Wanted) -> tuple[list[AttentionCase], str | None]:
    """Return the cases of the page, and the row after which the next one begins."""
    ordered = sorted(cases, key=_place, reverse=wanted.newest_first)
    if wanted.after:
        ordered = [
            case
            for case in ordered
            if (_place(case) < wanted.after if wanted.newest_first else _place(case) > wanted.after)
        ]
    shown = ordered[:PAGE_SIZE]
    return shown, _place(shown[-1]) if len(ordered) > PAGE_SIZE else None


def _place(case: AttentionCase) -> str:
    """Return the place of a case in the order of age."""
    since = case.since.astimezone(UTC).isoformat(timespec="microseconds")
    return f"{since} {case.kind} {case.id}"


def _entry(case: AttentionCase) -> Entry:
    """Return the case with the form that does what its remedy does on a command line."""
    match shlex.split(case.remedy):
        case ["seatflow", "refund", "close", refund, *_]:
            action, subject = Action.REFUND_CLOSE, refund
        case ["seatflow", "refund", "convert", refund, *_]:
            action, subject = Action.REFUND_DECIDE, refund
        case ["seatflow", "refund", "show", refund]:
            action, subject = Action.REFUND_SHOW, refund
        case ["seatflow", "retry-move", _, key]:
            action, subject = Action.MOVE_RETRY, key
        case ["seatflow", "outbox", "retry", number]:
            action, subject = Action.OUTBOX, number
        case ["seatflow", "reversal", "close", reversal, *_]:
            action, subject = Action.REVERSAL_CLOSE, reversal
        case ["seatflow", "reconcile", "--settled", number]:
            action, subject = Action.DIVERGENCE_SETTLE, number
        case ["seatflow", "credit", "show", account]:
            action, subject = Action.CREDIT_SHOW, account
        case ["seatflow", "audit"]:
            action, subject = Action.AUDIT, ""
        case _:
            action, subject = Action.COMMAND, ""
    return Entry(case, action, subject)


def _done(visit: OperatorVisit, form: Form, done: str) -> Response:
    return go(visit, "", **_wanted(form).query, done=done)


def _number(form: Form) -> int:
    """Return the number of a row. Raises `Refused(conflict)` if it cannot be one."""
    text = form.get("subject", "")
    _require(text.isascii() and text.isdecimal() and len(text) < 16)
    return int(text)


def _require(found: object) -> None:
    """Raise `Refused(conflict)` for a case that has left the list."""
    if not found:
        raise Refused(ErrorCode.CONFLICT, "This case is no longer on the list.")


async def _settled(request: Awaitable[object]) -> None:
    """Await a request. Raises Refused: `conflict` also for something that does not exist.

    The list is shown again with the reason, instead of the page for an unknown address.
    """
    try:
        await answered(request)
    except Refused as refused:
        if refused.code is not ErrorCode.NOT_FOUND:
            raise
        raise Refused(ErrorCode.CONFLICT, refused.message) from refused
