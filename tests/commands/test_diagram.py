"""The `diagram` command with Graphviz."""

import json
from base64 import b64decode
from pathlib import Path

import pytest

import starter
from tests.commands.conftest import Run
from tests.requirements import require_program


@pytest.mark.parametrize(("format", "signature"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_graphviz_draws_a_picture(format: str, signature: bytes, tmp_path: Path) -> None:
    """`diagram --format svg` and `png` write the picture to a file."""
    require_program("dot", package="graphviz")
    picture = tmp_path / "picture"
    assert starter.run(["diagram", "--format", format, "--output", str(picture)]) == 0
    assert picture.read_bytes().startswith(signature)


def test_a_picture_in_json_is_base64(capfd: pytest.CaptureFixture[str]) -> None:
    """`--json diagram`: the document holds the picture as text."""
    require_program("dot", package="graphviz")
    assert starter.run(["--json", "diagram", "--format", "png"]) == 0
    drawing = json.loads(capfd.readouterr().out)["drawing"]
    assert b64decode(drawing).startswith(b"\x89PNG")


def test_svg_without_graphviz_is_an_error_that_names_it(run: Run, tmp_path: Path) -> None:
    """`diagram`: svg and png need Graphviz; without it, the status is 3."""
    ran = run("--json", "diagram", "--format", "svg", PATH=str(tmp_path))
    assert (ran.status, ran.out) == (3, "")
    assert "Graphviz" in str(ran.error["message"])
