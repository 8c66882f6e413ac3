"""Generator of the diagrams in the documents: `python -m tests.docs.draw`."""

import re
from pathlib import Path

from commands.diagram import MACHINES, Format, Machine, drawn
from tests.docs import machine_page

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
STATES = ROOT / "docs" / "states"

_PICTURE = re.compile(r"^```mermaid\n.*?^```$", re.DOTALL | re.MULTILINE)


def drawn_documents() -> dict[Path, str]:
    """Return the documents that contain a diagram, with the text that they should have."""
    pages = {
        # The command line calls an order `addon`.
        STATES / f"{'order' if name is Machine.ORDER else name}.md": drawn(
            machine, Format.MD
        ).decode()
        for name, machine in MACHINES.items()
    }
    picture = drawn(MACHINES[Machine.INVITATION], Format.MERMAID).decode()
    front = _PICTURE.sub(lambda _: f"```mermaid\n{picture}```", README.read_text(encoding="utf-8"))
    return pages | {README: front}


if __name__ == "__main__":
    for path, text in drawn_documents().items():
        path.write_text(text, encoding="utf-8")
    machine_page.write()
