"""The portal as the people of the demo use it: the pages of invitees and of admins."""

from dataclasses import dataclass

from clients.invitation import InvitationClient
from commands.demo.browser import Browser, Entered, Page
from domain.error import ErrorCode, Refused
from domain.invitation import Choice, Invitation


@dataclass(frozen=True)
class Invitees:
    """The invited people, each of whom opens the link of the e-mail and presses the buttons."""

    client: InvitationClient
    portal: str

    async def accept(self, account: str, email: str, choice: Choice | None = None) -> Invitation:
        """Accept on the review page; return the invitation. Raises Refused."""
        link, browser = await self._link(account, email), Browser(self.portal)
        review = await browser.post(f"{link}/review", **({"choice": choice} if choice else {}))
        await browser.send(review, "/accept")
        return await self.client.show(account, email)

    async def decline(self, account: str, email: str, reason: str) -> None:
        """Decline on the page. Raises Refused."""
        link = await self._link(account, email)
        await Browser(self.portal).post(f"{link}/decline", reason=reason)

    async def invite_members(self, account: str, email: str) -> None:
        """Invite the other users of a blocked account on its owner's page. Raises Refused."""
        link = await self._link(account, email)
        await Browser(self.portal).post(f"{link}/invite-members")

    async def _link(self, account: str, email: str) -> str:
        link = (await self.client.show(account, email)).link
        if link is None:
            raise Refused(ErrorCode.NOT_FOUND, f"The invitation of {email} has no link.")
        return link


@dataclass
class Admin:
    """An owner or admin who is signed in, on the pages of their account."""

    browser: Browser
    path: str
    page: Page
    """The page that they look at."""

    async def open(self, path: str = "") -> Page:
        """Open a page of the account."""
        self.page = await self.browser.open(self.path + path)
        return self.page

    async def send(self, action: str, **entered: Entered) -> Page:
        """Fill a form of the page that they look at, and press its button. Raises Refused."""
        self.page = await self.browser.send(self.page, action, **entered)
        return self.page
