"""Commands that prepare the backends and run the embedded stack."""

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from pydantic import JsonValue
from rich.console import Group
from rich.table import Table
from rich.text import Text

from commands.output import CommandOutput
from commands.render import table

if TYPE_CHECKING:
    from devstack.stack import Stack
    from runtime.settings import Settings
    from runtime.visibility import View

app = typer.Typer()

_PANEL = "Operations"
_NO_HELP = (
    "Replies to most e-mails are lost: "
    "set SEATFLOW_SUPPORT_CONTACT, SEATFLOW_MAIL_REPLY_TO or both for the workers."
)


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow setup")
def setup(context: typer.Context) -> None:
    """Migrate the database and register the search attributes; may be repeated."""
    from runtime.settings import load_settings
    from runtime.visibility import VIEWS

    output = CommandOutput.of(context)
    with output.spinner("Setting up"):
        settings = load_settings()
        document = asyncio.run(_set_up(settings))
    views: list[JsonValue] = [{"name": view.name, "query": view.query} for view in VIEWS]
    output.print(document | {"views": views}, lambda: _render_setup(settings, VIEWS))


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow up")
def up(context: typer.Context) -> None:
    """Run Temporal, a mailbox, a worker and the portal on this machine, until Ctrl-C."""
    import uvloop

    from runtime.settings import load_settings

    uvloop.run(_up(CommandOutput.of(context), load_settings()))


async def _set_up(settings: "Settings") -> dict[str, JsonValue]:
    from runtime.store import set_up_store
    from runtime.temporal import connect, register_search_attributes
    from workflows import search_attribute

    # Connected first, so that nothing is changed without a server.
    client = await connect(settings)
    await set_up_store(settings)
    await register_search_attributes(client)
    return {
        "namespace": client.namespace,
        "search_attributes": [key.name for key in search_attribute.ALL],
    }


async def _up(output: CommandOutput, settings: "Settings") -> None:
    from runtime.process import log_to_stderr, stop_signal

    # Handled before the slow imports, so that Ctrl-C always stops the stack.
    stopped = asyncio.create_task(stop_signal().wait())
    from devstack.stack import Stack
    from portal.app import portal

    if not output.json:
        log_to_stderr(logging.WARNING)
    async with Stack(settings, portal) as stack:
        output.print(_addresses(stack), lambda: _render(stack))
        failed = asyncio.create_task(stack.server_exit())
        await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            raise failed.result()
        failed.cancel()


def _render_setup(settings: "Settings", views: "Sequence[View]") -> Group:
    queries = table("view", "query")
    for view in views:
        queries.add_row(view.name, Text(view.query))
    help_is_named = settings.support_contact or settings.mail_reply_to
    return Group(
        Text("Database and namespace are ready.", style="green"),
        *([] if help_is_named else [Text(_NO_HELP, style="yellow")]),
        Text("\nThe Temporal UI keeps saved views in the browser. Save those that you need there:"),
        queries,
    )


def _addresses(stack: "Stack") -> dict[str, JsonValue]:
    return {
        "temporal": stack.environment["TEMPORAL_ADDRESS"],
        "ui": stack.ui,
        "smtp": stack.environment["SEATFLOW_SMTP_URL"],
        "portal": stack.portal,
        "state_folder": str(stack.settings.state_folder),
    }


def _render(stack: "Stack") -> Table:
    addresses = Table(title="Seatflow is up", title_justify="left", show_header=False, box=None)
    for name, address in (
        ("Temporal UI", stack.ui),
        ("Temporal", stack.environment["TEMPORAL_ADDRESS"]),
        ("mailbox", f"{stack.environment['SEATFLOW_SMTP_URL']} · seatflow mail list"),
        ("portal", stack.portal),
        ("state", f"{stack.settings.state_folder}/"),
        ("stop", "Ctrl-C"),
    ):
        addresses.add_row(Text(name, style="dim"), Text(address))
    return addresses
