"""A process that has loaded the command line and forks for every requested command.

Loading takes longer than most commands do. The caller notices no difference: this file, run as a
program, passes its arguments, environment, folder and streams on, waits, and exits with the status
of the command.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parent.parent


@contextmanager
def prepared(address: Path) -> Iterator[list[str]]:
    """Run the process; yield the program that precedes the arguments of a command."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.prepared_process"],
        cwd=ROOT,
        env=os.environ | {_ADDRESS: str(address)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    yield [sys.executable, "-I", "-S", __file__, str(address)]
    process.terminate()
    process.communicate()


def request(address: str, arguments: list[str]) -> int:
    """Request the command; return its exit status."""
    command = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(address)
        socket.send_fds(caller, [b" "], [0, 1, 2])
        caller.sendall(json.dumps(command).encode() + b"\n")
        return int(caller.recv(8))


def serve(address: str) -> NoReturn:
    """Load the modules of all commands, and fork for each request."""
    import adapters.sql.migrations  # noqa: F401, PLC0415
    import devstack.stack  # noqa: F401, PLC0415
    import portal.app  # noqa: F401, PLC0415
    import starter  # noqa: F401, PLC0415

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(100)
        # The exit status of the forked processes is not needed; this avoids zombies.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print("ready", flush=True)
        while True:
            caller, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(caller)
            caller.close()


def _answer(caller: socket.socket) -> NoReturn:
    """Run the command in a child process, and send its exit status."""
    _, streams, _, _ = socket.recv_fds(caller, 1, 3)
    with caller.makefile("rb") as sent:
        command = json.loads(sent.readline())
    child = os.fork()
    if child == 0:
        caller.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(command["folder"])
        os.environ.clear()
        os.environ.update(command["environment"])
        _run(command["arguments"])
    for stream in streams:
        os.close(stream)

    ended = threading.Event()

    def end_with_the_caller() -> None:
        if not caller.recv(1) and not ended.is_set():
            os.kill(child, signal.SIGKILL)

    threading.Thread(target=end_with_the_caller, daemon=True).start()
    _, status = os.waitpid(child, 0)
    ended.set()
    caller.sendall(str(os.waitstatus_to_exitcode(status) & 0xFF).encode())
    os._exit(0)


def _run(arguments: list[str]) -> NoReturn:
    import starter  # noqa: PLC0415

    sys.argv[1:] = arguments
    starter.main()
    os._exit(0)


_ADDRESS = "PREPARED_PROCESS"

if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(request(sys.argv[1], sys.argv[2:]))
    serve(os.environ.pop(_ADDRESS))
