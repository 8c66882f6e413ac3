"""Refunds: the list, and the page of one with what can be done about it."""

from dataclasses import dataclass
from typing import Final

from starlette.responses import Response
from starlette.routing import Route

from domain.error import ErrorCode, Refused
from domain.refund import RefundState
from domain.search import PageRequest
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

_LONGEST_ID: Final = 100


@dataclass(frozen=True)
class RefundPages:
    """The refunds of all accounts."""

    operator: OperatorPages
    other_methods: bool
    """True if the provider can return money to another payment method."""

    def routes(self) -> list[Route]:
        """Return the routes."""
        form = self.operator.form
        return [
            self.operator.page("/refunds", self.list),
            self.operator.page("/refunds/{refund}", self.show),
            form("/refunds/{refund}/convert", self.convert, self.again, home="/refunds/{refund}"),
            form("/refunds/{refund}/retry", self.retry, self.again, home="/refunds/{refund}"),
            form("/refunds/{refund}/close", self.close, self.again, home="/refunds/{refund}"),
        ]

    async def list(self, visit: OperatorVisit) -> Response:
        """List a page of the refunds, the newest first."""
        query = visit.request.query_params
        state = RefundState(query["state"]) if query.get("state") in {*RefundState} else None
        after = query.get("after")
        part = PageRequest(after=after if after and len(after) <= _LONGEST_ID else None)
        found = await visit.clients.store.refunds.page(state, part)
        page = Page(
            "operator/refunds.html",
            "refunds",
            values={
                "found": found,
                "state_filter": state,
                "total": sum(found.counts.values()),
                "address": lambda path="", **query: address(visit, path, **query),
            },
        )
        return self.operator.respond(visit, page, tab="refunds")

    async def show(self, visit: OperatorVisit) -> Response:
        """Show a refund, as the store has it."""
        return await self._respond(visit)

    async def convert(self, visit: OperatorVisit, form: Form) -> Response:
        """Convert the failed amount into credit (REF-4)."""
        refund_id = _id_of(visit)
        await answered(visit.clients.refunds.convert(refund_id))
        return go(visit, f"/refunds/{refund_id}", done="refund_converted")

    async def retry(self, visit: OperatorVisit, form: Form) -> Response:
        """Request the failed amount again, to the original method or to another one (REF-4)."""
        refund_id, method = _id_of(visit), one_line(form.get("method", ""))
        if len(method) > _LONGEST_ID or (method and not self.other_methods):
            raise Refused(ErrorCode.INVALID_INPUT, "This cannot be a payment method.")
        await answered(visit.clients.refunds.retry(refund_id, method or None))
        return go(visit, f"/refunds/{refund_id}", done="refund_retried")

    async def close(self, visit: OperatorVisit, form: Form) -> Response:
        """Write off what is open (REF-4)."""
        refund_id = _id_of(visit)
        await answered(visit.clients.refunds.close(refund_id, reason_of(form)))
        return go(visit, f"/refunds/{refund_id}", done="refund_closed")

    async def again(self, visit: OperatorVisit, form: Form, refused: Refused) -> Response:
        """Show the refund again, with the reason and what was entered."""
        return await self._respond(visit, refused, form)

    async def _respond(
        self, visit: OperatorVisit, refused: Refused | None = None, answer: Form | None = None
    ) -> Response:
        # The store needs no Temporal, and has every change that the workflow has made.
        found = await visit.clients.store.refunds.find(_id_of(visit))
        if found is None:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such refund.")
        plan, refund = found
        invitation = await visit.clients.store.invitations.by_id(plan.invitation_id)
        page = Page(
            "operator/refund.html",
            "refund",
            state=refund.state,
            status=status_after(refused),
            error=refused.code.value if refused else None,
            headers=dict(headers_after(refused)),
            values={
                "plan": plan,
                "refund": refund,
                "key": invitation.invitation.workflow_id.rpartition("/")[2] if invitation else "",
                "other_methods": self.other_methods,
                "refused": refused,
                # The last part of the path is the action.
                "action": visit.request.url.path.rpartition("/")[2] if refused else "",
                "answer": answer or {},
                "done": visit.request.query_params.get("done", ""),
                "address": lambda path="", **query: address(visit, path, **query),
            },
        )
        return self.operator.respond(visit, page, tab="refunds")


def _id_of(visit: OperatorVisit) -> str:
    """Return the id of the path. Raises `Refused(not_found)` if it cannot be one."""
    refund_id: str = visit.request.path_params["refund"]
    if len(refund_id) > _LONGEST_ID or not refund_id.isascii() or not refund_id.isprintable():
        raise Refused(ErrorCode.NOT_FOUND, "There is no such refund.")
    return refund_id
