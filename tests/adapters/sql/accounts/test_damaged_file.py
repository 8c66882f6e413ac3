"""Damaged import files against the store."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.accounts import directory
from adapters.sql.store import SqlStore
from domain import account_file
from domain.account import Directory
from domain.account_file import InputError, NumberedAccount, read_accounts
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
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(account_file, "_GROUP", 1)
        in_groups = file.all_errors(await store.directory.errors(file.directory))
    assert in_groups == found
    if not file.errors:
        try:
            await store.directory.import_(file.directory)
        except Refused as refused:
            assert refused.code is ErrorCode.INVALID_INPUT
            assert refused.details["mistakes"]


async def test_names_are_exchanged_between_groups(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INV-18, TRF-5: a file may give a name to an account that is written before its holder."""
    monkeypatch.setattr(account_file, "_GROUP", 1)
    names = [("one.example", "one"), ("two.example", "two"), ("three.example", "three")]

    def file(shift: int) -> Directory:
        accounts: JsonValue = [
            account(
                number,
                users=[user(f"u{number}@x.example", role="owner")],
                managed_domains=[names[(number + shift) % 3][0]],
                vanity_url=names[(number + shift) % 3][1],
            )
            for number in range(3)
        ]
        return read_accounts({"accounts": accounts}).directory

    for shift in (0, 1, 2):
        await store.directory.import_(file(shift))
        exported = (await store.directory.export(None)).accounts
        assert [(each.managed_domains[0], each.vanity_url) for each in exported] == [
            names[(number + shift) % 3] for number in range(3)
        ]
    # The users of each account are still those of the file.
    assert [each.users[0].email for each in exported] == [f"u{n}@x.example" for n in range(3)]


async def test_an_error_in_a_later_group_changes_nothing(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Import file: all or nothing, also when earlier groups have been written."""
    monkeypatch.setattr(account_file, "_GROUP", 1)
    monkeypatch.setattr(directory, "_invalid_accounts", _last_is_invalid)
    before = await store.directory.export(None)
    accounts: JsonValue = [account(number) for number in range(3)]
    with pytest.raises(Refused) as refused:
        await store.directory.import_(read_accounts({"accounts": accounts}).directory)
    assert refused.value.details["mistakes"] == [{"path": "accounts[2]", "reason": "invalid"}]
    assert await store.directory.export(None) == before


async def _last_is_invalid(
    session: AsyncSession, group: Sequence[NumberedAccount]
) -> list[InputError]:
    return [("accounts[2]", "invalid")] if group[0][0] == 2 else []


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
