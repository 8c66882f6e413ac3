"""The letters of the outbox, each a standalone activity that operators can see (OPS-2)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

from temporalio import activity

from activities.letter import (
    IMMEDIATE_TIMEOUT,
    LinkSource,
    Mailer,
    NoLongerDue,
    StillDue,
    Undeliverable,
    send_at_once,
    send_with_retry_delay,
)
from domain.address import mask_all
from domain.letter import Letter
from domain.letter.refund import RefundOverdueLetter
from domain.model import Value
from domain.outbox import QueuedLetter, RecordVersion
from domain.session import RequestedSignIn

ANSWER_WITHIN: Final = timedelta(seconds=2)


class SendLetter(Value):
    """A request to send a letter of the outbox."""

    letter_id: str


class LetterQueue(Protocol):
    """The letters that wait to be sent."""

    async def queued(self, letter_id: str) -> QueuedLetter | None:
        """Return a letter that waits to be sent; None if it was sent or dropped.

        It waits until the mail server has accepted it.
        """

    async def is_current(self, version: RecordVersion) -> bool:
        """Return whether the record has not changed since in a way that outdates a letter."""

    async def requested_sign_in(self, link_id: str) -> RequestedSignIn | None:
        """Return the person who may sign in by this link now; None if nobody may."""

    async def drop(self, letter_id: str) -> None:
        """Delete a letter that is no longer true."""

    async def release(self, letter_ids: Sequence[str]) -> None:
        """Make the letters due for the relay, which leaves them to the fast path at first."""

    async def record_failure(self, letter_id: str, failure: str, *, final: bool) -> None:
        """Record why the letter was not sent; a `final` failure leaves it to an operator."""


@dataclass(frozen=True)
class LetterSender:
    """Sends letters of the outbox, each once."""

    queue: LetterQueue
    mailer: Mailer
    links: LinkSource
    operators: str | None = None
    """The operators' address; None: they get no letters."""
    ready_within: timedelta = IMMEDIATE_TIMEOUT
    """Longest wait for the mail server to be ready while a person waits."""
    answer_within: timedelta = ANSWER_WITHIN
    """Longest time for which letters delay the answer to a person."""
    _sending: set[asyncio.Task[None]] = field(default_factory=set)

    async def send(self, letter_id: str) -> None:
        """Send the letter, unless it was sent or is no longer true (OPS-2).

        A permanent refusal leaves it on the operators' list. Raises an `ApplicationError` with
        the delay before the next attempt (INV-4).
        """
        queued = await self.queue.queued(letter_id)
        letter = await self._complete(queued) if queued else None
        if queued is None or letter is None:
            await self.queue.drop(letter_id)
            return
        try:
            await send_with_retry_delay(self.mailer, letter, self._still_due(queued))
        except NoLongerDue:
            await self.queue.drop(letter_id)
        except Undeliverable as refused:
            activity.logger.warning("letter %s was refused: %s", letter.event, refused)
            await self.queue.record_failure(letter_id, str(refused), final=True)
        except Exception as failure:
            await self.queue.record_failure(letter_id, str(failure), final=False)
            raise
        else:
            # It may have been queued again while it was sent.
            await self.queue.drop(letter_id)

    async def send_now(self, letter_ids: Sequence[str]) -> None:
        """Send the letters while a person waits for at most `answer_within`.

        None is begun after `ready_within`, and one that is being transmitted is not cancelled: it
        would be sent twice. The relay sends the others.
        """
        sending = asyncio.create_task(self._send_now(letter_ids))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        await asyncio.wait([sending], timeout=self.answer_within.total_seconds())

    async def _send_now(self, letter_ids: Sequence[str]) -> None:
        clock, left = asyncio.get_running_loop(), list(letter_ids)
        deadline = clock.time() + self.ready_within.total_seconds()
        try:
            while left and clock.time() < deadline:
                queued = await self.queue.queued(left[0])
                letter = await self._complete(queued) if queued else None
                if queued and letter:
                    await send_at_once(
                        self.mailer, letter, self.ready_within, self._still_due(queued)
                    )
                del left[0]
        except Exception as failure:
            reason = mask_all(str(failure)) or type(failure).__name__
            activity.logger.info("letters are sent later: %s", reason)
        if left:
            await self.queue.release(left)

    async def _complete(self, queued: QueuedLetter) -> Letter | None:
        """Return the letter with its link and its reader; None if nobody may read it."""
        letter = queued.letter
        if queued.sign_in:
            return await self._sign_in(letter, queued.sign_in)
        if queued.page:
            link = self.links.link(queued.page.invitation_id, queued.page.number)
            return letter.model_copy(update={"link": link})
        if isinstance(letter, RefundOverdueLetter):
            return letter.model_copy(update={"operators_know": self.operators is not None})
        if queued.to_operators:
            if self.operators is None:
                return None
            reader = letter.reader.model_copy(update={"email": self.operators})
            return letter.model_copy(update={"reader": reader})
        return letter

    async def _sign_in(self, letter: Letter, link_id: str) -> Letter | None:
        requested = await self.queue.requested_sign_in(link_id)
        if requested is None:
            return None
        return letter.model_copy(
            update={
                "reader": requested.reader,
                "account_name": requested.account_name or "",
                "link": self.links.sign_in_link(link_id),
            }
        )

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
