"""Owners who cannot leave yet, and what clears the way (BLK)."""

from datetime import UTC, datetime

from commands.demo.step import ACCOUNT, ADMIN, Stage, Step, expect
from domain.error import ErrorCode
from domain.invitation import InvitationState
from domain.remedy import Removal

CARLA = "carla@club.example"
KARL = "karl@club.example"
KIM = "kim@club.example"
ROOM = "board-room"


class Blockers:
    """Each invitation stays valid, and goes on by itself when the last blocker has gone."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._client = stage.client
        self._remedies = stage.store.remedies
        self.steps = (
            Step("Two users and a room block Carla: she is told all three", self._blocked),
            Step("She clears them one by one; her invitation goes on", self._cleared),
            Step("Greta's two users are invited along; then she can follow", self._members),
            Step("Ines pays the open invoice that blocks her, and joins", self._paid),
        )

    async def _blocked(self) -> None:
        await self._stage.pending(CARLA)
        await self._is_blocked(CARLA)
        await self._stage.blocked_by(CARLA, KARL, KIM, ROOM)
        await self._stage.mailed("blocked", CARLA)

    async def _cleared(self) -> None:
        await self._remedies.remove_user("club", KARL, Removal.UNLINK, _now())
        await self._stage.blocked_by(CARLA, KIM, ROOM)
        await self._remedies.remove_user("club", KIM, Removal.DELETE, _now())
        await self._stage.blocked_by(CARLA, ROOM)
        await self._remedies.remove_room("club", ROOM, _now())
        await self._goes_on(CARLA)

    async def _members(self) -> None:
        greta, gina, gus = (f"{name}@workshop.example" for name in ("greta", "gina", "gus"))
        await self._stage.pending(greta)
        await self._is_blocked(greta)
        rows = await self._client.invite_members(ACCOUNT, greta, ADMIN)
        results = [(row.email, row.result) for row in rows]
        expect(results == [(gina, "invited"), (gus, "invited")], f"the rows are {results}")
        await self._joins(gina)
        await self._stage.blocked_by(greta, gus)
        await self._joins(gus)
        await self._goes_on(greta)

    async def _paid(self) -> None:
        ines = "ines@lab.example"
        await self._stage.pending(ines)
        await self._is_blocked(ines)
        await self._stage.blocked_by(ines, "inv-9")
        await self._remedies.pay_invoice("ines-pro", "inv-9", _now())
        await self._goes_on(ines)

    async def _is_blocked(self, email: str) -> None:
        await self._stage.refused(ErrorCode.BLOCKED, self._client.accept(ACCOUNT, email))

    async def _goes_on(self, email: str) -> None:
        """By itself: nobody invites again, and the invitee is told."""
        await self._stage.until(email, InvitationState.PENDING)
        await self._stage.mailed("unblocked", email)
        await self._client.accept(ACCOUNT, email)
        await self._stage.until(email, InvitationState.COMPLETED)

    async def _joins(self, email: str) -> None:
        await self._stage.until(email, InvitationState.PENDING)
        await self._client.accept(ACCOUNT, email)
        await self._stage.until(email, InvitationState.COMPLETED)


def _now() -> datetime:
    return datetime.now(UTC)
