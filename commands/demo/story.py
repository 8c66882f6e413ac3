"""What the demo plays, step by step, and how it looks meanwhile."""

import asyncio
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
from commands.demo.batch import Bulk
from commands.demo.blocker import Blockers
from commands.demo.invitation import Invitations
from commands.demo.license import Licenses
from commands.demo.money import Money
from commands.demo.move import Moves
from commands.demo.reminder import Reminders
from commands.demo.stage import ACCOUNT, PATIENCE, Stage, Step, WentWrong, expect
from devstack.stack import Stack
from domain.account import Directory
from domain.error import Refused, Unavailable
from domain.invitation import Invitation

EXAMPLES = Path(__file__).parents[2] / "examples"
STEPS_AT_LEAST = 8
STEPS_AHEAD = 4
FILES = ("accounts.json", "money.json", "blockers.json", "licenses.json")


class Story:
    """Invitations that end in every way, and licenses, on a stack that is up."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._invitations: list[Invitation] = []
        stage = Stage(stack)
        invitations = Invitations(stage)
        self.steps = [
            Step("An operator imports a directory of accounts", self._import),
            *invitations.steps,
            *Money(stage).steps,
            *Blockers(stage).steps,
            *Moves(stage).steps,
            *Licenses(stage).steps,
            *Reminders(stage).steps,
            *Bulk(stage).steps,
            *invitations.last_steps,
            Step("The audit finds nothing", self._audited),
        ]

    @property
    def succeeded(self) -> bool:
        """Whether every step did what it should."""
        return all(step.succeeded for step in self.steps)

    async def play(self) -> None:
        """Play the steps in order, up to the first that goes wrong."""
        for step in self.steps:
            begun = time.monotonic()
            try:
                async with asyncio.timeout(2 * PATIENCE.total_seconds()):
                    await step.play()
            except (WentWrong, Refused, Unavailable, TimeoutError, RPCError) as failure:
                step.failure = str(failure) or type(failure).__name__
            step.seconds = time.monotonic() - begun
            self._invitations = await self._stack.clients.invitations.list(ACCOUNT, everything=True)
            if step.failure:
                return

    async def _import(self) -> None:
        for name in FILES:
            directory = Directory.model_validate_json((EXAMPLES / name).read_bytes())
            imported = await self._stack.store.directory.import_(directory)
            expect(len(imported) == len(directory.accounts), "an account is missing")

    async def _audited(self) -> None:
        report = await self._stack.store.audit()
        expect(not report.violations, f"{len(report.violations)} violations")

    # How it looks.

    def shown(self, lines: int) -> RenderableType:
        """The steps and the invitations as they stand; as long as it is played, for `lines`."""
        failed = any(step.failure for step in self.steps)
        current = next((step for step in self.steps if not (step.done or failed)), None)
        steps = Table(show_header=False, box=None, title="Seatflow", title_justify="left")
        for step in self._around(current, lines) if current else self.steps:
            told = Text(step.title)
            # There is room for it only while it happens, and at the end.
            seen = step.shown() if step is current or not current else None
            cell = Group(told, seen) if seen else told
            steps.add_row(_mark(step, playing=step is current), cell, _told(step))
        return Group(steps, render_invitation.of_invitations(self._invitations, datetime.now(UTC)))

    def _around(self, current: Step, lines: int) -> Sequence[Step]:
        """As many steps as fit above the invitations, down to a few after the current one."""
        room = max(STEPS_AT_LEAST, lines * 2 // 3)
        at = self.steps.index(current)
        end = min(len(self.steps), max(room, at + STEPS_AHEAD))
        return self.steps[max(0, end - room) : end]

    def outcome(self) -> RenderableType:
        """How many steps went well."""
        well = sum(step.succeeded for step in self.steps)
        return f"\n{well} of {len(self.steps)} steps did what they should."

    def places(self) -> RenderableType:
        """Where to look now."""
        folder = self._stack.settings.state_folder
        table = Table(title="\nLook around", title_justify="left", show_header=False, box=None)
        table.add_row("Temporal UI", self._stack.ui)
        table.add_row("portal", self._stack.settings.public_url)
        table.add_row("mailbox", f"SEATFLOW_STATE_FOLDER={folder} seatflow mail list")
        table.add_row("stop", "Ctrl-C")
        return table

    def as_json(self) -> dict[str, JsonValue]:
        """How each step went, and where to look now."""
        return {
            "steps": [
                {"step": step.title, "seconds": step.seconds, "failure": step.failure}
                for step in self.steps
            ],
            "ui": self._stack.ui,
            "portal": self._stack.settings.public_url,
            "state_folder": str(self._stack.settings.state_folder),
        }


def _mark(step: Step, *, playing: bool) -> RenderableType:
    if step.failure:
        return Text("✗", style="red")
    if step.done:
        return Text("✓", style="green")
    return Spinner("dots") if playing else Text("·", style="dim")


def _told(step: Step) -> Text:
    if step.failure:
        return Text(step.failure, style="red")
    return Text(f"{step.seconds:.1f} s" if step.seconds else "", style="dim")
