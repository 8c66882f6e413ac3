"""The commands for orders, without Temporal."""

from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

from domain.account import Directory
from domain.license import Sku
from domain.order import BuyLicenses
from runtime.settings import Settings
from runtime.store import open_store
from tests.commands.conftest import Run

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
OWNER = "owner@acme.example"
ORDER = {
    "order_id",
    "workflow_id",
    "account",
    "state",
    "sku",
    "capacity",
    "quantity",
    "cycle",
    "portal",
    "quote",
    "invoices",
    "note",
}


def an_account(name: str, plan: str) -> dict[str, JsonValue]:
    return {
        "id": name,
        "name": name.title(),
        "plan": plan,
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "country": "DE",
        "collection": "autopay",
        "billing_day": 30,
        "users": [
            {"email": f"owner@{name}.example", "role": "owner"},
            {"email": f"member@{name}.example", "role": "member"},
        ],
    }


@pytest.fixture
async def accounts(database: Settings) -> None:
    """Import Acme, which has a draft without a workflow, and Club, which is free."""
    async with open_store(database) as store:
        accounts = [an_account("acme", "business"), an_account("club", "free")]
        await store.directory.import_(Directory.model_validate({"accounts": accounts}))
        order = BuyLicenses(
            order_id="or-1",
            account="acme",
            sku=Sku.LARGE_MEETING,
            capacity=500,
            quantity=3,
            cycle="monthly",
            bought_by=OWNER,
        )
        await store.orders.open(order, NOON)


@pytest.fixture
def seatflow(accounts: None, run_in_process: Run) -> Run:
    """Run a command in this process."""
    return run_in_process


def arguments_of(*, capacity: str | None, quantity: str, cycle: str, by: str) -> list[str]:
    license_type = ["large-meeting", "--capacity", capacity] if capacity else ["workplace"]
    return [*license_type, "--quantity", quantity, "--cycle", cycle, "--by", by]


@pytest.mark.parametrize(
    ("account", "purchase", "code"),
    [
        ("acme", ("750", "1", "monthly", OWNER), "invalid_capacity"),
        ("acme", ("many", "1", "monthly", OWNER), "invalid_capacity"),
        ("acme", ("500", "0", "monthly", OWNER), "invalid_quantity"),
        ("acme", ("500", "-1", "monthly", OWNER), "invalid_quantity"),
        ("acme", ("500", "1.5", "monthly", OWNER), "invalid_quantity"),
        ("acme", ("500", "x", "monthly", OWNER), "invalid_quantity"),
        ("acme", ("500", "9999999", "monthly", OWNER), "invalid_quantity"),
        ("acme", ("500", "1", "weekly", OWNER), "invalid_cycle"),
        ("acme", (None, "1", "annual", "member@acme.example"), "not_authorized"),
        ("club", (None, "1", "annual", "owner@club.example"), "target_not_paid"),
        ("unknown", (None, "1", "annual", OWNER), "not_found"),
    ],
)
def test_an_invalid_purchase_is_refused_without_temporal(
    seatflow: Run, account: str, purchase: tuple[str | None, str, str, str], code: str
) -> None:
    """ADD-1, ADD-2: status 1 and the code."""
    capacity, quantity, cycle, by = purchase
    bought = seatflow(
        "--json",
        "buy",
        account,
        *arguments_of(capacity=capacity, quantity=quantity, cycle=cycle, by=by),
    )
    assert (bought.status, bought.error["code"]) == (1, code)


@pytest.mark.parametrize(
    ("sku", "capacity"),
    [
        ("large-meeting", []),
        ("large-meeting", ["--capacity", "10000"]),
        ("webinar", []),
        ("webinar", ["--capacity", "100"]),
        ("workplace", ["--capacity", "500"]),
    ],
)
def test_each_kind_of_license_has_its_own_capacities(
    seatflow: Run, sku: str, capacity: list[str]
) -> None:
    """ADD-1: add-ons require a capacity that is sold; base licenses have none."""
    terms = ["--quantity", "1", "--cycle", "monthly", "--by", OWNER]
    bought = seatflow("--json", "buy", "acme", sku, *capacity, *terms)
    assert (bought.status, bought.error["code"]) == (1, "invalid_capacity")


@pytest.mark.parametrize("license", [["workplace"], ["webinar", "--capacity", "10000"]])
def test_a_valid_purchase_needs_temporal(seatflow: Run, license: list[str]) -> None:
    """ADD-1: a valid purchase passes every check of the store; then Temporal is unreachable."""
    terms = ["--quantity", "1", "--cycle", "annual", "--by", OWNER]
    bought = seatflow("--json", "buy", "acme", *license, *terms)
    assert (bought.status, bought.error["code"]) == (3, "backend_unavailable")


def test_orders_are_listed_from_the_store(seatflow: Run) -> None:
    """ADD-4: ten of the 31 days from 30 October to 30 November are due now."""
    listed = seatflow("--json", "order", "list", "acme")
    document = listed.at("orders", 0)
    assert isinstance(document, dict)
    assert set(document) >= ORDER
    assert listed.at("orders", 0, "quote", "due_now") == {"amount": "48.39", "currency": "EUR"}
    assert seatflow("--json", "order", "list", "club").document == {"orders": []}
    assert seatflow("--json", "order", "list", "unknown").error["code"] == "not_found"
    assert seatflow("--json", "order", "show", "or-2").error["code"] == "not_found"


def test_a_person_reads_the_licenses_and_the_renewal(seatflow: Run) -> None:
    """ADD-7: the table names the licenses, the price of a cycle and the next billing date."""
    listed = seatflow("order", "list", "acme").out
    assert "3 × Large Meeting 500, monthly" in listed
    assert "150.00 EUR" in listed
    assert "2026-11-30" in listed
    assert "No orders." in seatflow("order", "list", "club").out


@pytest.mark.parametrize("quantity", ["0", "-1", "1.5", "x"])
def test_a_change_to_an_invalid_quantity_is_refused(seatflow: Run, quantity: str) -> None:
    """ADD-1, ADD-6: a quantity is a whole number of at least 1."""
    changed = seatflow("--json", "order", "change", "or-1", "--quantity", quantity)
    assert (changed.status, changed.error["code"]) == (1, "invalid_quantity")
