"""Benchmarks of the engine against a baseline: `python -m bench [--full]`."""

import argparse
import asyncio
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench.batch import measure_batches, measure_single_invitations
from bench.chart import draw_chart
from bench.environment import open_environment
from bench.figure import Figure
from bench.lifecycle import measure_lifecycles
from bench.memory import measure_memory
from bench.page import measure_pages
from bench.replay import measure_replays
from bench.report import print_table, save

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Size:
    """The amount of work: rounds and the number in each."""

    name: str
    lifecycles: tuple[int, int]
    replays: tuple[int, int]
    rows: tuple[int, int]
    rows_beside_singles: int
    """Rows of the batch during which another account sends single invitations."""
    cached: tuple[int, int]
    visits: int


QUICK = Size(
    "quick",
    lifecycles=(4, 100),
    replays=(5, 100),
    rows=(2, 300),
    rows_beside_singles=1_500,
    cached=(1, 150),
    visits=100,
)
FULL = Size(
    "full",
    lifecycles=(6, 200),
    replays=(15, 300),
    rows=(4, 1_000),
    rows_beside_singles=10_000,
    cached=(1, 300),
    # The portal refuses more than 300 POSTs a minute of one client.
    visits=250,
)
SMOKE = Size(
    "smoke",
    lifecycles=(1, 3),
    replays=(1, 3),
    rows=(1, 10),
    rows_beside_singles=10,
    cached=(1, 10),
    visits=3,
)
"""Smoke test of the benchmark; its figures have no meaning."""

SIZES = {size.name: size for size in (QUICK, FULL, SMOKE)}


async def measure(size: Size, console: Console) -> list[Figure]:
    """Run all benchmarks, one after the other, in new environments."""
    figures = list[Figure]()
    with console.status("lifecycles") as status:
        async with open_environment() as environment:
            figures += await measure_lifecycles(environment, *size.lifecycles)
            status.update("replays")
            figures += await measure_replays(environment, *size.replays)
            status.update("pages")
            figures += await measure_pages(environment, size.visits)
        status.update("memory")
        figures += await measure_memory(*size.cached)
        async with open_environment() as environment:
            status.update("batches")
            figures += await measure_batches(environment, *size.rows)
        async with open_environment() as environment:
            status.update("single invitations during a batch")
            figures += await measure_single_invitations(environment, size.rows_beside_singles)
    return figures


def main() -> None:
    """Run the benchmarks, print the figures and save them."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default=QUICK.name, help="amount of work")
    parser.add_argument("--full", action="store_const", const=FULL.name, dest="size")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the results")
    arguments = parser.parse_args()
    console = Console()
    figures = asyncio.run(measure(SIZES[arguments.size], console))
    print_table(figures, console)
    saved = save(figures, arguments.size, arguments.results)
    console.print(f"Saved {saved} and {draw_chart(figures, saved)}.")


if __name__ == "__main__":
    main()
