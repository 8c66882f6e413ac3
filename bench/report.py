"""How figures are shown and kept: a table, and JSON."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.figure import Figure, Verdict

_COLORS = {Verdict.AIM: "green", Verdict.MUST: "yellow", Verdict.MISSED: "red"}


def show(figures: Sequence[Figure], console: Console) -> None:
    """The table on the terminal: medians, spread, and what they should be."""
    table = Table("what", "median", "least to most", "must", "aim", "verdict", "made of")
    for figure in figures:
        goal, verdict = figure.goal, figure.verdict
        sign = "≥" if goal.more_is_better else "≤"
        table.add_row(
            goal.what,
            f"{figure.median:.4g}",
            f"{min(figure.samples):.4g} to {max(figure.samples):.4g}",
            f"{sign} {goal.must:g}",
            f"{sign} {goal.aim:g}",
            f"[{_COLORS[verdict]}]{verdict}[/]",
            figure.note,
        )
    console.print(table)


def keep(figures: Sequence[Figure], size: str, folder: Path) -> Path:
    """Keep everything that was measured as JSON; returns the file."""
    now = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{now:%Y%m%dT%H%M%SZ}.json"
    document = {
        "measured_at": now.isoformat(timespec="seconds"),
        "size": size,
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
            "load_average": round(os.getloadavg()[1], 1),
            "python": platform.python_version(),
            "temporalio": version("temporalio"),
        },
        "figures": [
            {
                "what": figure.goal.what,
                "median": round(figure.median, 4),
                "samples": [round(sample, 4) for sample in figure.samples],
                "must": figure.goal.must,
                "aim": figure.goal.aim,
                "verdict": figure.verdict.value,
                "made_of": figure.note,
            }
            for figure in figures
        ],
    }
    kept.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return kept
