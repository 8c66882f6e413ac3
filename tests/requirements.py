"""What some tests run beside Python."""

import os
import shutil

import pytest


def require_program(name: str, *, package: str) -> str:
    """The path of the program `name`, which the system package `package` brings.

    Without it the test skips; with SEATFLOW_REQUIRE_ALL=1 it fails.
    """
    path = shutil.which(name)
    if path is not None:
        return path
    missing = f"needs the program {name}: install the system package {package}"
    if os.environ.get("SEATFLOW_REQUIRE_ALL") == "1":
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)
