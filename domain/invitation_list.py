"""The invitations of an account as a page lists them, and requests to invite as it reviews them."""

from collections.abc import Mapping

from pydantic import AwareDatetime, JsonValue

from domain.batch import Batch, BatchProgress, RowResult
from domain.invitation import Invitation, InvitationState, License
from domain.model import Value


class InvitationFilter(Value):
    """The invitations to list: the live ones, unless it says otherwise."""

    states: tuple[InvitationState, ...] = ()
    everything: bool = False
    """True: ended ones as well."""
    query: str | None = None
    """A part of the name or the address."""
    quiet_days: int | None = None
    """Only those that are unanswered and were quiet for so many days (REM-1)."""


class ListedInvitation(Value):
    """One invitation of a list."""

    key: str
    name: str | None
    """The name that the inviter gave, or after the acceptance the person's own."""
    locale: str | None
    """The language that the inviter gave."""
    invitation: Invitation
    repeatable: bool
    """True if it has ended without a membership and the person can be invited again (INV-8)."""

    @property
    def sent_at(self) -> AwareDatetime | None:
        """Return the time of the last invitation e-mail that the mail server accepted."""
        sent = (
            entry.at
            for entry in reversed(self.invitation.journal)
            if entry.event in {"deliver", "resend"}
        )
        return next(sent, None)

    @property
    def ended_at(self) -> AwareDatetime | None:
        """Return the time of the end, if it has ended."""
        return self.invitation.journal[-1].at if self.invitation.state.final else None

    @property
    def reason(self) -> str | None:
        """Return the note of the last transition: why the person declined, or why it ended."""
        return self.invitation.journal[-1].note if self.invitation.journal else None


class InvitationCounts(Value):
    """The numbers of invitations that a search finds, by state."""

    by_state: Mapping[InvitationState, int] = {}
    quiet: int = 0
    unanswered: int = 0
    """All unanswered invitations of the account, whatever is searched for."""

    @property
    def live(self) -> int:
        """Return the number of those that have not ended."""
        return sum(count for state, count in self.by_state.items() if not state.final)

    @property
    def all(self) -> int:
        """Return the number of all."""
        return sum(self.by_state.values())


class Seats(Value):
    """The base licenses of an account."""

    bought: int
    free: int


class ListedBatch(Value):
    """A recent batch of an account."""

    batch_id: str
    requested_at: AwareDatetime
    progress: BatchProgress


class InvitationPage(Value):
    """One page of an account's invitations, the latest first."""

    invitations: tuple[ListedInvitation, ...]
    next_cursor: str | None
    counts: InvitationCounts
    seats: Seats
    batches: tuple[ListedBatch, ...] = ()


class ReviewedRow(Value):
    """The result that a row of a request would have."""

    email: str
    """The normalized address; as given when refused."""
    name: str | None
    license: License
    result: RowResult
    error: dict[str, JsonValue] | None = None
    kept_license: License | None = None
    """The other license of an open invitation, which is kept."""


class Review(Value):
    """The results that a request would have; nothing was written."""

    rows: tuple[ReviewedRow, ...]
    seats: Seats
    """Before the request."""

    def count(self, result: RowResult) -> int:
        """Return the number of rows with this result."""
        return sum(row.result == result for row in self.rows)

    @property
    def seats_needed(self) -> int:
        """Return the number of seats that the request would reserve if all of them were free."""
        return sum(
            row.license is License.LICENSED
            and (row.result == "invited" or (row.error or {}).get("code") == "no_seats")
            for row in self.rows
        )


class BatchResult(Value):
    """One row of a batch, with its result if it has one."""

    position: int
    email: str
    name: str | None
    result: RowResult | None
    error: dict[str, JsonValue] | None
    key: str | None
    """The key of its invitation."""
    state: InvitationState | None
    """The present state of its invitation."""


class BatchPage(Value):
    """One page of the rows of a batch."""

    batch: Batch
    requested_at: AwareDatetime
    progress: BatchProgress
    rows: tuple[BatchResult, ...]
    next_cursor: int | None
