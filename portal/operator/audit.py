"""The audit of the store, and the comparison with Temporal and the payment provider."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from starlette.responses import Response
from starlette.routing import Route

from domain.audit import AuditReport
from domain.error import Refused
from domain.reconciliation import Reconciliation
from portal.operator.outcome import address, headers_after, status_after
from portal.operator.run import Run
from portal.operator.visit import OperatorPages, OperatorVisit
from portal.page import Page
from portal.request import Form

MOST_SHOWN: Final = 200
"""Violations or differences of one list that are shown; the others are counted."""

Result = TypeVar("Result", AuditReport, Reconciliation)
Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class AuditPages:
    """The page of audit and reconciliation; both may take long, and show their progress."""

    operator: OperatorPages

    def routes(self) -> list[Route]:
        """Return the routes."""
        form = self.operator.form
        return [
            self.operator.page("/audit", self.show),
            form("/audit", self.audit, self.again, home="/audit"),
            form("/reconcile", self.compare, self.again, home="/audit"),
            form("/reconcile/fix", self.fix, self.again, home="/audit"),
        ]

    async def show(self, visit: OperatorVisit) -> Response:
        """Show what can be checked."""
        return self._respond(visit)

    async def audit(self, visit: OperatorVisit, form: Form) -> Response:
        """Check the invariants of the store (AUD)."""
        store = visit.clients.store

        async def work(watch: Watch) -> AuditReport:
            return await store.audit(watch)

        return await self._run(visit, "audit", Run(work))

    async def compare(self, visit: OperatorVisit, form: Form) -> Response:
        """Compare store, Temporal and payment provider (OPS-6)."""

        async def work(watch: Watch) -> Reconciliation:
            async with visit.clients.reconciliation() as client:
                return await client.check(watch)

        return await self._run(visit, "compare", Run(work))

    async def fix(self, visit: OperatorVisit, form: Form) -> Response:
        """Remove the differences that can be removed without loss (OPS-6)."""

        async def work(watch: Watch) -> Reconciliation:
            async with visit.clients.reconciliation() as client:
                return await client.fix(watch)

        # It records its author at the end, and reports what it could not remove.
        return await self._run(visit, "fix", Run(work, carry_on=True))

    async def again(self, visit: OperatorVisit, form: Form, refused: Refused) -> Response:
        """Show the page again, with the reason why nothing was begun."""
        return self._respond(visit, refused)

    async def _run(self, visit: OperatorVisit, kind: str, run: Run[Result]) -> Response:
        await run.begin()
        return run.response(
            self._text(self._respond(visit, run=kind)),
            lambda done, total: self._part(visit, "progress", done=done, total=total),
            lambda result: self._part(
                visit, "result", run=kind, result=result, most_shown=MOST_SHOWN
            ),
        )

    def _respond(
        self, visit: OperatorVisit, refused: Refused | None = None, run: str = ""
    ) -> Response:
        page = Page(
            "operator/audit.html",
            "audit",
            state=run or None,
            status=status_after(refused),
            error=refused.code.value if refused else None,
            headers=dict(headers_after(refused)),
            values={"refused": refused, "run": run},
        )
        return self.operator.respond(visit, page, tab="audit")

    def _part(self, visit: OperatorVisit, name: str, **values: object) -> str:
        """Render a part of the page that is sent later."""
        values["address"] = lambda path="", **query: address(visit, path, **query)
        page = Page(f"operator/audit_{name}.html", "audit", values=values)
        return self._text(self.operator.respond(visit, page))

    @staticmethod
    def _text(response: Response) -> str:
        return bytes(response.body).decode()
