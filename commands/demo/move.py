"""Data that moves with its owner (TRF)."""

from commands.demo.step import ACCOUNT, DemoStack, Step, expect
from domain.invitation import InvitationState
from domain.manifest import Item, ItemStatus, join_link


class Moves:
    """The move of a user's data, and its form on the new account."""

    def __init__(self, demo: DemoStack) -> None:
        self._demo = demo
        self._client = demo.clients.invitations
        self.steps = (
            Step("Mona's meetings move; their ids stay, their join links change", self._move),
        )

    async def _move(self) -> None:
        mona = "mona@field.example"
        await self._demo.pending(mona)
        await self._demo.invitees.accept(ACCOUNT, mona)
        completed = await self._demo.until(mona, InvitationState.COMPLETED)
        manifest = {entry.item: entry for entry in completed.manifest}
        unmoved = [item for item in Item if manifest[item].status is not ItemStatus.MOVED]
        expect(not unmoved, f"not moved: {', '.join(unmoved)}")
        old, new = (
            join_link(vanity_url, self._demo.meeting_domain, "84512")
            for vanity_url in ("mona", "acme")
        )
        links = [(change.old, change.new) for change in manifest[Item.MEETINGS].changes]
        expect(links == [(old, new)], f"the links are {links}")
        [locked] = manifest[Item.SETTINGS].changes
        expect(
            (locked.name, locked.old, locked.new, locked.locked_by)
            == ("waiting_room", False, True, ACCOUNT),
            f"the setting is {locked}",
        )
        user = (await self._demo.account(ACCOUNT)).user(mona)
        expect(
            user is not None and user.meetings[0].join_url == new,
            "the meeting still has the old link",
        )
        await self._demo.mailed("moved", mona)
