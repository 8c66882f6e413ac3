"""The steps of the demo in order, and the live view of them."""

import asyncio
import shlex
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from temporalio.service import RPCError

from commands import render_invitation
from commands.demo.batch import Batch
from commands.demo.blocker import Blockers
from commands.demo.invitation import Invitations
from commands.demo.license import LENA, Licenses
from commands.demo.money import Money
from commands.demo.move import Moves
from commands.demo.reminder import Reminders
from commands.demo.step import ACCOUNT, ADMIN, CHECK_TIMEOUT, DemoStack, Step, StepFailed, expect
from commands.program import program
from devstack.stack import Stack
from domain.account import Directory
from domain.error import ErrorCode, Refused, Unavailable
from domain.invitation import Invitation

EXAMPLES = Path(__file__).parents[2] / "examples"
"""Folder of the checkout and of the wheel."""
FILES = ("accounts.json", "money.json", "blockers.json", "licenses.json", "pages.json")
OWNER = "olga@acme.example"

OPEN_PAGES = {
    "pending": "pia@new.example",
    "blocked": "wanda@band.example",
    "a choice to make": "jonas@weber.example",
}
"""The people whose pages the last screen names, by the state of their invitation."""
MIN_STEPS_SHOWN = 8
STEPS_SHOWN_AHEAD = 4


class Story:
    """The steps of all chapters, played in order on a running stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._invitations: list[Invitation] = []
        self._links: dict[str, str] = {}
        self._demo = demo = DemoStack(stack)
        invitations = Invitations(demo)
        self.steps = [
            Step("An operator imports the example accounts", self._import),
            *invitations.steps,
            *Money(demo).steps,
            *Blockers(demo).steps,
            *Moves(demo).steps,
            *Licenses(demo).steps,
            *Reminders(demo).steps,
            *Batch(demo).steps,
            *invitations.last_steps,
            Step("Pia, Wanda and Jonas are invited; their pages are below", self._leave_open),
            Step("The audit finds no violations", self._audit),
            Step("Store, Temporal and the payment provider agree", self._reconcile),
        ]

    @property
    def succeeded(self) -> bool:
        """Return True if every step succeeded."""
        return all(step.succeeded for step in self.steps)

    async def play(self) -> None:
        """Play the steps in order; stop after the first one that fails."""
        for step in self.steps:
            start = time.monotonic()
            try:
                async with asyncio.timeout(2 * CHECK_TIMEOUT.total_seconds()):
                    await step.play()
            except (StepFailed, Refused, Unavailable, TimeoutError, RPCError) as failure:
                step.failure = str(failure) or type(failure).__name__
            step.seconds = time.monotonic() - start
            self._invitations = await self._stack.clients.invitations.list(ACCOUNT, everything=True)
            if step.failure:
                return

    async def _import(self) -> None:
        for name in FILES:
            directory = Directory.model_validate_json((EXAMPLES / name).read_bytes())
            imported = await self._stack.store.directory.import_(directory)
            expect(len(imported) == len(directory.accounts), f"an account of {name} is missing")

    async def _leave_open(self) -> None:
        for email in OPEN_PAGES.values():
            invited = await self._demo.pending(email)
            self._links[email] = str(invited.link)
        blocked = OPEN_PAGES["blocked"]
        await self._demo.refused(ErrorCode.BLOCKED, self._demo.invitees.accept(ACCOUNT, blocked))

    async def _audit(self) -> None:
        report = await self._stack.store.audit()
        expect(not report.violations, f"{len(report.violations)} violations")

    async def _reconcile(self) -> None:
        async with self._stack.clients.reconciliation() as client:
            found = await client.check()
        expect(not found.divergences, f"{len(found.divergences)} differences")

    def view(self, lines: int) -> RenderableType:
        """Draw the steps and the invitations; while steps are left, within about `lines` lines."""
        failed = any(step.failure for step in self.steps)
        current = next((step for step in self.steps if not (step.done or failed)), None)
        table = Table(show_header=False, box=None, title="Seatflow", title_justify="left")
        for step in self._steps_around(current, lines) if current else self.steps:
            title = Text(step.title)
            # To save room, only the current step has its picture until the end.
            picture_of_step = step.picture() if step is current or not current else None
            cell = Group(title, picture_of_step) if picture_of_step else title
            table.add_row(_mark(step, running=step is current), cell, _result(step))
        return Group(table, render_invitation.of_invitations(self._invitations, datetime.now(UTC)))

    def _steps_around(self, current: Step, lines: int) -> Sequence[Step]:
        """Return as many steps as fit above the invitations, a few of them after `current`."""
        room = max(MIN_STEPS_SHOWN, lines * 2 // 3)
        position = self.steps.index(current)
        end = min(len(self.steps), max(room, position + STEPS_SHOWN_AHEAD))
        return self.steps[max(0, end - room) : end]

    def summary(self) -> RenderableType:
        """Draw the number of steps that succeeded."""
        succeeded = sum(step.succeeded for step in self.steps)
        return f"\n{succeeded} of {len(self.steps)} steps succeeded."

    @property
    def _sign_in(self) -> str:
        return f"{self._stack.settings.public_url}/sign-in"

    def addresses(self) -> RenderableType:
        """Draw the addresses of the stack, which is still running, and the way to sign in."""
        table = Table(
            title="\nThe stack is running", title_justify="left", show_header=False, box=None
        )
        table.add_row("Temporal UI", self._stack.ui)
        table.add_row("portal", self._stack.settings.public_url)
        for state, email in OPEN_PAGES.items():
            if link := self._links.get(email):
                table.add_row(f"page: {state}", Text(link, style=f"link {link}", overflow="fold"))
        table.add_row("stop", "Ctrl-C")
        folder = shlex.quote(str(self._stack.settings.state_folder))
        mail = f"SEATFLOW_STATE_FOLDER={folder} {program()} mail"
        lines = (
            f"\nSign in at {self._sign_in} with one of these addresses:",
            *(f"  {email:25}  {person}" for email, person in self._people.items()),
            "The link is in an e-mail; the second command lists all e-mails:",
            f"  {mail} show --to {OWNER}",
            f"  {mail} list",
        )
        # Not wrapped, so that the commands can be copied.
        how = Text("\n".join(lines), no_wrap=True, overflow="ignore")
        return Group(table, how)

    @property
    def _people(self) -> dict[str, str]:
        """Return the people who can sign in."""
        operators = sorted(self._stack.settings.operators)
        return {
            ADMIN: "an admin of Acme, who reads German",
            OWNER: "the owner of Acme, who reads English",
            LENA: "the owner of the press, which has bought licenses",
        } | dict.fromkeys(operators, f"an operator, at {self._stack.settings.public_url}/operator")

    def as_json(self) -> dict[str, JsonValue]:
        """Return the result of each step, and the addresses of the stack."""
        return {
            "steps": [
                {"step": step.title, "seconds": step.seconds, "failure": step.failure}
                for step in self.steps
            ],
            "ui": self._stack.ui,
            "portal": self._stack.settings.public_url,
            "sign_in": self._sign_in,
            "admin": ADMIN,
            "pages": {email: link for email, link in self._links.items()},
            "state_folder": str(self._stack.settings.state_folder),
        }


def _mark(step: Step, *, running: bool) -> RenderableType:
    if step.failure:
        return Text("✗", style="red")
    if step.done:
        return Text("✓", style="green")
    return Spinner("dots") if running else Text("·", style="dim")


def _result(step: Step) -> Text:
    if step.failure:
        return Text(step.failure, style="red")
    return Text(f"{step.seconds:.1f} s" if step.seconds else "", style="dim")
