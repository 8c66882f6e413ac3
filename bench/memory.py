"""Memory of a pending invitation in a worker's cache: `python -m bench.memory`.

Each measurement uses new workers on a real server, without forced garbage collections. A worker
warms up first; the memory per invitation is the slope of the worker's memory over the number of
invitations in its cache. The baseline is measured in turns with Seatflow.
"""

import asyncio
from pathlib import Path
from statistics import linear_regression, median

from rich.console import Console

from bench.environment import ADMIN, BASELINE, SEATFLOW, TARGET, WORKERS, open_environment
from bench.figure import MEMORY, Figure
from bench.report import print_table
from clients.invitation import InvitationClient
from domain.invitation import Person

WARM_UP = 2
"""Steps before the first measurement, for the memory that every worker needs once."""

STEPS = 4

SETTLE_SECONDS = 3
"""Time for the last workflow tasks to complete."""


async def measure_memory(rounds: int, step: int) -> list[Figure]:
    """Measure rounds with `step` invitations in each step, in turns, on new workers each time."""
    slopes = [
        {name: await _slopes(name, step) for name in (BASELINE, SEATFLOW)} for _ in range(rounds)
    ]
    resident = [each[SEATFLOW]["resident"] for each in slopes]
    unshared = median(each[SEATFLOW]["unshared"] for each in slopes)
    baseline = median(each[BASELINE]["resident"] for each in slopes)
    note = f"over {STEPS * step:,}; unshared {unshared:.1f}; baseline {baseline:.1f} KiB"
    return [Figure(MEMORY, resident, note)]


async def _slopes(name: str, step: int) -> dict[str, float]:
    async with open_environment({name: WORKERS[name]}) as environment:
        variant = environment.variants[name]
        await _invite(variant.clients.invitations, "warm", WARM_UP * step)
        samples = [_memory(variant.worker.pid)]
        for number in range(STEPS):
            await _invite(variant.clients.invitations, f"measured{number}", step)
            samples.append(_memory(variant.worker.pid))
    cached = [number * step for number in range(STEPS + 1)]
    return {
        kind: linear_regression(cached, [sample[kind] for sample in samples]).slope
        for kind in samples[0]
    }


async def _invite(client: InvitationClient, name: str, count: int) -> None:
    people = [Person(email=f"{name}-{number}@new.example") for number in range(count)]
    results = await client.invite(TARGET, people, ADMIN)
    await client.wait_until_sent(results)
    await asyncio.sleep(SETTLE_SECONDS)


def _memory(pid: int) -> dict[str, int]:
    """Return the resident memory, and the part that is not shared, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}
    return {"resident": kib["Rss"], "unshared": kib["Private_Clean"] + kib["Private_Dirty"]}


if __name__ == "__main__":
    print_table(asyncio.run(measure_memory(rounds=2, step=500)), Console())
