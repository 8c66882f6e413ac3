"""Reminders for invitees who have not answered (REM)."""

import asyncio
from datetime import timedelta

from rich.console import RenderableType

from commands.demo.step import ACCOUNT, ADMIN, DemoStack, Step, expect
from commands.reminder import of_reminders
from domain.reminder import Reminders as Overview

STALE = ("tess@else.example", "timo@else.example")


class Reminders:
    """The schedule and its runs; each invitation decides by its own clock."""

    def __init__(self, demo: DemoStack) -> None:
        self._demo = demo
        self._overview: Overview | None = None
        self.steps = (
            Step("A daily schedule for reminders is installed", self._install),
            Step("Tess and Timo do not answer for three days; each is reminded", self._remind),
            Step("The next run sends no reminders", self._run_again, self._picture),
        )

    def _picture(self) -> RenderableType | None:
        return of_reminders(self._overview) if self._overview else None

    async def _install(self) -> None:
        # The second call finds the same schedule.
        for _ in range(2):
            schedule = await self._demo.clients.reminders.install(timedelta(days=1))
            expect(schedule.every == "1d", f"it runs every {schedule.every}")
            expect(bool(schedule.next) and not schedule.paused, "the schedule has no next run")

    async def _remind(self) -> None:
        invited = await asyncio.gather(*map(self._demo.pending, STALE))
        await asyncio.gather(
            *(
                self._demo.clock.pass_time(invitation.workflow_id, timedelta(days=3))
                for invitation in invited
            )
        )
        run = await self._demo.clients.reminders.run()
        expect(run.reminded == len(STALE), f"{run.reminded} were reminded")
        for email in STALE:
            await self._demo.mailed("reminder", email)
        await self._demo.mailed("digest", ADMIN)
        digests = self._demo.mails("digest")
        expect(digests == {ADMIN: 1}, f"the digests are {digests}")

    async def _run_again(self) -> None:
        run = await self._demo.clients.reminders.run()
        expect(run.reminded == 0, f"{run.reminded} were reminded again")
        for email in STALE:
            sent = (await self._demo.clients.invitations.show(ACCOUNT, email)).reminders_sent
            expect(sent == 1, f"{email} has {sent} reminders")
        self._overview = await self._demo.clients.reminders.show()
