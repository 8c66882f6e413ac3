"""Loopback ports of the embedded stack."""

import os
import socket
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from domain.error import ErrorCode, Refused
from runtime.settings import Settings
from runtime.temporal import DEFAULT_ADDRESS, connection

HOST = "127.0.0.1"
LOOPBACK = frozenset({HOST, "localhost", "::1"})
UI_ABOVE_TEMPORAL = 1000
PROXIED_UI = 8080
"""Port of the portal when a proxy on another host serves the public address."""


@dataclass(frozen=True)
class Ports:
    """The ports of the Temporal server, its UI, the mail server and the portal."""

    temporal: int
    ui: int
    smtp: int
    portal: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the ports that the settings name. Raises `Refused(invalid_input)`."""
        address = connection().get("target_host", DEFAULT_ADDRESS)
        temporal = _loopback_port("TEMPORAL_ADDRESS", f"//{address}")
        return cls(
            temporal=temporal,
            ui=settings.ui_port or temporal + UI_ABOVE_TEMPORAL,
            smtp=_loopback_port("SEATFLOW_SMTP_URL", settings.smtp_url.get_secret_value()),
            portal=_portal_port(settings.public_url),
        )

    @classmethod
    def free(cls) -> Self:
        """Return four free ports, each as `free_port` finds it."""
        return cls(temporal=free_port(), ui=free_port(), smtp=free_port(), portal=free_port())

    def require_free(self) -> None:
        """Raise `Refused(invalid_input)` for the first port that is in use."""
        for port, part, setting in (
            (self.temporal, "Temporal", "TEMPORAL_ADDRESS"),
            (self.ui, "the Temporal UI", "SEATFLOW_UI_PORT"),
            (self.smtp, "the mailbox", "SEATFLOW_SMTP_URL"),
            (self.portal, "the portal", "SEATFLOW_PUBLIC_URL"),
        ):
            try:
                socket.create_server((HOST, port)).close()
            except (OSError, OverflowError) as failure:
                number = getattr(failure, "errno", None)
                reason = os.strerror(number) if number else "not a port number"
                raise Refused(
                    ErrorCode.INVALID_INPUT,
                    f"Port {port} for {part} cannot be opened: {reason}. "
                    f"Stop the program that uses it, or set another port in {setting}.",
                ) from None


def free_port() -> int:
    """Return a free port that the system assigns to no other program for about a minute.

    A connection that this side closes first leaves the port in TIME_WAIT. In that state the system
    gives it to no program that requests any free port, but a server may listen on it. Temporal's
    own test servers do the same.
    """
    with socket.create_server((HOST, 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address):
            server.accept()[0].close()
    port: int = address[1]
    return port


def _portal_port(public_url: str) -> int:
    parts = urlsplit(public_url)
    try:
        local = parts.hostname in LOOPBACK and parts.scheme == "http"
        return (parts.port or 80) if local else PROXIED_UI
    except ValueError:
        raise Refused(
            ErrorCode.INVALID_INPUT, "SEATFLOW_PUBLIC_URL has an invalid port: use 1 to 65535."
        ) from None


def _loopback_port(setting: str, url: str) -> int:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host not in LOOPBACK or not port or parts.password:
        raise Refused(
            ErrorCode.INVALID_INPUT,
            f"The embedded stack listens on this machine only: set {setting} "
            "to localhost and a port, without a password.",
        )
    return port
