"""Measures how light the engine is, beside a floor: `python -m bench [--full]`."""

import argparse
import asyncio
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench.figure import Figure
from bench.lifecycle import lifecycles
from bench.report import keep, show
from bench.stand import a_stand

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    name: str
    rounds: int
    lifecycles: int


QUICK = Size("quick", rounds=4, lifecycles=100)
FULL = Size("full", rounds=8, lifecycles=400)


async def measure(size: Size, console: Console) -> None:
    """Measure everything, show it and keep it."""
    figures = list[Figure]()
    with console.status("whole lifecycles"):
        async with a_stand() as stand:
            figures += await lifecycles(stand, size.rounds, size.lifecycles)
    show(figures, console)
    console.print(f"kept in {keep(figures, size.name, RESULTS)}")


def main() -> None:
    """Measure in the size that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="for longer, with 10,000 rows")
    size = FULL if parser.parse_args().full else QUICK
    asyncio.run(measure(size, Console()))


if __name__ == "__main__":
    main()
