"""Output of figures: a table and a JSON file."""

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


def print_table(figures: Sequence[Figure], console: Console) -> None:
    """Print medians, spread and goals as a table."""
    table = Table("figure", "median", "range", "must", "aim", "verdict", "values")
    for figure in figures:
        goal, verdict = figure.goal, figure.verdict
        sign = "≥" if goal.more_is_better else "≤"
        table.add_row(
            goal.name,
            f"{figure.median:.4g}",
            f"{min(figure.samples):.4g} to {max(figure.samples):.4g}",
            f"{sign} {goal.must:g}",
            f"{sign} {goal.aim:g}",
            f"[{_COLORS[verdict]}]{verdict}[/]",
            figure.note,
        )
    console.print(table)


def save(figures: Sequence[Figure], size: str, folder: Path) -> Path:
    """Save all samples as JSON; return the file."""
    now = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y%m%dT%H%M%SZ}.json"
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
                "what": figure.goal.name,
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
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
