"""Chart of the figures in relation to their goals."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure as Chart
from matplotlib.lines import Line2D

from bench.figure import Figure, Goal, Verdict

_COLORS = {Verdict.AIM: "tab:green", Verdict.MUST: "tab:olive", Verdict.MISSED: "tab:red"}


def draw_chart(figures: Sequence[Figure], results: Path) -> Path:
    """Draw the chart as a PNG next to the JSON file `results`; return the PNG.

    Each figure is shown as a share of its limit, so that 1 is the limit and less is better. Where a
    larger figure is better, the inverse is drawn.
    """
    chart = Chart(figsize=(11, 1.2 + 0.55 * len(figures)), layout="constrained")
    axes = chart.add_subplot()
    for row, figure in enumerate(figures):
        goal, color = figure.goal, _COLORS[figure.verdict]
        spread = sorted(_share_of_limit(goal, sample) for sample in figure.samples)
        axes.hlines(row, spread[0], spread[-1], color=color, alpha=0.4, linewidth=6)
        axes.plot(_share_of_limit(goal, figure.median), row, "o", color=color)
        axes.plot(_share_of_limit(goal, goal.aim), row, "|", color="black", markersize=14)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    ticks = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(figures)), [_label(figure) for figure in figures])
    axes.invert_yaxis()
    axes.set_xlabel("share of the limit; less is better")
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
    path = results.with_suffix(".png")
    chart.savefig(path, dpi=120)
    return path


def _share_of_limit(goal: Goal, value: float) -> float:
    return goal.must / value if goal.more_is_better else value / goal.must


def _label(figure: Figure) -> str:
    goal = figure.goal
    sign = "≥" if goal.more_is_better else "≤"
    return f"{goal.name}\n{figure.median:.3g} {goal.unit} ({sign} {goal.must:g}, {goal.aim:g})"
