"""Table of settings in the operations guide."""

import re

import pytest
from pydantic.fields import FieldInfo

from domain.policy import Policy
from domain.reconciliation import DivergenceKind
from runtime.settings import PREFIX, STRIPE_API_KEY, Settings
from tests.docs.draw import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(rf"^\| `({PREFIX}\w+|{STRIPE_API_KEY})` \| (.*?) \|", PAGE, re.MULTILINE))
POLICY = f"{PREFIX}POLICY__"


def variables(fields: dict[str, FieldInfo], prefix: str) -> dict[str, FieldInfo]:
    return {
        str(field.validation_alias or f"{prefix}{name.upper()}"): field
        for name, field in fields.items()
    }


FIELDS = variables(Settings.model_fields, PREFIX) | variables(Policy.model_fields, POLICY)
PLAIN = {
    name: str(field.default).lower()
    for name, field in FIELDS.items()
    if isinstance(field.default, str | int | float) and not field.default_factory
}


def test_every_setting_is_listed_and_no_other() -> None:
    """`docs/operations.md` lists exactly the settings that a process reads."""
    assert set(ROWS) == set(FIELDS) - {f"{PREFIX}POLICY"}


@pytest.mark.parametrize("name", [name for name in PLAIN if name.startswith(POLICY)])
def test_the_listed_defaults_of_the_policy_are_those_of_the_code(name: str) -> None:
    """SEATFLOW_POLICY__…: the page shows the default of the code."""
    assert ROWS[name] == f"`{PLAIN[name]}`"


def test_every_kind_of_difference_is_explained() -> None:
    """OPS-6: the page lists the kinds that `reconcile` prints, with what `--fix` does."""
    _, _, rest = PAGE.partition("### What is compared")
    table, _, _ = rest.partition("### ")
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [*DivergenceKind]
