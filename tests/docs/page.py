"""Fenced blocks of a document."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCED = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_CHAPTER = re.compile(r"^## (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    text: str
    line: int
    """Line of the opening fence, for failure messages."""
    chapter: str
    """Last heading of the second level before it."""


def blocks(document: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a document, in order."""
    page = document.read_text(encoding="utf-8")
    for fenced in _FENCED.finditer(page):
        before = page[: fenced.start()]
        chapters = _CHAPTER.findall(before)
        yield Block(
            language=fenced["language"],
            text=fenced["text"],
            line=before.count("\n") + 1,
            chapter=chapters[-1] if chapters else "",
        )
