"""Damaged import files against the store."""

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import JsonValue

from adapters.sql.store import SqlStore
from domain.account_file import read_accounts
from domain.error import ErrorCode, Refused
from tests.builders.account_file import account, documents, user


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(document=documents())
async def test_any_document_is_imported_or_refused_with_its_errors(
    store: SqlStore, document: JsonValue
) -> None:
    """Import file: no value that a field accepts fails in the database."""
    file = read_accounts(document)
    found = file.all_errors(await store.directory.errors(file.directory))
    assert len(found) == len(set(found))
    if not file.errors:
        try:
            await store.directory.import_(file.directory)
        except Refused as refused:
            assert refused.code is ErrorCode.INVALID_INPUT
            assert refused.details["mistakes"]


async def test_amounts_that_do_not_fit_a_new_currency_are_one_error_of_all(store: SqlStore) -> None:
    """QUO-1: they were reported only after all other errors had been corrected."""
    owner = user("owner@x.example", role="owner")
    invoice: JsonValue = {
        "id": "i1",
        "amount_due": "0.30",
        "due_on": "2026-03-31",
        "status": "paid",
    }
    await store.directory.import_(
        read_accounts({"accounts": [account(1, users=[owner], invoices=[invoice])]}).directory
    )
    changed = account(1, currency="JPY", managed_domains=["gmail.com"])
    with pytest.raises(Refused) as refused:
        await store.directory.import_(read_accounts({"accounts": [changed]}).directory)
    listed = refused.value.details["mistakes"]
    assert isinstance(listed, list)
    assert [(each["path"], each["reason"]) for each in listed if isinstance(each, dict)] == [
        (
            "accounts[0].managed_domains[0]",
            "gmail.com belongs to a public mail service",
        ),
        ("accounts[0]", "invoice i1 has more than 0 decimals for JPY"),
    ]
