"""What is measured, beside what it must be and what it should be."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Final


class Verdict(StrEnum):
    """How a figure stands to its goal."""

    AIM = "aim reached"
    MUST = "as it must be"
    MISSED = "missed"


@dataclass(frozen=True)
class Goal:
    """What a figure must be, and what it should be."""

    what: str
    must: float
    aim: float
    unit: str = "×"

    @property
    def more_is_better(self) -> bool:
        """Whether a larger figure is a better one."""
        return self.aim > self.must


WORKER_CPU: Final = Goal("worker CPU of a whole invitation ÷ floor", must=1.15, aim=1.05)
SERVER_CPU: Final = Goal("server CPU of it ÷ floor", must=1.05, aim=0.90)
RATE: Final = Goal("lifecycles per second ÷ floor", must=0.85, aim=1.0)
WORKER_TO_SERVER: Final = Goal("worker CPU ÷ server CPU", must=0.60, aim=0.50)
EVENTS: Final = Goal("history events of a whole invitation", must=31, aim=28, unit="")
ACTIONS: Final = Goal("billable actions of it", must=7, aim=6, unit="")
MEMORY: Final = Goal("memory of a pending invitation in a worker's cache", 80, 68, "KiB")
REPLAY: Final = Goal("events replayed per second ÷ a twin without a machine", 0.75, 0.90)
SUBMITTED: Final = Goal("rows of a batch submitted per second ÷ bare starts", 0.90, 1.0)
OUT: Final = Goal("rows of a batch pending per second ÷ bare starts", 0.85, 0.95)
LONE: Final = Goal("another account's single one during a batch ÷ idle", must=3, aim=1.5)


@dataclass(frozen=True)
class Figure:
    """A goal, and what was measured of it: once in each round."""

    goal: Goal
    samples: Sequence[float]
    note: str = ""
    """What it was made of."""

    @property
    def median(self) -> float:
        """What counts."""
        return median(self.samples)

    @property
    def verdict(self) -> Verdict:
        """Whether that is good enough."""
        sign = 1 if self.goal.more_is_better else -1
        if sign * self.median >= sign * self.goal.aim:
            return Verdict.AIM
        return Verdict.MUST if sign * self.median >= sign * self.goal.must else Verdict.MISSED
