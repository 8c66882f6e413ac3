"""Measured figures and their goals."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Final


class Verdict(StrEnum):
    """The result of comparing a figure with its goal."""

    AIM = "meets the aim"
    MUST = "meets the limit"
    MISSED = "misses the limit"


@dataclass(frozen=True)
class Goal:
    """The limit that a figure must meet, and the value that is aimed for."""

    name: str
    must: float
    aim: float
    unit: str = "×"

    @property
    def more_is_better(self) -> bool:
        """Return whether a larger figure is better."""
        return self.aim > self.must


WORKER_CPU: Final = Goal("worker CPU per invitation ÷ baseline", must=1.15, aim=1.05)
SERVER_CPU: Final = Goal("server CPU per invitation ÷ baseline", must=1.05, aim=0.90)
RATE: Final = Goal("lifecycles per second ÷ baseline", must=0.85, aim=1.0)
WORKER_TO_SERVER: Final = Goal("worker CPU ÷ server CPU", must=0.60, aim=0.50)
EVENTS: Final = Goal("history events per invitation", must=31, aim=28, unit="")
ACTIONS: Final = Goal("billable actions per invitation", must=7, aim=6, unit="")
MEMORY: Final = Goal("worker memory per cached pending invitation", 80, 68, "KiB")
REPLAY: Final = Goal("events replayed per second ÷ baseline", 0.75, 0.90)
SUBMITTED: Final = Goal("batch rows submitted per second ÷ direct starts", 0.90, 1.0)
DELIVERED: Final = Goal("batch rows pending per second ÷ direct starts", 0.85, 0.95)
SINGLE: Final = Goal("another account's single invitation during a batch ÷ idle", must=3, aim=1.5)
VISIT_P50: Final = Goal("page, p50 ÷ bare update", must=1.3, aim=1.1)
VISIT_P95: Final = Goal("page, p95 ÷ bare update", must=1.3, aim=1.1)
ACCEPT_P50: Final = Goal("accept on the page, p50 ÷ bare update", must=1.3, aim=1.1)
ACCEPT_P95: Final = Goal("accept on the page, p95 ÷ bare update", must=1.3, aim=1.1)


@dataclass(frozen=True)
class Figure:
    """The measurements for a goal, one for each round."""

    goal: Goal
    samples: Sequence[float]
    note: str = ""
    """The values behind the figure."""

    @property
    def median(self) -> float:
        """Return the median of the samples, which the goal applies to."""
        return median(self.samples)

    @property
    def verdict(self) -> Verdict:
        """Return the part of the goal that the median meets."""
        sign = 1 if self.goal.more_is_better else -1
        if sign * self.median >= sign * self.goal.aim:
            return Verdict.AIM
        return Verdict.MUST if sign * self.median >= sign * self.goal.must else Verdict.MISSED
