from pathlib import Path

import pytest

import starter
from commands.diagram import Machine
from tests.requirements import require_program

DRAWINGS = Path(__file__).parent.parent / "docs" / "machine"


@pytest.mark.parametrize("machine", Machine)
def test_the_drawing_in_the_documents_is_the_machine(machine: Machine, tmp_path: Path) -> None:
    """After a change to a machine: `make diagrams`."""
    drawing = tmp_path / "drawing.mmd"
    assert starter.run(["diagram", machine, "--output", str(drawing)]) == 0
    kept = (DRAWINGS / f"{machine}.mmd").read_text(encoding="utf-8")
    assert kept == drawing.read_text(encoding="utf-8")


@pytest.mark.parametrize(("format", "signature"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_graphviz_draws_a_picture(format: str, signature: bytes, tmp_path: Path) -> None:
    require_program("dot", package="graphviz")
    picture = tmp_path / "picture"
    assert starter.run(["diagram", "--format", format, "--output", str(picture)]) == 0
    assert picture.read_bytes().startswith(signature)
