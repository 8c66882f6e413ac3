"""Tests that need a system package."""

import pytest

from tests.requirements import require_program


def test_an_installed_program_is_found() -> None:
    """The test gets the path of the program."""
    assert require_program("python3", package="python3").endswith("python3")


def test_without_the_program_a_test_skips_and_names_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`make test`: a missing system package fails no test."""
    monkeypatch.delenv("SEATFLOW_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="package nothing-like-it"):
        require_program("no-such-program", package="nothing-like-it")


def test_with_require_all_a_missing_program_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEATFLOW_REQUIRE_ALL=1, as `.ci/run` sets it."""
    monkeypatch.setenv("SEATFLOW_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="package nothing-like-it"):
        require_program("no-such-program", package="nothing-like-it")
