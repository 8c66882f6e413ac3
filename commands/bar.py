"""The progress bar of a batch."""

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


class ProgressBar:
    """A progress bar with the rate and the time remaining."""

    def __init__(self, progress: str, console: Console | None = None) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self.progress.add_task(progress, total=None, rate="")

    def __rich__(self) -> RenderableType:
        return self.progress.get_renderable()

    def show(self, done: int, total: int) -> None:
        """Show the number of rows done, and of all rows."""
        speed = self.progress.tasks[0].speed
        rate = f"{speed:.0f} a second" if speed else ""
        self.progress.update(self._task, completed=done, total=total, rate=rate)
