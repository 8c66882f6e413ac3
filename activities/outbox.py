"""The letters of the outbox, each a standalone activity that operators can see (OPS-2)."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from temporalio import activity

from activities.invitation import LinkSource
from activities.letter import (
    IMMEDIATE_TIMEOUT,
    Mailer,
    NoLongerDue,
    StillDue,
    Undeliverable,
    send_at_once,
    send_with_retry_delay,
)
from domain.address import mask_all
from domain.letter import Letter
from domain.letter.invitation import UnblockedLetter
from domain.letter.refund import RefundOverdueLetter
from domain.model import Value
from domain.outbox import FollowUp, QueuedLetter, RecordVersion


class SendLetter(Value):
    """A request to send a letter of the outbox."""

    letter_id: str


class LetterQueue(Protocol):
    """The part of the outbox that sends letters."""

    async def letter(self, letter_id: str) -> FollowUp | None:
        """Return the row of a letter that has not been sent, if any.

        The row is deleted when the mail server has accepted the letter.
        """

    async def is_current(self, version: RecordVersion) -> bool:
        """Return whether the record has not changed since in a way that outdates a letter."""

    async def done(self, row: FollowUp) -> None:
        """Delete the row."""

    async def give_up(self, row: FollowUp, failure: str) -> None:
        """Leave the row to an operator."""

    async def note_failure(self, row: FollowUp, failure: str) -> None:
        """Record why the last attempt failed."""


@dataclass(frozen=True)
class LetterSender:
    """Sends letters of the outbox, each once."""

    queue: LetterQueue
    mailer: Mailer
    links: LinkSource
    operators: str | None = None
    """The operators' address; None: they get no letters."""

    async def send(self, letter_id: str) -> None:
        """Send the letter, unless it was sent or is no longer true (OPS-2).

        A permanent refusal leaves it on the operators' list. Raises an `ApplicationError` with
        the delay before the next attempt (INV-4).
        """
        row = await self.queue.letter(letter_id)
        if row is None or row.letter is None:
            return
        try:
            await self._send(row, row.letter)
        except Exception as failure:
            await self.queue.note_failure(row, str(failure))
            raise

    async def _send(self, row: FollowUp, queued: QueuedLetter) -> None:
        letter = self._complete(queued)
        try:
            if letter is None:
                raise NoLongerDue
            await send_with_retry_delay(self.mailer, letter, self._still_due(queued))
        except NoLongerDue:
            await self.queue.done(row)
        except Undeliverable as refused:
            activity.logger.warning("letter %s was refused: %s", queued.letter.event, refused)
            await self.queue.give_up(row, str(refused))

    async def send_now(
        self, letter_ids: list[str], ready_within: timedelta = IMMEDIATE_TIMEOUT
    ) -> None:
        """Send the letters while a person waits; the rest stays for the relay."""
        for letter_id in letter_ids:
            row = await self.queue.letter(letter_id)
            letter = self._complete(row.letter) if row and row.letter else None
            if letter is None:
                continue
            try:
                await send_at_once(self.mailer, letter, ready_within)
            except Exception as failure:
                # The rows stay. One slow recipient delays the caller by one time limit.
                reason = mask_all(str(failure)) or type(failure).__name__
                activity.logger.info("letters are sent later: %s", reason)
                return

    def _complete(self, queued: QueuedLetter) -> Letter | None:
        """Return the letter with its link and the operators' address; None without an address."""
        letter = queued.letter
        if isinstance(letter, UnblockedLetter) and queued.link_to:
            link = self.links.link(queued.link_to, queued.link_number)
            return letter.model_copy(update={"link": link})
        if isinstance(letter, RefundOverdueLetter):
            return letter.model_copy(update={"operators_know": self.operators is not None})
        if queued.to_operators:
            if self.operators is None:
                return None
            reader = letter.reader.model_copy(update={"email": self.operators})
            return letter.model_copy(update={"reader": reader})
        return letter

    def _still_due(self, queued: QueuedLetter) -> StillDue:
        async def still_due() -> bool:
            return queued.only_while is None or await self.queue.is_current(queued.only_while)

        return still_due


@dataclass(frozen=True)
class OutboxActivities:
    """The standalone activity of the outbox."""

    letters: LetterSender

    @activity.defn
    async def send_letter(self, request: SendLetter) -> None:
        """Send a letter of the outbox, once."""
        await self.letters.send(request.letter_id)
