"""Commands that prepare the backends and run the embedded stack."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import JsonValue
from rich.console import Group
from rich.table import Table
from rich.text import Text

from commands.call import author_of
from commands.output import CommandOutput
from commands.program import program
from commands.render import table
from domain.author import Author
from domain.error import Unavailable

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

WAITING = "The database was restored: workers wait until `seatflow reconcile --fix` has run."
MARKED = "The database is marked as restored: start Temporal, then repeat `seatflow setup`."


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow setup")
def setup(
    context: typer.Context,
    restored: Annotated[
        bool,
        typer.Option(
            "--restored",
            help="After a restore of the database: workers wait until `reconcile` has run.",
        ),
    ] = False,
) -> None:
    """Migrate the database and register the search attributes; may be repeated."""
    from runtime.settings import load_settings
    from runtime.visibility import VIEWS

    output = CommandOutput.of(context)
    with output.spinner("Setting up"):
        settings = load_settings()
        author = author_of(context, settings)
        document = asyncio.run(_set_up(settings, author, restored=restored))
    views: list[JsonValue] = [{"name": view.name, "query": view.query} for view in VIEWS]
    waiting = bool(document["restored"])
    output.print(
        document | {"views": views}, lambda: _render_setup(settings, VIEWS, waiting=waiting)
    )


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow up")
def up(context: typer.Context) -> None:
    """Run Temporal, a mailbox, a worker and the portal on this machine, until Ctrl-C."""
    import uvloop

    from runtime.settings import load_settings

    uvloop.run(_up(CommandOutput.of(context), load_settings()))


async def _set_up(settings: "Settings", author: Author, *, restored: bool) -> dict[str, JsonValue]:
    from runtime.store import set_up_store
    from runtime.temporal import connect, register_search_attributes
    from workflows import search_attribute

    if restored:
        # Marked first: the workers of `seatflow up` start together with their server.
        await _mark_restored(settings, author)
    try:
        # Connected before anything else is changed.
        client = await connect(settings)
    except Unavailable as failure:
        if not restored:
            raise
        raise Unavailable(f"{failure.message} {MARKED}") from None
    await set_up_store(settings)
    waiting = await _record_setup(settings, author) or restored
    await register_search_attributes(client)
    return {
        "namespace": client.namespace,
        "search_attributes": [key.name for key in search_attribute.ALL],
        "restored": waiting,
    }


async def _mark_restored(settings: "Settings", author: Author) -> None:
    from runtime.restore_guard import READ_AGAIN_AFTER
    from runtime.store import open_store, set_up_store

    await set_up_store(settings)
    async with open_store(settings) as store:
        await store.restore.mark(by=author.name)
    # Workers that run have read the mark then.
    await asyncio.sleep(2 * READ_AGAIN_AFTER.total_seconds())


async def _record_setup(settings: "Settings", author: Author) -> bool:
    """Record who has set up the database (OPS-8); return whether it is marked as restored."""
    from runtime.store import open_store

    async with open_store(settings) as store:
        at = datetime.now(UTC)
        await store.changes.record("setup", "database", by=author.name, at=at)
        return await store.restore.is_marked()


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


def _render_setup(settings: "Settings", views: "Sequence[View]", *, waiting: bool) -> Group:
    queries = table("view", "query")
    for view in views:
        queries.add_row(view.name, Text(view.query))
    help_is_named = settings.support_contact or settings.mail_reply_to
    return Group(
        Text("Database and namespace are ready.", style="green"),
        *([Text(WAITING, style="yellow")] if waiting else []),
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
        "sign_in": f"{stack.settings.public_url}/sign-in",
        "state_folder": str(stack.settings.state_folder),
    }


def _render(stack: "Stack") -> Table:
    addresses = Table(title="Seatflow is up", title_justify="left", show_header=False, box=None)
    for name, address in (
        ("Temporal UI", stack.ui),
        ("Temporal", stack.environment["TEMPORAL_ADDRESS"]),
        ("mailbox", f"{stack.environment['SEATFLOW_SMTP_URL']} · {program()} mail list"),
        ("portal", stack.portal),
        ("sign in", f"{stack.settings.public_url}/sign-in · link: {program()} mail show"),
        ("state", f"{stack.settings.state_folder}/"),
        ("stop", "Ctrl-C"),
    ):
        addresses.add_row(Text(name, style="dim"), Text(address))
    return addresses
