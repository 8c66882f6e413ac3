"""The client that finds and removes differences of store, Temporal and provider (OPS-6)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from clients.comparison import Comparison, Watch
from clients.repair import Repair
from clients.workflow_call import temporal_errors_as_unavailable
from domain.reconciliation import Divergence, Reconciliation

ROUNDS: Final = 6
"""Repetitions of the remedies: one may make another one possible."""


def _unwatched(done: int, total: int) -> None:
    """Ignore the progress."""


@dataclass(frozen=True)
class ReconciliationClient:
    """Finds the differences between store, Temporal and payment provider, and removes them.

    It needs no worker. Every method raises Unavailable.
    """

    repair: Repair

    async def check(self, watch: Watch = _unwatched) -> Reconciliation:
        """Compare everything; change nothing but the mark of a restored database.

        Without a difference the mark is removed, and workers continue.
        """
        with temporal_errors_as_unavailable():
            found = await self._compared(watch)
        if not found.divergences:
            await self.repair.store.restore.remove_mark()
        return found

    async def fix(self, watch: Watch = _unwatched) -> Reconciliation:
        """Carry out the remedies that lose nothing; report what is left to the operators.

        Then workers continue after a restore.
        """
        store = self.repair.store.restore
        with temporal_errors_as_unavailable():
            first = found = await self._compared(watch)
            left, fixed = dict[str, Divergence](), dict[str, Divergence]()
            for _ in range(ROUNDS):
                if not found.divergences:
                    break
                fixed |= {each.key: each for each in found.divergences}
                impossible = await self.repair.carry_out(found.divergences)
                given_up = _explained(found, impossible)
                await store.report(given_up)
                left |= {each.key: each for each in given_up}
                found = await self._compared(watch)
        remaining = _explained(found, {each.key: CHECK_BY_HAND for each in found.divergences})
        await store.report(remaining)
        left |= {each.key: each for each in remaining}
        await store.remove_mark()
        return Reconciliation(
            checked=first.checked,
            divergences=tuple(left.values()),
            fixed=tuple(each for key, each in fixed.items() if key not in left),
        )

    async def _compared(self, watch: Watch) -> Reconciliation:
        repair = self.repair
        comparison = Comparison(repair.temporal, repair.store, repair.provider, watch)
        await comparison.run()
        known = await repair.store.restore.known(comparison.divergences)
        return Reconciliation(
            checked=dict(comparison.checked),
            divergences=tuple(each for each in comparison.divergences if each.key not in known),
        )


CHECK_BY_HAND: Final = "Compare both sides, and correct the one that is wrong."


def _explained(found: Reconciliation, reasons: Mapping[str, str]) -> list[Divergence]:
    """Return the differences that have a reason, each with it in place of the remedy."""
    return [
        each.model_copy(update={"remedy": reasons[each.key]})
        for each in found.divergences
        if each.key in reasons
    ]
