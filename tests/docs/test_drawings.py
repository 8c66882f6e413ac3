"""Diagrams in the documents; `make diagrams` updates them after a change to a machine."""

import re
from itertools import combinations
from pathlib import Path

import pytest

from tests.docs import machine_page
from tests.docs.draw import README, STATES, drawn_documents
from tests.requirements import require_program


@pytest.mark.parametrize("path", drawn_documents(), ids=lambda path: path.name)
def test_a_diagram_in_the_documents_equals_the_machine(path: Path) -> None:
    """`make diagrams` writes the diagram from the declaration of the machine."""
    assert path.read_text(encoding="utf-8") == drawn_documents()[path]


def test_the_machine_on_the_page_of_an_admin_equals_the_declaration() -> None:
    """Each drawing has every state once, and every transition to another state once.

    The layout is not compared: it depends on the release of Graphviz.
    """
    page = machine_page.MACHINE_PAGE.read_text(encoding="utf-8")
    drawings = page.split("<svg ")[1:]
    assert len(drawings) == 2
    for drawing in drawings:
        assert re.findall('data-node="([^"]*)"', drawing) == machine_page.states()
        lines = [f"{origin}-{target}" for origin, target in machine_page.edges()]
        assert re.findall('data-line="([^"]*)"', drawing) == lines


def test_the_machine_on_the_page_is_drawn_by_graphviz() -> None:
    """`make diagrams` lays the states out; no two of them overlap."""
    require_program("dot", package="graphviz")
    for drawing in machine_page.drawn_page().split("<svg ")[1:]:
        corners = re.findall(r'<rect x="(-?\d+)" y="(-?\d+)" width="(\d+)" height="(\d+)"', drawing)
        boxes = [tuple(map(int, each)) for each in corners]
        assert len(boxes) == len(machine_page.states())
        for (x, y, width, height), (other_x, other_y, *_) in combinations(boxes, 2):
            assert abs(x - other_x) >= width or abs(y - other_y) >= height


def test_there_is_no_page_without_a_machine() -> None:
    """`docs/states` has one page for each machine, and no other."""
    assert {*STATES.iterdir(), README} == set(drawn_documents())


def test_the_readme_shows_the_invitation() -> None:
    """README: the machine of the invitation is its only diagram."""
    assert README.read_text(encoding="utf-8").count("```mermaid\n") == 1
