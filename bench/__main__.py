"""Measures how light the engine is, beside a floor: `python -m bench [--full]`."""

import argparse
import asyncio
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench.bulk import batches, lone_ones
from bench.chart import draw
from bench.environment import a_stand
from bench.figure import Figure
from bench.lifecycle import lifecycles
from bench.memory import memory
from bench.replay import replays
from bench.report import keep, show

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Size:
    """How much is measured: rounds, and how many in each."""

    name: str
    lifecycles: tuple[int, int]
    replays: tuple[int, int]
    rows: tuple[int, int]
    beside_single_ones: int
    """Rows of the batch during which somebody else invites single people."""
    cached: tuple[int, int]


QUICK = Size(
    "quick",
    lifecycles=(4, 100),
    replays=(5, 100),
    rows=(2, 300),
    beside_single_ones=1_500,
    cached=(1, 150),
)
FULL = Size(
    "full",
    lifecycles=(6, 200),
    replays=(15, 300),
    rows=(4, 1_000),
    beside_single_ones=10_000,
    cached=(1, 300),
)
SMOKE = Size(
    "smoke", lifecycles=(1, 3), replays=(1, 3), rows=(1, 10), beside_single_ones=10, cached=(1, 10)
)
"""Whether it can be measured at all: the figures say nothing."""

SIZES = {size.name: size for size in (QUICK, FULL, SMOKE)}


async def measure(size: Size, console: Console) -> list[Figure]:
    """Measure one after the other, each on a stand that nobody has used before."""
    figures = list[Figure]()
    with console.status("whole lifecycles") as status:
        async with a_stand() as stand:
            figures += await lifecycles(stand, *size.lifecycles)
            status.update("replays")
            figures += await replays(stand, *size.replays)
        status.update("memory")
        figures += await memory(*size.cached)
        async with a_stand() as stand:
            status.update("batches")
            figures += await batches(stand, *size.rows)
        async with a_stand() as stand:
            status.update("single ones beside a batch")
            figures += await lone_ones(stand, size.beside_single_ones)
    return figures


def main() -> None:
    """Measure in the size that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default=QUICK.name, help="how much to measure")
    parser.add_argument("--full", action="store_const", const=FULL.name, dest="size")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where they are kept")
    asked = parser.parse_args()
    console = Console()
    figures = asyncio.run(measure(SIZES[asked.size], console))
    show(figures, console)
    kept = keep(figures, asked.size, asked.results)
    console.print(f"kept in {kept} and {draw(figures, kept)}")


if __name__ == "__main__":
    main()
