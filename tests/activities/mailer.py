"""A mail server without a network."""

from collections.abc import Collection, Sequence

from activities.letter import NoLongerDue, StillDue
from domain.letter import Letter
from domain.outbox import QueuedLetter, RecordVersion
from domain.session import RequestedSignIn


class FakeMailer:
    """A `Mailer` that takes each letter once, and can fail for all or for some recipients."""

    def __init__(self, failure: Exception | None = None, to: Collection[str] | None = None) -> None:
        """Raise `failure` for the recipients `to`; for all of them if `to` is None."""
        self.failure = failure
        self.failing = to
        self.sent: list[Letter] = []

    @property
    def recipients(self) -> list[str]:
        """Return the recipient of each letter sent."""
        return [letter.reader.email for letter in self.sent]

    @property
    def events(self) -> list[str]:
        """Return the event of each letter sent."""
        return [letter.event for letter in self.sent]

    async def send(self, letter: Letter, still_due: StillDue | None = None) -> None:
        if letter.id in {sent.id for sent in self.sent}:
            return
        if self.failure and (self.failing is None or letter.reader.email in self.failing):
            raise self.failure
        if still_due and not await still_due():
            raise NoLongerDue
        self.sent.append(letter)


class FakeLinks:
    """A `LinkSource` without signatures."""

    def link(self, invitation_id: str, number: int) -> str:
        return f"https://seatflow.example/i/{invitation_id}.{number}"

    def unsubscribe_link(self, invitation_id: str) -> str:
        return f"https://seatflow.example/unsubscribe/{invitation_id}"

    def sign_in_link(self, link_id: str) -> str:
        return f"https://seatflow.example/sign-in/{link_id}"


class FakeLetterQueue:
    """A `LetterQueue` in memory."""

    def __init__(self, *letters: QueuedLetter, current: bool = True) -> None:
        self.letters = {each.letter.id: each for each in letters}
        self.current = current
        self.sign_ins: dict[str, RequestedSignIn] = {}
        self.dropped: list[str] = []
        self.released: list[str] = []
        self.failures: list[tuple[str, bool]] = []

    async def queued(self, letter_id: str) -> QueuedLetter | None:
        return self.letters.get(letter_id)

    async def is_current(self, version: RecordVersion) -> bool:
        return self.current

    async def requested_sign_in(self, link_id: str) -> RequestedSignIn | None:
        return self.sign_ins.get(link_id)

    async def drop(self, letter_id: str) -> None:
        self.dropped.append(letter_id)

    async def release(self, letter_ids: Sequence[str]) -> None:
        self.released.extend(letter_ids)

    async def record_failure(self, letter_id: str, failure: str, *, final: bool) -> None:
        self.failures.append((failure, final))
