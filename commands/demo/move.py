"""What people take along (TRF)."""

from commands.demo.step import ACCOUNT, Stage, Step, expect
from domain.invitation import InvitationState
from domain.manifest import Item, ItemStatus, join_link


class Moves:
    """Data that follows its owner, and what it looks like on the account joined."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._client = stage.client
        self.steps = (
            Step("Mona's meetings move: their ids stay, their links change", self._moved),
        )

    async def _moved(self) -> None:
        mona = "mona@field.example"
        await self._stage.pending(mona)
        await self._client.accept(ACCOUNT, mona)
        completed = await self._stage.until(mona, InvitationState.COMPLETED)
        manifest = {entry.item: entry for entry in completed.manifest}
        unmoved = [item for item in Item if manifest[item].status is not ItemStatus.MOVED]
        expect(not unmoved, f"not moved: {', '.join(unmoved)}")
        old, new = (
            join_link(vanity_url, self._stage.meeting_domain, "84512")
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
        user = (await self._stage.account(ACCOUNT)).user(mona)
        expect(user is not None and user.meetings[0].join_url == new, "the link is the old one")
        await self._stage.mailed("moved", mona)
