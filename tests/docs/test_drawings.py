"""Diagrams in the documents; `make diagrams` updates them after a change to a machine."""

from pathlib import Path

import pytest

from tests.docs.draw import README, STATES, drawn_documents


@pytest.mark.parametrize("path", drawn_documents(), ids=lambda path: path.name)
def test_a_diagram_in_the_documents_equals_the_machine(path: Path) -> None:
    """`make diagrams` writes the diagram from the declaration of the machine."""
    assert path.read_text(encoding="utf-8") == drawn_documents()[path]


def test_there_is_no_page_without_a_machine() -> None:
    """`docs/states` has one page for each machine, and no other."""
    assert {*STATES.iterdir(), README} == set(drawn_documents())


def test_the_readme_shows_the_invitation() -> None:
    """README: the machine of the invitation is its only diagram."""
    assert README.read_text(encoding="utf-8").count("```mermaid\n") == 1
