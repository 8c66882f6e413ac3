import pytest

from tests.requirements import require_program


def test_a_program_that_is_there_is_found() -> None:
    assert require_program("python3", package="python3").endswith("python3")


def test_without_the_program_a_test_skips_and_names_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SEATFLOW_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="package nothing-like-it"):
        require_program("no-such-program", package="nothing-like-it")


def test_where_all_is_required_it_fails_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEATFLOW_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="package nothing-like-it"):
        require_program("no-such-program", package="nothing-like-it")
