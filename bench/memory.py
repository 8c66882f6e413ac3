"""What a pending invitation costs in a worker's cache: `python -m bench.memory`.

Workers of their own on a real server, untouched by the measuring: no collection or trimming
is asked of them. Each warms up first; what an invitation costs is the slope of its worker's
memory over the number it holds. In turns with it, `bench/floor.py` shows what the least
workflow with the same activity, upsert and timer costs.
"""

import asyncio
from pathlib import Path
from statistics import linear_regression, median

from rich.console import Console

from bench.figure import MEMORY, Figure
from bench.report import show
from bench.stand import ADMIN, FLOOR, SEATFLOW, TARGET, WORKERS, a_stand
from clients.invitation import InvitationClient
from domain.invitation import Person

WARM_UP = 2
"""Steps before the first look: what every worker takes once is taken by then."""

STEPS = 4

SETTLED_AFTER = 3
"""Seconds: the last workflow tasks are still being answered."""


async def memory(rounds: int, step: int) -> list[Figure]:
    """Rounds of steps of so many invitations, in turns: a new worker each time."""
    slopes = [
        {name: await _slopes(name, step) for name in (FLOOR, SEATFLOW)} for _ in range(rounds)
    ]
    resident = [each[SEATFLOW]["resident"] for each in slopes]
    unshared = median(each[SEATFLOW]["unshared"] for each in slopes)
    floor = median(each[FLOOR]["resident"] for each in slopes)
    note = f"over {STEPS * step:,}; unshared {unshared:.1f}; floor {floor:.1f} KiB"
    return [Figure(MEMORY, resident, note)]


async def _slopes(name: str, step: int) -> dict[str, float]:
    async with a_stand({name: WORKERS[name]}) as stand:
        side = stand.sides[name]
        await _invite(side.clients.invitations, "warm", WARM_UP * step)
        samples = [_memory(side.worker.pid)]
        for number in range(STEPS):
            await _invite(side.clients.invitations, f"measured{number}", step)
            samples.append(_memory(side.worker.pid))
    held = [number * step for number in range(STEPS + 1)]
    return {
        kind: linear_regression(held, [sample[kind] for sample in samples]).slope
        for kind in samples[0]
    }


async def _invite(client: InvitationClient, name: str, count: int) -> None:
    people = [Person(email=f"{name}-{number}@new.example") for number in range(count)]
    results = await client.invite(TARGET, people, ADMIN)
    await client.wait_until_out(results)
    await asyncio.sleep(SETTLED_AFTER)


def _memory(pid: int) -> dict[str, int]:
    """Resident, and the part of it that nobody shares, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}
    return {"resident": kib["Rss"], "unshared": kib["Private_Clean"] + kib["Private_Dirty"]}


if __name__ == "__main__":
    show(asyncio.run(memory(rounds=2, step=500)), Console())
