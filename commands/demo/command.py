"""The command `demo`."""

import shutil
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from commands.output import CommandOutput

if TYPE_CHECKING:
    from commands.demo.story import Story
    from runtime.settings import Settings

app = typer.Typer()

SUCCEEDED = 0
FAILED = 1


@app.command(rich_help_panel="Operations", epilog="Example: seatflow demo --exit")
def demo(
    context: typer.Context,
    exit_at_end: Annotated[
        bool, typer.Option("--exit", help="Exit after the last step instead of waiting for Ctrl-C.")
    ] = False,
) -> int:
    """Run a demo of invitations, refunds, orders and licenses on a stack of its own.

    It takes about a minute. The exit status is 0 if every step succeeded, else 1.
    """
    import uvloop

    from runtime.settings import load_settings

    return uvloop.run(_run(CommandOutput.of(context), load_settings(), exit_at_end=exit_at_end))


async def _run(output: CommandOutput, settings: "Settings", *, exit_at_end: bool) -> int:
    from commands.demo.story import Story
    from devstack.ports import Ports
    from devstack.stack import Stack
    from portal.app import portal
    from runtime.process import stop_signal

    stop = stop_signal()
    async with Stack(_demo_settings(settings), portal, Ports.free()) as stack:
        story = Story(stack)
        with _live_view(output, story):
            await story.play()
        output.print(story.as_json(), story.summary if exit_at_end else story.addresses)
        if not exit_at_end:
            await stop.wait()
    return SUCCEEDED if story.succeeded else FAILED


def _live_view(output: CommandOutput, story: "Story") -> AbstractContextManager[object]:
    from rich.console import Console
    from rich.live import Live

    if output.json:
        return nullcontext()
    console = Console()
    return Live(
        console=console,
        get_renderable=lambda: story.view(console.height),
        refresh_per_second=8,
    )


def _demo_settings(settings: "Settings") -> "Settings":
    """Return settings for an empty stack in a folder of its own; delete the previous demo's."""
    from pydantic import SecretStr

    folder = settings.state_folder / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    return settings.model_copy(
        update={
            "state_folder": folder,
            "database_url": SecretStr(f"sqlite+aiosqlite:///{folder}/seatflow.db"),
            "task_queue": "seatflow",
            # The example payments exist at no real provider, which could not refund them.
            "billing": "ledger",
            "secret_key": None,
            "given_id_key": None,
            # The demo's people sign in by links: no provider and no proxy knows them.
            "oidc_issuer": None,
            "trusted_user_header": None,
        }
    )
