"""The account itself: its data, its domains, its activity, and the person's sessions."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from clients.session import hash_of
from domain.error import ErrorCode, Refused
from portal.admin.link import named, readable
from portal.admin.visit import AdminPages, AdminVisit
from portal.page import Page, query_of
from portal.request import Form
from portal.session import COOKIE
from portal.visit import status_of


@dataclass(frozen=True)
class AccountPages:
    """The export of the members' data, managed domains, activity and sessions."""

    admin: AdminPages

    def routes(self) -> list[Route]:
        """Return the routes."""
        page, form = self.admin.page, self.admin.form
        return [
            page("/account", self.show),
            page("/account/export", self.export),
            form("/domains/add", self.add_domain, self.again, home="/account"),
            form("/domains/verify", self.verify_domain, self.again, home="/account"),
            form("/sessions/revoke", self.revoke, self.again, home="/account"),
            form("/sessions/revoke-all", self.revoke_all, self.again, home="/account"),
        ]

    async def show(self, visit: AdminVisit) -> Response:
        """Show the account."""
        return await self._respond(visit)

    async def export(self, visit: AdminVisit) -> Response:
        """Respond with the account as JSON that `import` accepts, as a file to save."""
        account = visit.account.id
        directory = await visit.clients.store.directory.export(account)
        document = directory.model_dump(mode="json", by_alias=True)
        headers = {"Content-Disposition": f'attachment; filename="{account}.json"'}
        return Response(
            json.dumps(document, indent=2), media_type="application/json", headers=headers
        )

    # Managed domains.

    async def add_domain(self, visit: AdminVisit, form: Form) -> Response:
        """Add a domain, pending until its record is found."""
        await visit.clients.managed_domains.add(
            visit.account.id, form.get("domain", ""), datetime.now(UTC), by=visit.by
        )
        return self.admin.redirect(visit, "/account")

    async def verify_domain(self, visit: AdminVisit, form: Form) -> Response:
        """Verify that DNS has the record of a domain (INV-18)."""
        try:
            await visit.clients.managed_domains.verify(
                visit.account.id, form.get("domain", ""), datetime.now(UTC), by=visit.by
            )
        except Refused as refused:
            if "record" not in refused.details:
                raise
            # The domain is there; its record is not.
            return await self.again(visit, form, refused)
        return self.admin.redirect(visit, "/account")

    # Sessions.

    async def revoke(self, visit: AdminVisit, form: Form) -> Response:
        """Sign the person out on one device."""
        session = readable(form.get("session"))
        if session:
            await visit.clients.sessions.revoke(session, visit.person.email)
        return self.admin.redirect(visit, "/account")

    async def revoke_all(self, visit: AdminVisit, form: Form) -> Response:
        """Sign the person out everywhere, here as well."""
        await visit.clients.sessions.revoke_all(visit.person.email)
        url = f"{self.admin.frame.root}/sign-in{query_of(visit.request)}"
        return RedirectResponse(url, HTTPStatus.SEE_OTHER)

    # The page.

    async def again(self, visit: AdminVisit, form: Form, refused: Refused) -> Response:
        """Show the page with the refusal and the entered values."""
        return await self._respond(visit, refused, form)

    async def _respond(
        self, visit: AdminVisit, refused: Refused | None = None, form: Form | None = None
    ) -> Response:
        account, clients = visit.account.id, visit.clients
        sessions = await clients.sessions.listed(visit.person.email)
        entered = form.get("domain", "") if form else ""
        values: dict[str, object] = {
            "refused": refused,
            "domain": entered,
            "missing": refused is not None and refused.code is ErrorCode.NOT_FOUND,
            "domains": await clients.managed_domains.list(account),
            "changes": await clients.store.changes.page(account, named(visit, "after")),
            "sessions": sessions if visit.person.has_session else [],
            "current": hash_of(visit.request.cookies.get(COOKIE, "")),
        }
        page = Page(
            "admin/account.html",
            "account",
            status_of(refused),
            error=refused.code.value if refused else None,
            values=values,
        )
        return self.admin.respond(visit, page, tab="account")
