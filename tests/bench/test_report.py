"""Evaluation and output of benchmark figures."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from bench import __main__ as program
from bench import figure
from bench.chart import draw_chart
from bench.figure import RATE, SINGLE, Figure, Goal, Verdict
from bench.report import print_table, save
from tests.docs.draw import ROOT

_PNG = b"\x89PNG"
FIGURES = [Figure(RATE, [0.8, 0.9, 1.2], "9 to 10 a second"), Figure(SINGLE, [4.0])]


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (RATE, RATE.aim, Verdict.AIM),
        (RATE, RATE.must, Verdict.MUST),
        (RATE, RATE.must - 0.01, Verdict.MISSED),
        (SINGLE, SINGLE.aim, Verdict.AIM),
        (SINGLE, SINGLE.must, Verdict.MUST),
        (SINGLE, SINGLE.must + 0.01, Verdict.MISSED),
    ],
)
def test_a_figure_is_compared_with_its_goal(goal: Goal, value: float, verdict: Verdict) -> None:
    """A figure meets the aim, only the limit, or neither."""
    assert Figure(goal, [value]).verdict is verdict


def test_figures_are_printed_saved_and_drawn(tmp_path: Path) -> None:
    """All three outputs come from the same figures."""
    screen = io.StringIO()
    print_table(FIGURES, Console(file=screen, width=200))
    assert re.search(
        r"lifecycles per second.* 0\.9 .*≥ 0\.85.*≥ 1 .*meets the limit", screen.getvalue()
    )
    saved = save(FIGURES, "quick", tmp_path)
    [rate, single] = json.loads(saved.read_text(encoding="utf-8"))["figures"]
    assert (rate["median"], rate["samples"]) == (0.9, [0.8, 0.9, 1.2])
    assert (single["verdict"], single["must"], single["aim"]) == ("misses the limit", 3, 1.5)
    assert draw_chart(FIGURES, saved).read_bytes().startswith(_PNG)


def test_the_help_lists_the_sizes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m bench --help` names every size."""
    monkeypatch.setattr("sys.argv", ["bench", "--help"])
    with pytest.raises(SystemExit, match="0"):
        program.main()
    printed = capsys.readouterr().out
    assert all(f"{size}" in printed for size in program.SIZES)


def test_the_performance_page_explains_every_figure() -> None:
    """`docs/performance.md` has each goal's name."""
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    goals = [goal for goal in vars(figure).values() if isinstance(goal, Goal)]
    assert [goal.name for goal in goals if goal.name not in page] == []
