"""The record of sent letters in the store."""

from adapters.sql.store import SqlStore
from tests.builders.account import NOON


async def test_a_sent_letter_is_recorded_once(store: SqlStore) -> None:
    """OPS-2: recording it again changes nothing."""
    assert not await store.letters.is_sent("l1")
    for _ in range(2):
        await store.letters.record_sent("l1", NOON)
    assert await store.letters.is_sent("l1")
    assert not await store.letters.is_sent("l2")
