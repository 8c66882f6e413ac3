"""Owners whose account has blockers, and the remedies (BLK)."""

from datetime import UTC, datetime

from commands.demo.step import ACCOUNT, DemoStack, Step
from domain.error import ErrorCode
from domain.invitation import InvitationState
from domain.journal import OPERATOR
from domain.remedy import Removal

CARLA = "carla@club.example"
KARL = "karl@club.example"
KIM = "kim@club.example"
ROOM = "board-room"


class Blockers:
    """Blocked invitations, which continue when their last blocker is removed."""

    def __init__(self, demo: DemoStack) -> None:
        self._demo = demo
        self._remedies = demo.store.remedies
        self.steps = (
            Step("Two users and a room block Carla; she is notified of all three", self._block),
            Step("Carla removes them one by one; then she can accept", self._unblock),
            Step(
                "Greta invites her two users on her page; then she can accept", self._invite_members
            ),
            Step("Ines pays the open invoice that blocks her; then she can accept", self._pay),
        )

    async def _block(self) -> None:
        await self._demo.pending(CARLA)
        await self._accept_is_blocked(CARLA)
        await self._demo.blocked_by(CARLA, KARL, KIM, ROOM)
        await self._demo.mailed("blocked", CARLA)

    async def _unblock(self) -> None:
        await self._remedies.remove_user("club", KARL, Removal.UNLINK, _now())
        await self._demo.blocked_by(CARLA, KIM, ROOM)
        await self._remedies.remove_user("club", KIM, Removal.DELETE, _now())
        await self._demo.blocked_by(CARLA, ROOM)
        await self._remedies.remove_room("club", ROOM, _now())
        await self._unblocked_and_accepted(CARLA)

    async def _invite_members(self) -> None:
        greta, gina, gus = (f"{name}@workshop.example" for name in ("greta", "gina", "gus"))
        await self._demo.pending(greta)
        await self._accept_is_blocked(greta)
        await self._demo.invitees.invite_members(ACCOUNT, greta)
        await self._accepted(gina)
        await self._demo.blocked_by(greta, gus)
        await self._accepted(gus)
        await self._unblocked_and_accepted(greta)

    async def _pay(self) -> None:
        ines = "ines@lab.example"
        await self._demo.pending(ines)
        await self._accept_is_blocked(ines)
        await self._demo.blocked_by(ines, "inv-9")
        await self._demo.clients.invoices.pay("ines-pro", "inv-9", by=OPERATOR, at=_now())
        await self._unblocked_and_accepted(ines)

    async def _accept_is_blocked(self, email: str) -> None:
        await self._demo.refused(ErrorCode.BLOCKED, self._demo.invitees.accept(ACCOUNT, email))

    async def _unblocked_and_accepted(self, email: str) -> None:
        """Check that the invitation becomes pending again and the invitee is notified; accept."""
        await self._demo.until(email, InvitationState.PENDING)
        await self._demo.mailed("unblocked", email)
        await self._accepted(email)

    async def _accepted(self, email: str) -> None:
        await self._demo.until(email, InvitationState.PENDING)
        await self._demo.invitees.accept(ACCOUNT, email)
        await self._demo.until(email, InvitationState.COMPLETED)


def _now() -> datetime:
    return datetime.now(UTC)
