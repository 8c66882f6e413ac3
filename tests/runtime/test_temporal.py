"""The connection to a Temporal that is unreachable."""

import socket
import time

import pytest
from pydantic import SecretStr
from temporalio.envconfig import ClientConnectConfig

from devstack.ports import HOST, free_port
from domain.error import Unavailable
from runtime.settings import Settings
from runtime.temporal import connect

SETTINGS = Settings(secret_key=SecretStr("a key that is long enough for tests"))


async def test_a_port_without_a_listener_is_named() -> None:
    """TEMPORAL_ADDRESS: the error has the address and the reason."""
    address = f"{HOST}:{free_port()}"
    with pytest.raises(Unavailable, match=f"{address} .*: Connection refused"):
        await connect(SETTINGS, ClientConnectConfig(target_host=address))


async def test_a_port_that_never_answers_is_an_error_within_ten_seconds() -> None:
    """TEMPORAL_ADDRESS: a command ends with status 3 in time."""
    started_at = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unavailable, match="no answer within"):
            await connect(SETTINGS, ClientConnectConfig(target_host=address))
    assert time.monotonic() - started_at < 9
