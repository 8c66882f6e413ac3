"""The command that serves the portal."""

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from commands.output import CommandOutput
from commands.whole_number import whole_number
from domain.error import Unavailable

if TYPE_CHECKING:
    from runtime.settings import Settings

app = typer.Typer()


@app.command(
    rich_help_panel="Operations", epilog="Example: seatflow portal --host 0.0.0.0 --port 8080"
)
def portal(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(metavar="PORT", help="The port to listen on.", parser=whole_number(1, 65535)),
    ] = 8080,
) -> None:
    """Serve the pages of invitees, admins and operators and the webhook of Stripe, until Ctrl-C."""
    import uvloop

    from runtime.settings import load_settings

    uvloop.run(_serve(CommandOutput.of(context), load_settings(), host, port))


async def _serve(output: CommandOutput, settings: "Settings", host: str, port: int) -> None:
    from devstack.web_server import serving
    from portal.app import portal
    from runtime.clients import open_clients
    from runtime.process import log_to_stderr, stop_signal

    stop = stop_signal()
    if not output.json:
        log_to_stderr(logging.WARNING)
    address = f"http://{host}:{port}"
    async with open_clients(settings) as clients:
        app = portal(clients)
        try:
            async with serving(app, host, port):
                output.print({"portal": address}, lambda: f"The portal is at {address}")
                await stop.wait()
        except OSError as failure:
            raise Unavailable(f"The portal cannot listen on {host}:{port}: {failure}") from None
