"""`portal`: the web server in a process of its own."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from devstack.ports import free_port
from runtime.settings import Settings
from tests.commands.conftest import ROOT, Run, environment


@pytest.mark.usefixtures("database")
def test_the_portal_serves_pages_until_it_is_stopped(tmp_path: Path) -> None:
    """`portal --host --port`: it prints its address, logs no token, and frees the port."""
    port = free_port()
    arguments = ["--json", "portal", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "starter.py"), *arguments],
        env=environment(tmp_path),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        printed = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        assert printed == {"portal": f"http://127.0.0.1:{port}"}
        transport = httpx.HTTPTransport(retries=20)
        with httpx.Client(transport=transport, base_url=printed["portal"]) as web:
            missing = web.get("/i/forged-token")
        assert missing.status_code == 404
        assert 'data-page="not-found"' in missing.text
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert "forged-token" not in out + err
    assert process.returncode == 0, err
    socket.create_server(("127.0.0.1", port)).close()


def test_a_port_in_use_is_named(run: Run, database: Settings) -> None:
    """Status 3: nothing is served."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run("--json", "portal", "--port", str(port))
    assert ran.status == 3
    assert str(port) in str(ran.error["message"])
