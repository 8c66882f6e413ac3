"""What a document holds between its fences."""

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
    """Where it stands in the document, for whoever has to look."""
    chapter: str
    """The heading of the second level that it stands under."""


def blocks(document: Path) -> Iterator[Block]:
    """The fenced blocks of a document, in order."""
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
