"""A web application served in this process's event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

import uvicorn
from starlette.types import ASGIApp

STOPPED_WITHIN = timedelta(seconds=5)
"""How long requests that are being answered may take when the server has to stop."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process, of which this is but a part."""
        yield


@asynccontextmanager
async def serving(app: ASGIApp, host: str, port: int) -> AsyncIterator[None]:
    """Serve `app` beside the body; afterwards answer what has been asked.

    Raises OSError when the port cannot be had.
    """
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=int(STOPPED_WITHIN.total_seconds()),
        )
    )
    # From here on connections are taken: they wait until the server is up.
    listening = socket.create_server((host, port))
    served = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await served
