"""The client that finds and removes differences of store, Temporal and provider (OPS-6)."""

from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from clients.comparison import Comparison, Watch
from clients.repair import Repair, first_group
from clients.workflow_call import temporal_errors_as_unavailable
from domain.author import THEMSELVES, Author
from domain.reconciliation import Divergence, Reconciliation

ROUNDS: Final = 10
"""Repetitions of the remedies: one may make another one possible."""


def _unwatched(done: int, total: int) -> None:
    """Ignore the progress."""


@dataclass(frozen=True)
class ReconciliationClient:
    """Finds the differences between store, Temporal and payment provider, and removes them.

    It needs no worker. Every method raises Unavailable.
    """

    repair: Repair
    author: Author = THEMSELVES

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
                given_up = await self._carry_out(found, {*fixed})
                await store.report(given_up)
                left |= {each.key: each for each in given_up}
                fixed |= {each.key: each for each in first_group(found.divergences)}
                found = await self._compared(watch)
        remaining = [_explained(each, CHECK_BY_HAND) for each in found.divergences]
        await store.report(remaining)
        left |= {each.key: each for each in remaining}
        await store.remove_mark()
        await self._record({each.subject for each in (*left.values(), *fixed.values())})
        return Reconciliation(
            checked=first.checked,
            divergences=tuple(left.values()),
            fixed=tuple(each for key, each in fixed.items() if key not in left),
        )

    async def _record(self, subjects: Set[str]) -> None:
        """Record who had the remedies carried out (OPS-8)."""
        await self.repair.store.changes.record(
            "reconcile --fix", *sorted(subjects), by=self.author.name, at=datetime.now(UTC)
        )

    async def _carry_out(self, found: Reconciliation, tried: Set[str]) -> list[Divergence]:
        """Carry out the next remedies; return the differences that cannot be removed.

        One whose remedy was carried out before, and that is still there, is one of them.
        """
        chosen = first_group(found.divergences)
        new = [each for each in chosen if each.key not in tried]
        reasons = await self.repair.carry_out(new) if new else {}
        reasons |= {each.key: CHECK_BY_HAND for each in chosen if each.key in tried}
        return [_explained(each, reasons[each.key]) for each in chosen if each.key in reasons]

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


def _explained(divergence: Divergence, reason: str) -> Divergence:
    """Return the difference with the reason why a person has to act in place of the remedy."""
    return divergence.model_copy(update={"remedy": reason})
