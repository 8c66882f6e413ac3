"""The layers and the wheel, which have every package."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
PACKAGES = {init.parent.name for init in ROOT.glob("*/__init__.py")} - {"tests"}
ENTRY_POINTS = {"starter.py", "worker.py"}


def test_the_import_contracts_cover_every_package() -> None:
    """ADR 0015: a new package is checked, too."""
    assert set(TOOLS["importlinter"]["root_packages"]) == PACKAGES


def test_every_package_has_its_layer() -> None:
    """ADR 0015: imports point downwards only."""
    layers = TOOLS["importlinter"]["contracts"][0]["layers"]
    assert {name for layer in layers for name in layer.split(" | ")} == PACKAGES


def test_the_wheel_holds_the_whole_program() -> None:
    """ADR 0015: the wheel has every package, both entry points and the examples."""
    wheel = TOOLS["hatch"]["build"]["targets"]["wheel"]
    assert set(wheel["only-include"]) == PACKAGES | ENTRY_POINTS | {"examples"}


def test_only_one_module_changes_the_counters_of_license_pools() -> None:
    """ASG-6: each change is one UPDATE, and all of them are in one place."""
    change = re.compile(r"update\(LicensePoolRow|\.(bought|bought_named|assigned|reserved) [-+]?= ")
    changing = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if change.search(path.read_text(encoding="utf-8"))
    }
    assert changing == {"adapters/sql/licenses/counter.py"}
