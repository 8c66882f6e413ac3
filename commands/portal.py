"""The command that serves the portal."""

from typing import Annotated

import typer

from commands.output import CommandOutput
from domain.error import Unavailable

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
        int, typer.Option(metavar="PORT", min=1, max=65535, help="The port to listen on.")
    ] = 8080,
) -> None:
    """Serve the pages of invitees and the webhook of Stripe, until Ctrl-C."""
    import logging
    import socket

    import uvicorn

    from portal.app import create
    from runtime.process import log_to_stderr

    output = CommandOutput.of(context)
    if not output.json:
        log_to_stderr(logging.WARNING)
    server = uvicorn.Server(
        uvicorn.Config(
            create(),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
        )
    )
    try:
        listening = socket.create_server((host, port))
    except OSError as failure:
        raise Unavailable(f"The portal cannot listen on {host}:{port}: {failure}") from None
    address = f"http://{host}:{port}"
    output.print({"portal": address}, lambda: f"The portal is at {address}")
    server.run(sockets=[listening])
    if not server.started:
        raise Unavailable("The portal could not be started; the log says why.")
