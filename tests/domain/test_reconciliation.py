"""The comparison of a record with the history of its workflow (OPS-6)."""

from datetime import timedelta

from domain.journal import JournalEntry
from domain.reconciliation import lacks
from tests.builders.account import ADMIN, NOON


def entry(event: str, by: str, note: str | None = None, hours: int = 1) -> JournalEntry:
    return JournalEntry.of(
        event,
        at=NOON + timedelta(hours=hours),
        from_state="pending",
        to_state="pending",
        by=by,
        note=note,
    )


SHOWN = (entry("invite", ADMIN, hours=0), entry("resend", ADMIN, "for Nina"))


def test_a_pseudonym_in_the_store_is_no_difference() -> None:
    """OPS-9: a repair must not write a forgotten person back from the histories."""
    stand_in = "forgotten-00ff@forgotten.invalid"
    stored = (entry("invite", stand_in, hours=0), entry("resend", stand_in))
    assert not lacks(stored, SHOWN)


def test_another_event_or_time_is_a_difference() -> None:
    """OPS-6: the record lacks an entry, or has another one in its place."""
    assert lacks(SHOWN[:1], SHOWN)
    assert lacks((SHOWN[0], entry("remind", ADMIN)), SHOWN)
    assert lacks((SHOWN[0], entry("resend", ADMIN, hours=2)), SHOWN)
