"""The commands for quotes, credit and refunds, without Temporal."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from pydantic import JsonValue

import starter
from domain.account import Directory
from domain.attention import AttentionCase, AttentionKind
from domain.credit import Credit
from domain.error import ErrorCode, Refused
from domain.journal import JournalEntry
from domain.money import Money
from domain.refund import PartState, Refund, RefundPart, RefundState
from runtime.settings import Settings
from runtime.store import open_store
from tests.commands.conftest import Run, stub_answer

APRIL_21 = "2026-04-21T10:00:00Z"
QUOTE = {"amount", "lines", "policy", "valid_until", "refund"}
PAULA: dict[str, JsonValue] = {
    "id": "paula",
    "name": "Paula",
    "plan": "pro",
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "country": "DE",
    "collection": "autopay",
    "users": [{"email": "paula@studio.example", "role": "owner"}],
    "subscriptions": [
        {
            "id": "sub-1",
            "product": "Pro",
            "kind": "plan",
            "quantity": 1,
            "cycle": "monthly",
            "period_start": "2026-04-01",
            "period_end": "2026-05-01",
            "payments": [
                {"id": "pay-1", "method": "card", "amount": "45.00"},
                {"id": "pay-2", "method": "credit", "amount": "15.00"},
            ],
        }
    ],
}
ACME: dict[str, JsonValue] = {
    "id": "acme",
    "name": "Acme",
    "plan": "business",
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "country": "DE",
    "collection": "net_terms",
    "users": [{"email": "owner@acme.example", "role": "owner"}],
    "credit": "30.00",
    "invoices": [
        {"id": "later", "amount_due": "50.00", "due_on": "2026-06-01"},
        {"id": "sooner", "amount_due": "20.00", "due_on": "2026-05-01"},
    ],
}


GLOBEX: dict[str, JsonValue] = {**ACME, "id": "globex", "currency": "USD", "users": []}


@pytest.fixture
async def accounts(database: Settings) -> None:
    """Import these accounts into the database."""
    async with open_store(database) as store:
        directory = Directory.model_validate({"accounts": [PAULA, ACME, GLOBEX]})
        await store.directory.import_(directory)


@pytest.fixture
def seatflow(accounts: None, run_in_process: Run) -> Run:
    """Run a command with `--json` in this process."""
    return partial(run_in_process, "--json")


def euros(amount: str) -> JsonValue:
    return {"amount": amount, "currency": "EUR"}


def test_a_quote_needs_no_invitation_and_changes_nothing(seatflow: Run) -> None:
    """QUO-1, QUO-2, QUO-8: ten of thirty days; the part paid from credit is not refunded."""
    before = seatflow("export").document
    quoted = seatflow("quote", "paula", "--at", APRIL_21)
    assert isinstance(quoted.document, dict)
    assert set(quoted.document) == QUOTE
    assert quoted.at("amount") == euros("20.00")
    assert quoted.at("lines", 0, "subscription") == "sub-1"
    assert quoted.at("lines", 0, "paid") == euros("60.00")
    assert quoted.at("lines", 0, "unused") == euros("20.00")
    assert quoted.at("lines", 0, "unused_days") == 10
    assert quoted.at("lines", 0, "period_days") == 30
    assert quoted.at("policy") == {
        "unit": "day",
        "change_day": "unused",
        "time_zone": "Europe/Berlin",
    }
    assert quoted.at("valid_until") is None
    assert quoted.at("refund", "amount") == euros("15.00")
    assert quoted.at("refund", "arrives_between") == ["2026-04-24", "2026-04-28"]
    assert seatflow("export").document == before


def test_a_quote_follows_the_options(seatflow: Run) -> None:
    """QUO-2: unit, day of change and moment determine the amount."""
    for option, value, worth in (
        ("--change-day", "used", "18.00"),
        ("--unit", "second", "19.00"),
        ("--unit", "fixed30", "20.00"),
        ("--at", "2026-04-21t12:00:00.5+02:00", "20.00"),
        ("--at", "2026-05-01T00:00:00Z", "0.00"),
        ("--at", "2026-03-01 00:00:00Z", "60.00"),
    ):
        quoted = seatflow("quote", "paula", "--at", APRIL_21, option, value)
        assert quoted.at("amount") == euros(worth), value


def test_a_quote_without_options_follows_the_policy_of_the_settings(seatflow: Run) -> None:
    """QUO-2: SEATFLOW_POLICY__PRORATION_… applies where no option is given."""
    setting = {"SEATFLOW_POLICY__PRORATION_CHANGE_DAY": "used"}
    quoted = seatflow("quote", "paula", "--at", APRIL_21, **setting)
    assert quoted.at("amount") == euros("18.00")
    assert seatflow("quote", "paula").at("policy", "unit") == "day"


def test_a_quote_with_a_target_includes_the_transfer(seatflow: Run) -> None:
    """QUO-6: a transfer needs the same currency."""
    to_acme = seatflow("quote", "paula", "--at", APRIL_21, "--target", "acme")
    assert isinstance(to_acme.document, dict)
    assert set(to_acme.document) == QUOTE | {"transfer"}
    assert to_acme.at("transfer") == {"amount": euros("20.00"), "to": "acme"}
    to_globex = seatflow("quote", "paula", "--at", APRIL_21, "--target", "globex")
    assert to_globex.at("transfer") == {"refused": "currency_mismatch"}


def test_an_unknown_id_is_not_found(seatflow: Run) -> None:
    """`quote`, `credit` and `refund` refuse an unknown id (status 1)."""
    for arguments in (
        ["quote", "unknown"],
        ["quote", "paula", "--target", "unknown"],
        ["credit", "show", "unknown"],
        ["credit", "apply", "unknown"],
        ["credit", "apply", "acme", "nothing"],
        ["refund", "show", "nothing"],
        ["refund", "convert", "nothing", "--to-credit"],
        ["refund", "retry", "nothing", "--method", "card-2"],
        ["refund", "close", "nothing", "--reason", "lost"],
    ):
        ran = seatflow(*arguments)
        assert (ran.status, ran.out, ran.error["code"]) == (1, "", "not_found"), arguments


def test_credit_is_applied_to_the_invoice_that_is_due_first(seatflow: Run) -> None:
    """CRD-3: the rest is applied to the next one, until no credit is left."""
    shown = seatflow("credit", "show", "acme")
    assert shown.at("account") == "acme"
    assert shown.at("balance") == euros("30.00")
    entry = shown.at("entries", 0)
    assert isinstance(entry, dict)
    assert {"id", "at", "kind", "amount", "from", "invoice"} <= set(entry)
    assert (entry["amount"], entry["from"], entry["invoice"]) == (
        euros("30.00"),
        None,
        None,
    )
    assert seatflow("credit", "apply", "acme").at("balance") == euros("10.00")
    applied = seatflow("credit", "apply", "acme", "later")
    assert applied.at("balance") == euros("0.00")
    assert applied.at("entries", -1, "invoice") == "later"
    assert applied.at("entries", -1, "amount") == euros("-10.00")
    repeated = seatflow("credit", "apply", "acme")
    assert (repeated.status, repeated.error["code"]) == (1, "conflict")
    assert seatflow("audit").at("violations") == []


def test_no_refunds_are_an_empty_list(seatflow: Run) -> None:
    """`refund list` prints an empty list while there are no refunds."""
    assert seatflow("refund", "list").document == {"refunds": []}
    assert seatflow("refund", "list", "--state", "failed").document == {"refunds": []}


def test_cases_for_an_operator_are_one_list(seatflow: Run, tmp_path: Path) -> None:
    """QUO-6, OPS-5: credit of an account that was imported as closed waits for an operator."""
    gone = {**ACME, "id": "gone", "state": "closed", "users": [], "invoices": []}
    file = tmp_path / "gone.json"
    file.write_text(json.dumps({"accounts": [gone]}), encoding="utf-8")
    assert seatflow("import", str(file)).status == 0
    case, unreachable = json.loads(seatflow("attention").out)["attention"]
    assert set(case) == {"kind", "since", "account", "id", "message", "remedy"}
    assert case["kind"] == "credit_left_behind"
    assert (case["account"], case["id"]) == ("gone", "gone")
    assert case["message"].startswith("30.00 EUR of credit stayed behind")
    assert case["remedy"] == "seatflow credit show gone"
    # Without Temporal, the cases of the store are listed, and one case says what is missing.
    assert (unreachable["kind"], unreachable["id"]) == ("temporal_unreachable", "temporal")


# Output of results that the clients return.


def a_refund() -> Refund:
    amount = Money(amount=Decimal("75.00"), currency="EUR")
    at = datetime(2026, 11, 20, 9, tzinfo=UTC)
    return Refund(
        refund_id="rf-1",
        workflow_id="refund/rf-1",
        state=RefundState.FAILED,
        amount=amount,
        amount_open=amount,
        parts=(
            RefundPart(
                payment="pay-1",
                method="card",
                amount=amount,
                state=PartState.FAILED,
                failure="expired_or_canceled_card",
            ),
        ),
        requested_at=at,
        arrives_between=(date(2026, 11, 25), date(2026, 11, 27)),
        failure="expired_or_canceled_card",
        journal=(
            JournalEntry(
                at=at, event="fail", from_state="processing", to_state="failed", by="seatflow"
            ),
        ),
        allowed=("convert", "retry", "close"),
    )


A_CASE = AttentionCase(
    kind=AttentionKind.REFUND_OVERDUE,
    since=datetime(2026, 11, 27, 23, tzinfo=UTC),
    account="acme",
    id="rf-7",
    message="late",
    remedy="seatflow refund close rf-7 --reason TEXT",
)


def test_a_refund_has_every_member_of_the_contract(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """REF-4: a failed refund shows the amount still open and the updates that are allowed."""
    stub_answer(monkeypatch, "refund", a_refund())
    assert starter.run(["--json", "refund", "show", "rf-1"]) == 0
    out, err = capfd.readouterr()
    shown = json.loads(out)
    assert err == ""
    assert {name: shown[name] for name in shown if name not in {"parts", "journal"}} == {
        "refund_id": "rf-1",
        "workflow_id": "refund/rf-1",
        "state": "failed",
        "amount": euros("75.00"),
        "amount_open": euros("75.00"),
        "requested_at": "2026-11-20T09:00:00Z",
        "arrives_between": ["2026-11-25", "2026-11-27"],
        "settled_at": None,
        "failure": "expired_or_canceled_card",
        "not_reversed": None,
        "lookup_failure": None,
        "allowed": ["convert", "retry", "close"],
    }
    [part] = shown["parts"]
    assert {"payment", "method", "amount", "state", "provider_id"} <= set(part)


def test_a_person_reads_amounts_dates_and_open_cases(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """REF-1, CRD-3, OPS-5: the tables of `refund`, `credit` and `attention`."""
    stub_answer(monkeypatch, "refund", a_refund())
    assert starter.run(["refund", "show", "rf-1"]) == 0
    stub_answer(monkeypatch, "refund", [a_refund()])
    assert starter.run(["refund", "list"]) == 0
    nothing = Money(amount=Decimal("0.00"), currency="EUR")
    credit = Credit(account="acme", balance=nothing, balance_owed=nothing, entries=())
    stub_answer(monkeypatch, "credit", credit)
    assert starter.run(["credit", "show", "acme"]) == 0
    stub_answer(monkeypatch, "attention", [])
    assert starter.run(["attention"]) == 0
    stub_answer(monkeypatch, "attention", [A_CASE])
    assert starter.run(["attention"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    for text in ("No case needs an operator.", "refund_overdue", "rf-7", A_CASE.remedy):
        assert text in out
    for text in ("75.00 EUR", "2026-11-25 and 2026-11-27", "expired_or_canceled_card", "0.00 EUR"):
        assert text in out


def test_the_refusal_of_an_expired_quote_includes_the_new_quote(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """QUO-5: the new quote is printed in JSON and for a person."""
    quote: JsonValue = {"amount": euros("19.50"), "valid_until": "2026-04-23T10:00:00Z"}

    def refused(context: object, progress: object, call: object) -> None:
        raise Refused(ErrorCode.QUOTE_EXPIRED, "The quote has expired.", quote=quote)

    monkeypatch.setattr("commands.invitation.with_clients", refused)
    accept = ["accept", "acme", "paula@studio.example", "--refund"]
    assert starter.run(["--json", *accept]) == 1
    assert json.loads(capfd.readouterr().err)["error"]["quote"] == quote
    assert starter.run(accept) == 1
    assert "19.50 EUR" in capfd.readouterr().err
