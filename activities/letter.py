"""Delivery of letters, with the retry delays of INV-4."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

from pydantic import AwareDatetime
from temporalio import activity
from temporalio.exceptions import ApplicationError

from domain.address import mask_all
from domain.letter import Letter
from domain.model import Value

FIRST_RETRY = timedelta(seconds=2)
FREQUENT_RETRY = timedelta(seconds=30)
FREQUENT_FOR = timedelta(minutes=10)
LONG_RETRY = timedelta(minutes=15)

IMMEDIATE_TIMEOUT = timedelta(seconds=1)
"""Longest wait for the mail server to become ready while a person waits."""


class Undeliverable(Exception):
    """A permanent refusal of the recipient or the message: a 5xx reply to RCPT or DATA.

    The text is the reply, with addresses masked.
    """


class NoLongerDue(Exception):
    """A letter that was dropped before it was transmitted, because it is no longer true."""


StillDue = Callable[[], Awaitable[bool]]
"""A check, made at the last moment, that a letter is still true."""


class Mailer(Protocol):
    """A mail server, and a record of the letters that it has accepted."""

    async def send(self, letter: Letter, still_due: StillDue | None = None) -> None:
        """Send once per `letter.id`; a repeated id is not sent again.

        `still_due` is called at the last moment, when the mail server is ready for the letter.
        Raises `Undeliverable`, `NoLongerDue`. After any other exception the letter was not
        accepted; retry.
        """


class LinkSource(Protocol):
    """The signed links that invitees open."""

    def link(self, invitation_id: str, number: int) -> str:
        """Return the link of the `number`th invitation e-mail; the same for equal arguments."""

    def unsubscribe_link(self, invitation_id: str) -> str:
        """Return the link that ends the reminders of an invitation."""

    def sign_in_link(self, link_id: str) -> str:
        """Return the link that signs a person in."""


class LetterSent(Value):
    """The result of sending a letter: sent, refused permanently, or no longer due."""

    at: AwareDatetime
    """Workflow time of the attempt."""
    sent: bool
    refused: str | None = None
    """The mail server's reply, if it refused the recipient or the letter permanently."""

    @property
    def no_longer_due(self) -> bool:
        """True if the letter was dropped because it was no longer true."""
        return not self.sent and self.refused is None


async def send_letter(
    mailer: Mailer, letter: Letter, at: datetime, still_due: StillDue
) -> LetterSent:
    """Send a letter requested at `at`, in workflow time; return the result."""
    now = business_time(at)
    try:
        await send_with_retry_delay(mailer, letter, still_due)
    except NoLongerDue:
        return LetterSent(at=now, sent=False)
    except Undeliverable as refused:
        return LetterSent(at=now, sent=False, refused=str(refused))
    return LetterSent(at=now, sent=True)


async def send_with_retry_delay(
    mailer: Mailer, letter: Letter, still_due: StillDue | None = None
) -> None:
    """Try once to send; a failure carries the delay before Temporal's next attempt (INV-4).

    Raises `Undeliverable`, `NoLongerDue`, or an `ApplicationError` with the delay.
    """
    try:
        await mailer.send(letter, still_due)
    except (Undeliverable, NoLongerDue):
        raise
    except Exception as failure:
        info = activity.info()
        delay = retry_delay(info.attempt, info.started_time - info.scheduled_time)
        raise ApplicationError(
            "The mail server did not accept the letter: "
            f"{mask_all(str(failure)) or type(failure).__name__}",
            type="mail_not_taken",
            next_retry_delay=delay,
        ) from None


async def send_at_once(
    mailer: Mailer, letter: Letter, ready_within: timedelta, still_due: StillDue
) -> None:
    """Try once to send a letter while a person waits.

    `ready_within` is the longest wait for the mail server to be ready for it.
    Raises `Undeliverable`, `NoLongerDue`. Any other exception: not taken, send it later.
    """
    async with asyncio.timeout(ready_within.total_seconds()) as limit:

        async def unlimited() -> bool:
            # Cancelled during the transfer, the letter would be sent twice.
            limit.reschedule(None)
            return await still_due()

        await mailer.send(letter, unlimited)


def retry_delay(attempt: int, waited: timedelta) -> timedelta:
    """Return the delay after failed attempt `attempt`, counted from 1 (INV-4).

    It is 2, 4, 8, 16 and then 30 seconds in the first ten minutes of `waited`. Afterwards it
    grows to 15 minutes.
    """
    if waited < FREQUENT_FOR:
        return min(FIRST_RETRY * (1 << min(attempt - 1, 10)), FREQUENT_RETRY)
    return min(max(waited - FREQUENT_FOR, FREQUENT_RETRY * 2), LONG_RETRY)


def business_time(at: datetime) -> datetime:
    """Return the current time in the workflow that scheduled this activity at `at`.

    The time since then is measured by the Temporal server's clock, which may be simulated.
    """
    info = activity.info()
    return at + max(info.started_time - info.scheduled_time, timedelta())
