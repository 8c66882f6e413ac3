"""The journal of a lifecycle: its transitions, with time and author."""

from datetime import UTC, datetime

from pydantic import AwareDatetime, Field

from domain.model import Value

INVITEE = "invitee"
"""The author of changes made by the invitee, or on their behalf."""

OPERATOR = "operator"
"""The author of changes made by an operator on the command line."""

ENGINE = "seatflow"
"""The author of changes made by Seatflow itself, for example at a deadline."""


def day_of(at: datetime) -> str:
    """Return the day as refusals write it, for example `28 Nov 2026`, in UTC."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b %Y}"


def moment_of(at: datetime) -> str:
    """Return the minute as refusals write it, for example `28 Nov 2026 at 09:05 UTC`."""
    return f"{day_of(at)} at {at.astimezone(UTC):%H:%M} UTC"


class JournalEntry(Value):
    """One transition of a lifecycle."""

    at: AwareDatetime
    """The workflow time of the transition, in UTC."""
    event: str
    from_state: str | None = Field(alias="from")
    """None for the entry that opens the journal."""
    to_state: str = Field(alias="to")
    by: str
    """The address of the person who requested it, `invitee`, an operator, or `seatflow`."""
    note: str | None = None

    @staticmethod
    def of(
        event: str,
        *,
        at: AwareDatetime,
        from_state: str | None,
        to_state: str,
        by: str,
        note: str | None = None,
    ) -> "JournalEntry":
        """Return an entry of values that are valid.

        A worker keeps thousands of entries: they share one set of the fields that are given.
        """
        return JournalEntry.model_construct(
            _ALL_FIELDS,
            at=at,
            event=event,
            from_state=from_state,
            to_state=to_state,
            by=by,
            note=note,
        )


_ALL_FIELDS = set(JournalEntry.model_fields)
