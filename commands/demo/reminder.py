"""Invitees who are quiet, and the schedule that has them reminded (REM)."""

import asyncio
from datetime import timedelta

from rich.console import RenderableType

from commands.demo.step import ACCOUNT, ADMIN, Stage, Step, expect
from commands.reminder import of_reminders
from domain.reminder import Reminders as Shown

QUIET = ("tess@else.example", "timo@else.example")


class Reminders:
    """A run asks, and each invitation decides by its own clock."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._shown: Shown | None = None
        self.steps = (
            Step("A schedule looks each day who has been quiet", self._installed),
            Step("Tess and Timo were, for three days: one reminder each", self._reminded),
            Step("The next run reminds nobody", self._not_again, self._picture),
        )

    def _picture(self) -> RenderableType | None:
        return of_reminders(self._shown) if self._shown else None

    async def _installed(self) -> None:
        # Repeated, it is the same schedule.
        for _ in range(2):
            schedule = await self._stage.reminders.install(timedelta(days=1))
            expect(schedule.every == "1d", f"it looks every {schedule.every}")
            expect(bool(schedule.next) and not schedule.paused, "it never looks")

    async def _reminded(self) -> None:
        invited = await asyncio.gather(*map(self._stage.pending, QUIET))
        await asyncio.gather(
            *(
                self._stage.clock.pass_time(invitation.workflow_id, timedelta(days=3))
                for invitation in invited
            )
        )
        run = await self._stage.reminders.run()
        expect(run.reminded == len(QUIET), f"{run.reminded} were reminded")
        for email in QUIET:
            await self._stage.mailed("reminder", email)
        digests = self._stage.mails("digest")
        expect(digests == {ADMIN: 1}, f"the digests are {digests}")

    async def _not_again(self) -> None:
        run = await self._stage.reminders.run()
        expect(run.reminded == 0, f"{run.reminded} were reminded again")
        for email in QUIET:
            sent = (await self._stage.client.show(ACCOUNT, email)).reminders_sent
            expect(sent == 1, f"{email} has {sent} reminders")
        self._shown = await self._stage.reminders.show()
