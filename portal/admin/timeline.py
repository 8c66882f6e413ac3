"""The timeline of one invitation."""

from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import Route

from clients.timeline import NamedInvitation
from domain.error import ErrorCode, Refused
from domain.invitation import Choice, InvitationState
from portal.admin.visit import AdminPages, AdminVisit
from portal.page import Page
from portal.request import Form
from portal.visit import status_of
from states.invitation import InvitationMachine
from states.lifecycle import transitions

_HOME = "/invitations/{key}"


@dataclass(frozen=True)
class TimelinePages:
    """The latest invitation of a person: its state, its journal and what can be done now."""

    admin: AdminPages

    def routes(self) -> list[Route]:
        """Return the routes of the page and of its forms."""
        actions = {
            "resend": self._resend,
            "revoke": self._revoke,
            "recheck": self._recheck,
            "retry-move": self._retry_move,
            "accept": self._accept,
            "decline": self._decline,
        }
        return [
            self.admin.page(_HOME, self.show),
            *(
                self.admin.form(f"{_HOME}/{name}", act, self._again, home=_HOME)
                for name, act in actions.items()
            ),
        ]

    async def show(self, visit: AdminVisit) -> Response:
        """Show the invitation as it is now."""
        return await self._respond(visit)

    async def _again(self, visit: AdminVisit, form: Form, refused: Refused) -> Response:
        return await self._respond(visit, refused, form)

    async def _respond(
        self, visit: AdminVisit, refused: Refused | None = None, answer: Form | None = None
    ) -> Response:
        timeline = await visit.clients.timelines.read(_named(visit))
        page = Page(
            "admin/timeline.html",
            "timeline",
            status=status_of(refused),
            state=timeline.state.value,
            error=refused.code.value if refused else None,
            live=timeline.follows,
            values={
                "page": timeline,
                "path": f"{visit.path}/invitations/{timeline.key}",
                "refused": refused,
                "answer": answer or {},
                "marks": _marks(timeline.state.value, timeline.visited),
                "lines": {
                    f"{origin}-{target}": "taken" for origin, target in timeline.taken if origin
                },
                "next_states": _next_states(timeline.state.value),
            },
        )
        return self.admin.respond(visit, page, tab="invitations")

    def _to_page(self, visit: AdminVisit) -> Response:
        return self.admin.redirect(visit, _HOME.format_map(visit.request.path_params))

    # Requests of admins.

    async def _resend(self, visit: AdminVisit, form: Form) -> Response:
        await visit.clients.timelines.resend(_named(visit, form), visit.by)
        return self._to_page(visit)

    async def _revoke(self, visit: AdminVisit, form: Form) -> Response:
        await visit.clients.timelines.revoke(_named(visit, form), visit.by)
        return self._to_page(visit)

    async def _recheck(self, visit: AdminVisit, form: Form) -> Response:
        await visit.clients.timelines.recheck(_named(visit, form), visit.by)
        return self._to_page(visit)

    async def _retry_move(self, visit: AdminVisit, form: Form) -> Response:
        await visit.clients.timelines.retry_move(_named(visit, form), visit.by)
        return self._to_page(visit)

    # Answers by an operator on the invitee's behalf.

    async def _accept(self, visit: AdminVisit, form: Form) -> Response:
        _require_operator(visit)
        await visit.clients.timelines.accept(_named(visit, form), _choice_of(form))
        return self._to_page(visit)

    async def _decline(self, visit: AdminVisit, form: Form) -> Response:
        _require_operator(visit)
        await visit.clients.timelines.decline(_named(visit, form), form.get("reason"))
        return self._to_page(visit)


def _named(visit: AdminVisit, form: Form | None = None) -> NamedInvitation:
    run_id = form.get("run") if form else None
    return NamedInvitation(visit.account.id, visit.request.path_params["key"], run_id)


def _require_operator(visit: AdminVisit) -> None:
    if not visit.as_operator:
        raise Refused(ErrorCode.NOT_FOUND, "Only the invitee and operators can answer.")


def _choice_of(form: Form) -> Choice | None:
    named = form.get("choice", "")
    if named not in {"", *Choice}:
        raise Refused(ErrorCode.INVALID_INPUT, "Choose refund or transfer.")
    return Choice(named) if named else None


def _marks(state: str, visited: tuple[str, ...]) -> dict[str, str]:
    """Return the marks of states in the drawing of the machine."""
    return dict.fromkeys(visited, "visited") | {state: "lit"}


def _next_states(state: str) -> list[InvitationState]:
    """Return the states that may follow, in the order of their declaration."""
    following = {to for (at, _), to in transitions(InvitationMachine).items() if at == state}
    return [each for each in InvitationState if each in following and each != state]
