"""Drawings are generated; after a change to a machine: `make diagrams`."""

from pathlib import Path

import pytest

from tests.docs.draw import README, STATES, drawn_documents


@pytest.mark.parametrize("path", drawn_documents(), ids=lambda path: path.name)
def test_a_drawing_in_the_documents_is_the_machine(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == drawn_documents()[path]


def test_no_page_is_left_of_a_machine_that_is_gone() -> None:
    assert {*STATES.iterdir(), README} == set(drawn_documents())


def test_the_readme_shows_the_invitation() -> None:
    assert README.read_text(encoding="utf-8").count("```mermaid\n") == 1
