"""The invitee's page, as the people of the demo use it: by requests to the portal."""

import asyncio
import re
from dataclasses import dataclass
from html import unescape
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from clients.invitation import InvitationClient
from domain.error import ErrorCode, Refused, Unavailable
from domain.invitation import Choice, Invitation

TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Invitees:
    """The invited people, each of whom opens the link of the e-mail and presses the buttons."""

    client: InvitationClient

    async def accept(self, account: str, email: str, choice: Choice | None = None) -> Invitation:
        """Accept on the review page; return the invitation. Raises Refused."""
        link = await self._link(account, email)
        review = await _post(f"{link}/review", {"choice": choice} if choice else {})
        hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', review)
        await _post(f"{link}/accept", {name: unescape(value) for name, value in hidden})
        return await self.client.show(account, email)

    async def decline(self, account: str, email: str, reason: str) -> None:
        """Decline on the page. Raises Refused."""
        await _post(f"{await self._link(account, email)}/decline", {"reason": reason})

    async def invite_members(self, account: str, email: str) -> None:
        """Invite the other users of a blocked account on its owner's page. Raises Refused."""
        await _post(f"{await self._link(account, email)}/invite-members", {})

    async def _link(self, account: str, email: str) -> str:
        link = (await self.client.show(account, email)).link
        if link is None:
            raise Refused(ErrorCode.NOT_FOUND, f"The invitation of {email} has no link.")
        return link


async def _post(url: str, form: dict[str, str]) -> str:
    """Post a form; return the page that follows. Raises Refused with the code on the page."""
    request = Request(url, urlencode(form).encode())
    status, page = await asyncio.to_thread(_answer, request)
    if error := re.search(r'data-error="([^"]*)"', page):
        raise Refused(ErrorCode(error[1]), f"The page answers {status} {error[1]}.")
    return page


def _answer(request: Request) -> tuple[int, str]:
    try:
        with urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            return response.status, response.read().decode()
    except HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()
    except OSError as failure:
        raise Unavailable(f"The portal does not answer: {failure}") from None
