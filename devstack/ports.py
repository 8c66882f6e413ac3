"""The ports on loopback on which the parts of the embedded stack listen."""

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
BEHIND_A_PROXY = 8080
"""Where the portal is when its public address is another machine's."""


@dataclass(frozen=True)
class Ports:
    """Where the parts of the stack listen."""

    temporal: int
    ui: int
    smtp: int
    portal: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Where the settings say that the parts are. Raises `Refused(invalid_input)`."""
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
        """Ports that nobody has now, and that nobody who asks for any is given for a minute."""
        return cls(temporal=free_port(), ui=free_port(), smtp=free_port(), portal=free_port())

    def require_free(self) -> None:
        """Raise `Refused(invalid_input)` for the first one that is taken."""
        for port, what, setting in (
            (self.temporal, "Temporal", "TEMPORAL_ADDRESS"),
            (self.ui, "the Temporal UI", "SEATFLOW_UI_PORT"),
            (self.smtp, "the mailbox", "SEATFLOW_SMTP_URL"),
            (self.portal, "the portal", "SEATFLOW_PUBLIC_URL"),
        ):
            try:
                socket.create_server((HOST, port)).close()
            except (OSError, OverflowError) as failure:
                number = getattr(failure, "errno", None)
                reason = os.strerror(number) if number else "no such port"
                raise Refused(
                    ErrorCode.INVALID_INPUT,
                    f"Port {port} for {what} cannot be had: {reason}. "
                    f"Stop what listens there, or set another in {setting}.",
                ) from None


def free_port() -> int:
    """A port that nobody has now, and that nobody who asks for any is given for a minute.

    As Temporal's own servers do it: a connection that our side closes first leaves the port in
    TIME_WAIT, in which the system hands it to nobody and yet lets a server listen there.
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
        here = parts.hostname in LOOPBACK and parts.scheme == "http"
        return (parts.port or 80) if here else BEHIND_A_PROXY
    except ValueError:
        raise Refused(
            ErrorCode.INVALID_INPUT, "SEATFLOW_PUBLIC_URL names a port that there is not."
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
            f"The embedded stack listens on this machine only: in {setting}, "
            "write localhost and a port, and no password.",
        )
    return port
