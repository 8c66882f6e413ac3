"""The bar that shows how many of many are done."""

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


class Bar:
    """How many are done, how fast, and for how long yet."""

    def __init__(self, doing: str, console: Console | None = None) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self.progress.add_task(doing, total=None, rate="")

    def __rich__(self) -> RenderableType:
        return self.progress.get_renderable()

    def show(self, done: int, total: int) -> None:
        """Show that so many are done, and of how many."""
        speed = self.progress.tasks[0].speed
        rate = f"{speed:.0f} a second" if speed else ""
        self.progress.update(self._task, completed=done, total=total, rate=rate)
