"""Programs outside Python that some tests require."""

import os
import shutil

import pytest


def require_program(name: str, *, package: str) -> str:
    """Return the path of the program `name` of the system package `package`.

    If it is missing, the test is skipped; with SEATFLOW_REQUIRE_ALL=1 it fails.
    """
    path = shutil.which(name)
    if path is not None:
        return path
    missing = f"needs the program {name}: install the system package {package}"
    if os.environ.get("SEATFLOW_REQUIRE_ALL") == "1":
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)
