"""What the benchmarks make of what they have measured; measuring it takes minutes."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from bench import __main__ as program
from bench import figure
from bench.chart import draw
from bench.figure import LONE, RATE, Figure, Goal, Verdict
from bench.report import keep, show
from tests.docs.draw import ROOT

_PNG = b"\x89PNG"
FIGURES = [Figure(RATE, [0.8, 0.9, 1.2], "9 to 10 a second"), Figure(LONE, [4.0])]


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (RATE, RATE.aim, Verdict.AIM),
        (RATE, RATE.must, Verdict.MUST),
        (RATE, RATE.must - 0.01, Verdict.MISSED),
        (LONE, LONE.aim, Verdict.AIM),
        (LONE, LONE.must, Verdict.MUST),
        (LONE, LONE.must + 0.01, Verdict.MISSED),
    ],
)
def test_a_figure_is_judged_by_its_goal(goal: Goal, value: float, verdict: Verdict) -> None:
    assert Figure(goal, [value]).verdict is verdict


def test_figures_are_shown_kept_and_drawn(tmp_path: Path) -> None:
    screen = io.StringIO()
    show(FIGURES, Console(file=screen, width=200))
    assert re.search(
        r"lifecycles per second.* 0\.9 .*≥ 0\.85.*≥ 1 .*as it must be", screen.getvalue()
    )
    kept = keep(FIGURES, "quick", tmp_path)
    [rate, lone] = json.loads(kept.read_text(encoding="utf-8"))["figures"]
    assert (rate["median"], rate["samples"]) == (0.9, [0.8, 0.9, 1.2])
    assert (lone["verdict"], lone["must"], lone["aim"]) == ("missed", 3, 1.5)
    assert draw(FIGURES, kept).read_bytes().startswith(_PNG)


def test_it_says_how_much_it_can_measure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "--help"])
    with pytest.raises(SystemExit, match="0"):
        program.main()
    printed = capsys.readouterr().out
    assert all(f"{size}" in printed for size in program.SIZES)


def test_the_page_on_performance_explains_every_figure() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    goals = [goal for goal in vars(figure).values() if isinstance(goal, Goal)]
    assert [goal.what for goal in goals if goal.what not in page] == []
