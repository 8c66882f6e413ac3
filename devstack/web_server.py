"""Web server in this process's event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

import uvicorn
from starlette.types import ASGIApp

STOP_TIMEOUT = timedelta(seconds=5)
"""Longest time that running requests get to finish when the server stops."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers: the process has its own."""
        yield


@asynccontextmanager
async def serving(app: ASGIApp, host: str, port: int) -> AsyncIterator[None]:
    """Serve `app` while the context is open; on exit, finish running requests.

    Raises OSError when the port cannot be opened.
    """
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            # The portal decides itself which proxies it trusts.
            proxy_headers=False,
            lifespan="off",
            timeout_graceful_shutdown=int(STOP_TIMEOUT.total_seconds()),
        )
    )
    # The socket listens from here on: connections wait until the server is ready.
    listening = socket.create_server((host, port))
    served = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await served
