"""Pictures in the documents; `make pictures` takes them again."""

import re
from pathlib import Path

import pytest

from tests.docs.draw import README, ROOT
from tests.docs.picture import IMAGES, MAX_BYTES, studio

SHOWN = re.compile(r"!\[([^\]]*)\]\(([^)]*)\)")


def pictures() -> set[Path]:
    return set(IMAGES.iterdir())


def test_pictures_are_small() -> None:
    """A checkout stays small, and the README opens quickly."""
    assert 0 < sum(path.stat().st_size for path in pictures()) <= MAX_BYTES


def test_the_readme_shows_each_picture_with_a_description() -> None:
    """WCAG 1.1.1: the description says what a reader can see."""
    shown = {ROOT / path: alt for alt, path in SHOWN.findall(README.read_text(encoding="utf-8"))}
    assert set(shown) == pictures()
    assert all(len(alt) > 40 for alt in shown.values())


@pytest.mark.full
async def test_all_pictures_are_made(tmp_path: Path) -> None:
    """`make pictures`, into another folder."""
    async with studio(tmp_path) as opened:
        await opened.take_all()
    made = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(made) == {path.name for path in pictures()}
    assert sum(made.values()) <= MAX_BYTES
