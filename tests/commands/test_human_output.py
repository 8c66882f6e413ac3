"""People read what programs read: each value of the JSON is in the tables."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import JsonValue

import starter
from domain.blocker import find_blockers
from domain.credit import Credit, CreditEntry
from domain.error import ErrorCode, Refused
from domain.invitation import Blocker, BlockerItem, Choice, Invitation, Invite, License, Settlement
from domain.ledger import TransferKind
from domain.license import LicensePool, Sku
from domain.manifest import Change, Item, ItemStatus, ManifestItem
from domain.order import Order, OrderInvoice, OrderQuote, OrderState
from domain.policy import Policy
from domain.preview import Notice, preview
from domain.quote import quote, terms_of
from domain.refund import PartState, RefundPart, RefundPlan
from states.invitation import InvitationMachine
from states.invitation import initial_record as first_invitation
from states.lifecycle import after
from states.refund import initial_record as first_refund
from tests.builders.account import NOON, eur
from tests.builders.source_account import a_line, a_payment, a_source
from tests.commands.conftest import stub_answer

AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
NOT_SHOWN = {
    # Data is named by a sentence; its code is for programs.
    "item",
    # A blocker has its items in place of these.
    "digest",
    "kinds",
    # The rows of a table say it.
    "count",
    "changed",
    # The journal of the invitation has the earlier states.
    "from",
    # The name of the license has it.
    "sku",
    # A part of a retry; the number of the attempt is for the provider's key.
    "attempt",
}
"""Members for programs alone."""
WINDOW = date(2026, 3, 5), date(2026, 3, 9)


def an_invitation() -> Invitation:
    invite = Invite(
        invitation_id="1",
        account="acme",
        key="key",
        email="jane@example.com",
        license=License.LICENSED,
        invited_by="adam@acme.example",
    )
    sent = first_invitation(invite, run_id="run-1", at=NOON)
    pending = after(InvitationMachine, sent, "deliver", at=NOON, by="seatflow")
    change = Change(name="language", old="de", new="en", locked_by="acme")
    return after(
        InvitationMachine,
        pending,
        "block",
        at=NOON + timedelta(hours=1),
        by="invitee",
        note="a note",
        blockers=blockers(),
        expires_at=NOON + timedelta(days=30),
        reminders_sent=2,
        reminders_ended=True,
        reminded_by="run-7",
        link="http://localhost/i/abc",
        choice=Choice.REFUND,
        settlement=Settlement(
            kind=Choice.REFUND, amount=eur("12.30"), refund_id="rf-1", arrives_between=WINDOW
        ),
        manifest=(
            ManifestItem(
                item=Item.SETTINGS,
                status=ItemStatus.FAILED,
                count=3,
                changed=1,
                changes=(change,),
            ),
        ),
        with_errors=True,
    )


def blockers() -> tuple[Blocker, ...]:
    source = a_source(
        a_line(date(2026, 2, 1), date(2026, 4, 1), [a_payment("30.00")])
        | {"cancellation_pending": True},
        invoices=[{"id": "inv-9", "amount_due": "9.90", "due_on": "2026-05-01"}],
    )
    items = [
        BlockerItem(kind="user", id="bob@club.example", name="Bob"),
        BlockerItem(kind="room", id="room-1", name="Blue room"),
    ]
    return find_blockers(source, items)


def a_preview() -> object:
    source = a_source(a_line(date(2026, 2, 1), date(2026, 4, 1), [a_payment("30.00")]))
    quoted = quote(source, datetime(2026, 3, 2, tzinfo=UTC), terms_of(Policy(), source))
    found = preview(quoted, WINDOW, a_source(id="acme"), NOON + timedelta(days=1))
    return found.model_copy(
        update={
            "moves": (Notice(item="meetings", message="Your scheduled meetings.", count=2),),
            "stays_behind": (Notice(item="report_data", message="Usage reports."),),
            "loses": (Notice(item="long_meetings", message="Long meetings."),),
            "blockers": blockers(),
            "closes": "paula",
        }
    )


def an_order() -> Order:
    return Order(
        order_id="or-1",
        workflow_id="addon/acme/or-1",
        account="acme",
        state=OrderState.ACTIVE,
        sku=Sku.WEBINAR,
        capacity=500,
        quantity=3,
        cycle="annual",
        portal="account",
        bought_by="adam@acme.example",
        policy=Policy(),
        quote=OrderQuote(
            due_now=eur("17.00"), then=eur("99.00"), next_billing_date=date(2027, 3, 2)
        ),
        invoices=(OrderInvoice(id="or-1/1", amount=eur("17.00"), state="paid", at=NOON),),
        note="reduced_with_term",
        quantity_then=2,
        release=("mia@acme.example",),
        paid_until=NOON + timedelta(days=365),
    )


def a_refund() -> object:
    plan = RefundPlan(
        refund_id="rf-1",
        invitation_id="1",
        source="paula",
        target="acme",
        payee="paula@studio.example",
        locale=None,
        parts=(
            RefundPart(
                payment="pay-1",
                method="card",
                amount=eur("30.00"),
                state=PartState.FAILED,
                provider_id="re_1",
                failure="closed_card",
            ),
        ),
        requested_at=NOON,
        arrives_between=WINDOW,
        lookups=(),
        overdue_from=NOON + timedelta(days=8),
    )
    return first_refund(plan)


def a_credit() -> Credit:
    entry = CreditEntry(
        id="applied/acme/1",
        at=NOON,
        kind=TransferKind.APPLIED,
        amount=eur("-1.00"),
        source="paula",
        invoice="inv-1",
    )
    return Credit(account="acme", balance=eur("2.00"), balance_owed=eur("3.00"), entries=(entry,))


def pools() -> object:
    pool = LicensePool(
        sku=Sku.WEBINAR,
        capacity=500,
        bought=14,
        assigned=11,
        reserved=0,
        free=3,
        holders=("ada@acme.example",),
        waiting=("bob@acme.example",),
    )
    return [pool]


@pytest.mark.parametrize(
    ("module", "command", "answer"),
    [
        ("invitation", ["show", "acme", "jane@example.com"], an_invitation()),
        ("invitation", ["preview", "acme", "jane@example.com"], a_preview()),
        ("order", ["order", "show", "or-1"], an_order()),
        ("refund", ["refund", "show", "rf-1"], a_refund()),
        ("credit", ["credit", "show", "acme"], a_credit()),
        ("license", ["licenses", "acme"], pools()),
    ],
    ids=["invitation", "preview", "order", "refund", "credit", "licenses"],
)
def test_each_value_of_the_json_is_in_the_tables(
    module: str,
    command: list[str],
    answer: object,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Holders, items, deadlines, amounts and example prices are for people, too."""
    stub_answer(monkeypatch, module, answer)
    monkeypatch.setattr("commands.output.WIDTH_WITHOUT_TERMINAL", 2_000)
    assert starter.run(["--json", *command]) == 0
    document = json.loads(capfd.readouterr().out)
    assert starter.run(command) == 0
    shown = capfd.readouterr().out
    missing = [(path, value) for path, value in leaves(document) if value not in shown]
    assert missing == []


def leaves(value: JsonValue, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each value as a person reads it, with its path; nothing for null, false and true."""
    match value:
        case dict() if set(value) == {"amount", "currency"}:
            yield path, f"{value['amount']} {value['currency']}"
        case dict():
            for name, member in value.items():
                if name not in NOT_SHOWN:
                    yield from leaves(member, f"{path}.{name}")
        case list():
            for number, member in enumerate(value):
                yield from leaves(member, f"{path}.{number}")
        case str() if AT.fullmatch(value):
            yield path, f"{value[:10]} {value[11:16]} UTC"
        case str() | int() if not isinstance(value, bool):
            yield path, str(value)


@pytest.mark.parametrize(
    ("refused", "lines"),
    [
        (
            Refused(
                ErrorCode.ASSIGNED_EXCEEDS_QUANTITY, "No.", holders=["a@x.example", "b@x.example"]
            ),
            ["holders: a@x.example, b@x.example"],
        ),
        (
            Refused(ErrorCode.RATE_LIMITED, "No.", retry_after_seconds=3540),
            ["retry after seconds: 3540"],
        ),
        (
            Refused(
                ErrorCode.BLOCKED,
                "No.",
                blockers=[blocker.model_dump(mode="json") for blocker in blockers()],
            ),
            [
                "user bob@club.example, Bob",
                "room room-1, Blue room",
                "invoice inv-9, 9.90 EUR, due on 2026-05-01",
            ],
        ),
        (
            Refused(
                ErrorCode.INSUFFICIENT_LICENSES,
                "No.",
                results=[{"email": "a@x.example", "state": "refused"}],
            ),
            ["a@x.example: refused"],
        ),
        (
            Refused(ErrorCode.CONFLICT, "No.", workflow_id="invitation/acme/k", run_id="r1"),
            ["workflow id: invitation/acme/k", "run id: r1"],
        ),
    ],
    ids=lambda value: value.code if isinstance(value, Refused) else None,
)
def test_the_members_of_an_error_are_lines_for_a_person(
    refused: Refused,
    lines: list[str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seconds left, holders and items are below the message of the refusal."""

    def refuse(context: object, progress: object, call: object) -> None:
        raise refused

    monkeypatch.setattr("commands.invitation.with_clients", refuse)
    assert starter.run(["show", "acme", "jane@example.com"]) == 1
    shown = [line.strip() for line in capfd.readouterr().err.splitlines()]
    assert shown[0] == f"{refused.code}: No."
    assert set(lines) <= set(shown[1:])
