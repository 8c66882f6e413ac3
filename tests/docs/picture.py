"""Generator of the pictures in the documents: `python -m tests.docs.picture`.

It starts the embedded stack, plays a few requests on it, and photographs the pages in Chromium.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.async_api import Page, ViewportSize
from pydantic import SecretStr

from commands.demo.step import ACCOUNT, ADMIN, DemoStack
from commands.demo.story import EXAMPLES
from devstack.ports import Ports
from devstack.stack import Stack
from domain.account import Directory
from domain.error import ErrorCode
from domain.invitation import InvitationState, License
from portal.app import portal
from runtime.settings import Settings
from tests.docs.draw import ROOT
from tests.portal.browser import chromium

IMAGES: Final = ROOT / "docs" / "images"
MAX_BYTES: Final = 300_000
"""The limit for all pictures together."""

COLORS: Final = 64
"""The palette of a picture: pages have few colors."""

JONAS: Final = "jonas@weber.example"
WANDA: Final = "wanda@band.example"
FRED: Final = "fred@home.example"
NINA: Final = "nina@new.example"
MEI: Final = "mei@tanaka.example"
BO: Final = "bounce@new.example"

INVITEE: Final = ViewportSize(width=820, height=900)
TEMPORAL: Final = ViewportSize(width=1440, height=1110)
ADMINISTRATION: Final = ViewportSize(width=1180, height=740)


@dataclass(frozen=True)
class Studio:
    """The running stack and the browser that photographs its pages."""

    stack: Stack
    demo: DemoStack
    page: Page
    folder: Path
    """The folder of the pictures."""

    async def take_all(self) -> None:
        """Play the requests, and take each picture when its page shows what it should."""
        await self._import("accounts.json", "pages.json")
        await self._invite()
        link = (await self.demo.until(JONAS, InvitationState.PENDING)).link
        await self._take("invitation", str(link), INVITEE, until="[data-total]")
        await self._accept()
        await self._take("temporal", await self._workflow(JONAS), TEMPORAL, until="text=Refund")
        await self._sign_in(ADMIN)
        admin = f"{self.stack.portal}/admin/{ACCOUNT}"
        await self._take("admin", f"{admin}?all=1&lang=en", ADMINISTRATION, until="h1")

    async def _import(self, *files: str) -> None:
        for name in files:
            directory = Directory.model_validate_json((EXAMPLES / name).read_bytes())
            await self.stack.store.directory.import_(directory)

    async def _invite(self) -> None:
        """Invite six people, who are in six states when the last picture is taken."""
        for email in (JONAS, FRED, WANDA, NINA, BO):
            await self.demo.invite(email, License.LICENSED if email == JONAS else License.BASIC)
        await self.demo.invite(MEI, heads_up_days=3)
        for email in (JONAS, FRED, WANDA, NINA):
            await self.demo.until(email, InvitationState.PENDING)
        await self.demo.invitees.accept(ACCOUNT, FRED)
        await self.demo.refused(ErrorCode.BLOCKED, self.demo.invitees.accept(ACCOUNT, WANDA))
        await self.demo.until(BO, InvitationState.UNDELIVERABLE)

    async def _accept(self) -> None:
        """Accept on the open page of Jonas, with a refund."""
        await self.page.get_by_text("Refund it to me").click()
        await self.page.get_by_role("button", name="Review before joining").click()
        await self.page.get_by_role("button", name="Join ").click()
        await self.demo.until(JONAS, InvitationState.REFUNDING)

    async def _workflow(self, email: str) -> str:
        """Return the address of the invitation in the Temporal UI."""
        invitation = await self.demo.clients.invitations.show(ACCOUNT, email)
        namespace = self.stack.temporal.namespace
        path = f"{invitation.workflow_id.replace('/', '%2F')}/{invitation.run_id}"
        return f"{self.stack.ui}/namespaces/{namespace}/workflows/{path}/timeline"

    async def _sign_in(self, email: str) -> None:
        """Sign in by the link of the e-mail."""
        await self.page.goto(f"{self.stack.portal}/sign-in")
        await self.page.get_by_label("E-mail address").fill(email)
        await self.page.get_by_role("button", name="Send me a link").click()
        await self.demo.mailed("sign_in", email)
        numbers = [each.number for each in self.stack.mailbox.letters() if each.event == "sign_in"]
        await self.page.goto(str(self.stack.mailbox.open(numbers[-1]).link))
        await self.page.get_by_role("button", name="Sign in").click()
        await self.page.wait_for_url("**/admin/**")

    async def _take(self, name: str, address: str, size: ViewportSize, *, until: str) -> None:
        await self.page.set_viewport_size(size)
        await self.page.goto(address)
        await self.page.locator(until).first.wait_for()
        shot = await self.page.screenshot(full_page=size == INVITEE, animations="disabled")
        with Image.open(BytesIO(shot)) as picture:
            small = picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
        small.save(self.folder / f"{name}.png", optimize=True)


@asynccontextmanager
async def studio(pictures: Path) -> AsyncIterator[Studio]:
    """Start the embedded stack in a folder of its own, and a browser."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            state_folder=Path(folder) / "stack",
            database_url=SecretStr(f"sqlite+aiosqlite:///{folder}/stack/seatflow.db"),
        )
        async with Stack(settings, portal, Ports.free()) as stack, chromium() as browser:
            page = await browser.new_page(color_scheme="light", locale="en-GB")
            yield Studio(stack, DemoStack(stack), page, pictures)


async def main() -> None:
    """Make all pictures."""
    IMAGES.mkdir(exist_ok=True)
    async with studio(IMAGES) as opened:
        await opened.take_all()
    for picture in sorted(IMAGES.glob("*.png")):
        print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    asyncio.run(main())
