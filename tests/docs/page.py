"""What a document holds between its fences."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCED = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    text: str
    line: int
    """Where it stands in the document, for whoever has to look."""


def blocks(document: Path) -> Iterator[Block]:
    """The fenced blocks of a document, in order."""
    page = document.read_text(encoding="utf-8")
    for fenced in _FENCED.finditer(page):
        yield Block(fenced["language"], fenced["text"], page.count("\n", 0, fenced.start()) + 1)
