"""The key of the workflow ids, which the store checks."""

import pytest

from adapters.sql.store import SqlStore
from domain.error import ErrorCode, Refused


async def test_the_first_key_of_the_workflow_ids_cannot_be_replaced(store: SqlStore) -> None:
    """SEATFLOW_SECRET_KEY: another key would give every invitee another workflow id (INV-3)."""
    await store.check_id_key("first")
    for _ in range(2):
        await store.keep_id_key("first")
    await store.check_id_key("first")
    for call in (store.check_id_key, store.keep_id_key):
        with pytest.raises(Refused) as refused:
            await call("second")
        assert refused.value.code is ErrorCode.INVALID_INPUT
