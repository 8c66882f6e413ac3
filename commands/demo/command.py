"""The whole story, played on a real server in a minute."""

import shutil
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from commands.answer import Answer

if TYPE_CHECKING:
    from commands.demo.story import Story
    from runtime.settings import Settings

app = typer.Typer()

TOLD = 0
WENT_WRONG = 1


@app.command(rich_help_panel="Operations", epilog="Example: seatflow demo --exit")
def demo(
    context: typer.Context,
    leave: Annotated[
        bool, typer.Option("--exit", help="End when the story is told, not on Ctrl-C.")
    ] = False,
) -> int:
    """Start an embedded stack of its own, and play invitations and licenses to their ends.

    The exit status is 0 when every step did what it should.
    """
    import uvloop

    from runtime.settings import load_settings

    return uvloop.run(_play(Answer.of(context), load_settings(), leave=leave))


async def _play(answer: Answer, settings: "Settings", *, leave: bool) -> int:
    from commands.demo.story import Story
    from devstack.ports import Ports
    from devstack.stack import Stack
    from portal.app import portal
    from runtime.process import stop_signal

    stop = stop_signal()
    async with Stack(_anew(settings), portal, Ports.free()) as stack:
        story = Story(stack)
        with _watched(answer, story):
            await story.play()
        answer.give(story.as_json(), story.outcome if leave else story.places)
        if not leave:
            await stop.wait()
    return TOLD if story.succeeded else WENT_WRONG


def _watched(answer: Answer, story: "Story") -> AbstractContextManager[object]:
    from rich.console import Console
    from rich.live import Live

    if answer.json:
        return nullcontext()
    console = Console()
    return Live(
        console=console,
        get_renderable=lambda: story.shown(console.height),
        refresh_per_second=8,
    )


def _anew(settings: "Settings") -> "Settings":
    """Settings for an empty stack in a folder of its own, whatever runs beside it."""
    from pydantic import SecretStr

    folder = settings.state_folder / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    return settings.model_copy(
        update={
            "state_folder": folder,
            "database_url": SecretStr(f"sqlite+aiosqlite:///{folder}/seatflow.db"),
            "task_queue": "seatflow",
            # Its payments are made up: no real provider is asked to return them.
            "billing": "ledger",
            "secret_key": None,
            "given_id_key": None,
        }
    )
