"""The figures as a picture: how far each is from what it must be and should be."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D

from bench.figure import Figure, Goal, Verdict

_COLORS = {Verdict.AIM: "tab:green", Verdict.MUST: "tab:olive", Verdict.MISSED: "tab:red"}


def draw(figures: Sequence[Figure], kept: Path) -> Path:
    """Draw beside the JSON that was kept; returns the PNG.

    What it must be is 1 for each, and less is better: where a larger figure is the better
    one, its inverse is drawn.
    """
    picture = Picture(figsize=(11, 1.2 + 0.55 * len(figures)), layout="constrained")
    axes = picture.add_subplot()
    for row, figure in enumerate(figures):
        goal, color = figure.goal, _COLORS[figure.verdict]
        spread = sorted(_share(goal, sample) for sample in figure.samples)
        axes.hlines(row, spread[0], spread[-1], color=color, alpha=0.4, linewidth=6)
        axes.plot(_share(goal, figure.median), row, "o", color=color)
        axes.plot(_share(goal, goal.aim), row, "|", color="black", markersize=14)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    ticks = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(figures)), [_label(figure) for figure in figures])
    axes.invert_yaxis()
    axes.set_xlabel("share of what it must be: left of 1 is good")
    axes.legend(
        handles=[
            Line2D([], [], color="black", linewidth=1, label="must"),
            Line2D([], [], color="black", marker="|", linestyle="", markersize=14, label="aim"),
            Line2D([], [], color="grey", marker="o", linewidth=6, alpha=0.6, label="measured"),
        ],
        loc="upper center",
        bbox_to_anchor=(0.5, 1.12),
        ncols=3,
        frameon=False,
    )
    drawn = kept.with_suffix(".png")
    picture.savefig(drawn, dpi=120)
    return drawn


def _share(goal: Goal, value: float) -> float:
    return goal.must / value if goal.more_is_better else value / goal.must


def _label(figure: Figure) -> str:
    goal = figure.goal
    sign = "≥" if goal.more_is_better else "≤"
    return f"{goal.what}\n{figure.median:.3g} {goal.unit} ({sign} {goal.must:g}, {goal.aim:g})"
