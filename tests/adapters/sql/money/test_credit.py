"""Credit in the store: imported, shown, applied to invoices, and never drawn twice (CRD)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from adapters.sql.store import SqlStore
from domain.error import ErrorCode, Refused
from tests.builders.account import NOON, account, directory, eur
from tests.builders.refund import LINE, ledger_balances

INVOICES = [
    {"id": "i2", "amount_due": "100.00", "due_on": "2026-05-01"},
    {"id": "i1", "amount_due": "30.00", "due_on": "2026-04-01"},
]


async def imported(store: SqlStore, **more: object) -> None:
    entry: dict[str, Any] = {"plan": "business", "collection": "net_terms", **more}
    await store.directory.import_(directory(account("acme", **entry)))


async def due(store: SqlStore) -> dict[str, tuple[str, str]]:
    [found] = (await store.directory.export("acme")).accounts
    return {invoice.id: (f"{invoice.amount_due:f}", invoice.status) for invoice in found.invoices}


async def credit(store: SqlStore) -> str:
    return f"{(await store.credits.show('acme')).balance.amount:f}"


async def test_credit_is_applied_to_the_oldest_open_invoice_or_the_one_named(
    store: SqlStore,
) -> None:
    """CRD-3: `net_terms`, when an operator requests it."""
    await imported(store, credit="50.00", invoices=INVOICES)
    assert await credit(store) == "50.00"
    first = await store.credits.apply("acme", None, NOON)
    assert first.balance == eur("20.00")
    assert (await store.credits.apply("acme", "i2", NOON)).balance == eur("0.00")
    assert await due(store) == {"i2": ("80.00", "open"), "i1": ("0.00", "paid")}
    entries = (await store.credits.show("acme")).entries
    assert [(entry.kind, entry.amount, entry.invoice) for entry in entries] == [
        ("opening", eur("50.00"), None),
        ("applied", eur("-30.00"), "i1"),
        ("applied", eur("-20.00"), "i2"),
    ]
    assert entries[1].at == NOON
    assert (await store.audit()).violations == ()


@pytest.mark.parametrize(
    ("more", "invoice", "code"),
    [
        ({"credit": "5.00"}, None, ErrorCode.CONFLICT),
        ({"invoices": INVOICES}, None, ErrorCode.CONFLICT),
        ({"credit": "5.00", "invoices": INVOICES}, "i9", ErrorCode.NOT_FOUND),
        (
            {"credit": "5.00", "invoices": [{**INVOICES[0], "status": "paid"}]},
            "i2",
            ErrorCode.CONFLICT,
        ),
    ],
)
async def test_without_credit_or_an_open_invoice_applying_is_refused(
    store: SqlStore, more: dict[str, object], invoice: str | None, code: ErrorCode
) -> None:
    """CRD-3: `conflict`, and `not_found` for an unknown invoice."""
    await imported(store, **more)
    with pytest.raises(Refused) as refused:
        await store.credits.apply("acme", invoice, NOON)
    assert refused.value.code is code


async def test_the_credit_of_an_unknown_account_is_not_found(store: SqlStore) -> None:
    """Contract, error codes: `not_found`."""
    with pytest.raises(Refused) as refused:
        await store.credits.show("nobody")
    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_autopay_applies_credit_to_an_imported_invoice(store: SqlStore) -> None:
    """CRD-3, case 13: credit 20.00, invoice 100.00: due 80.00, credit 0."""
    await imported(store, collection="autopay", credit="20.00")
    assert await credit(store) == "20.00"
    await imported(store, collection="autopay", invoices=INVOICES[:1])
    assert await due(store) == {"i2": ("80.00", "open")}
    assert await credit(store) == "0.00"


# Repeated imports.


async def test_an_import_does_not_undo_applied_credit(store: SqlStore) -> None:
    """CRD-1: neither the first file again nor a later export changes anything."""
    more = {"credit": "50.00", "invoices": INVOICES}
    await imported(store, **more)
    await store.credits.apply("acme", None, NOON)
    exported = await store.directory.export(None)
    assert f"{exported.accounts[0].credit:f}" == "20.00"
    for _ in range(2):
        await store.directory.import_(exported)
        await imported(store, **more)
        assert await store.directory.export(None) == exported
    assert len((await store.credits.show("acme")).entries) == 2


async def test_another_amount_in_the_file_changes_the_balance_by_the_difference(
    store: SqlStore,
) -> None:
    """CRD-1: credit and invoices change by the difference between the files."""
    await imported(store, credit="50.00", invoices=INVOICES)
    await store.credits.apply("acme", None, NOON)
    await imported(store, credit="60.00", invoices=[{**INVOICES[1], "amount_due": "35.00"}])
    assert await credit(store) == "30.00"
    assert (await due(store))["i1"][0] == "5.00"
    await imported(store, credit="35.00")
    assert await credit(store) == "5.00"
    assert (await store.audit()).violations == ()


async def test_an_import_cannot_remove_used_credit(store: SqlStore) -> None:
    """CRD-1: the balance never becomes negative."""
    await imported(store, credit="50.00", invoices=INVOICES)
    await store.credits.apply("acme", "i2", NOON)
    with pytest.raises(Refused) as refused:
        await imported(store, credit="10.00")
    assert refused.value.details["mistakes"] == [
        {"path": "accounts[0].credit", "reason": "credit can be reduced by at most 0.00"}
    ]


async def test_payments_are_held_until_their_period_is_replaced(store: SqlStore) -> None:
    """CRD-4: payments of a replaced period become revenue, those of the new period are prepaid."""
    await imported(store, subscriptions=[LINE])
    assert await ledger_balances(store.engine, "prepaid/acme") == {"prepaid/acme": "EUR 10000"}
    await imported(store, subscriptions=[LINE])
    next_payments = [
        {"id": "card-1", "method": "card", "amount": "61.00"},
        {"id": "card-2", "method": "card", "amount": "9.00"},
    ]
    renewed = {
        **LINE,
        "period_start": "2026-03-22",
        "period_end": "2026-05-01",
        "payments": next_payments,
    }
    await imported(store, subscriptions=[renewed])
    assert await ledger_balances(store.engine) == {
        "methods/acme": "EUR -15000",
        "opening/acme": "EUR -2000",
        "prepaid/acme": "EUR 7000",
        "revenue/acme": "EUR 10000",
    }
    [line] = (await store.directory.export("acme")).accounts[0].subscriptions
    assert {(paid.id, paid.amount) for paid in line.payments} == {
        ("card-1", Decimal(61)),
        ("card-2", Decimal(9)),
    }
    assert (await store.audit()).violations == ()


async def test_an_import_corrects_the_amount_of_a_payment(store: SqlStore) -> None:
    """CRD-4: the difference is posted."""
    await imported(store, subscriptions=[LINE])
    payments = [{"id": "card-1", "method": "card", "amount": "50.00"}]
    await imported(store, subscriptions=[{**LINE, "payments": payments}])
    assert await ledger_balances(store.engine) == {
        "methods/acme": "EUR -7000",
        "opening/acme": "EUR -2000",
        "prepaid/acme": "EUR 9000",
    }


async def test_the_payments_of_a_closed_account_cannot_change(store: SqlStore) -> None:
    """SRC-2: nothing is prepaid, and its payments stay readable."""
    await imported(store, state="closed", subscriptions=[LINE])
    assert await ledger_balances(store.engine) == {}
    payments = [{"id": "card-1", "method": "card", "amount": "1.00"}]
    with pytest.raises(Refused) as refused:
        await imported(store, subscriptions=[{**LINE, "payments": payments}])
    assert refused.value.code is ErrorCode.INVALID_INPUT


async def test_entries_are_listed_in_the_order_of_posting(store: SqlStore) -> None:
    """CRD-1: not by time, because invitations have their own clock."""
    await imported(store, credit="50.00", invoices=INVOICES)
    await store.credits.apply("acme", "i2", NOON - timedelta(days=9999))
    assert [entry.kind for entry in (await store.credits.show("acme")).entries] == [
        "opening",
        "applied",
    ]
