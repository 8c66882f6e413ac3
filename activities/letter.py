"""Sending letters through a mail server that may be slow, down or unwilling."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from domain.address import mask_all
from domain.letter import Letter

FIRST_RETRY = timedelta(seconds=2)
FREQUENT_RETRY = timedelta(seconds=30)
FREQUENT_FOR = timedelta(minutes=10)
PATIENT_RETRY = timedelta(minutes=15)

AT_ONCE = timedelta(seconds=1)
"""How long somebody may be kept waiting for a mail server that is slow to take a letter."""

HANDED_OVER_WITHIN = timedelta(seconds=4)
"""How long it may take over a letter that it has got."""


class Undeliverable(Exception):
    """The mail server refused this recipient or message for good: a 5xx to RCPT or DATA.

    The text is the server's answer, with addresses masked.
    """


class NoLongerDue(Exception):
    """What the letter is about has changed on the way to the mail server, which did not get it."""


StillDue = Callable[[], Awaitable[bool]]
"""Whether a letter should still go out."""


class Mailer(Protocol):
    """A mail server, and the memory of what it has taken."""

    async def send(self, letter: Letter, wanted: StillDue | None = None) -> None:
        """Send once per `letter.id`; a repeated id is not sent again.

        `wanted` is asked at the last moment, with the mail server waiting for the letter.
        Raises `Undeliverable`; `NoLongerDue`. Any other exception: not taken, try again.
        """


async def send_with_retry_delay(
    mailer: Mailer, letter: Letter, wanted: StillDue | None = None
) -> None:
    """One attempt to send; a failure says when Temporal should try the next (INV-4).

    Raises `Undeliverable`, `NoLongerDue`, or an `ApplicationError` that carries the delay.
    """
    try:
        await mailer.send(letter, wanted)
    except (Undeliverable, NoLongerDue):
        raise
    except Exception as failure:
        info = activity.info()
        delay = retry_delay(info.attempt, info.started_time - info.scheduled_time)
        raise ApplicationError(
            f"The mail server did not take it: {mask_all(str(failure)) or type(failure).__name__}",
            type="mail_not_taken",
            next_retry_delay=delay,
        ) from None


async def send_at_once(mailer: Mailer, letter: Letter) -> None:
    """One attempt to send, for somebody who waits for it.

    Raises `Undeliverable`, or any other exception: not taken, leave it to who is patient.
    """
    async with asyncio.timeout(AT_ONCE.total_seconds()) as limit:

        async def go_ahead() -> bool:
            # Broken off while it is handed over, it would be taken twice.
            now = asyncio.get_running_loop().time()
            limit.reschedule(now + HANDED_OVER_WITHIN.total_seconds())
            return True

        await mailer.send(letter, go_ahead)


def retry_delay(attempt: int, waited: timedelta) -> timedelta:
    """How long after failed attempt `attempt` (from 1) the next one starts (INV-4).

    2, 4, 8 seconds, growing to 30 for the first ten minutes of `waited`, then
    doubling to 15 minutes.
    """
    if waited < FREQUENT_FOR:
        return min(FIRST_RETRY * (1 << min(attempt - 1, 10)), FREQUENT_RETRY)
    return min(max(waited - FREQUENT_FOR, FREQUENT_RETRY * 2), PATIENT_RETRY)


def business_time(at: datetime) -> datetime:
    """Now, in the time of the workflow that scheduled this activity at `at`.

    Both ends of the wait are the server's clock, so that a virtual month passes here too.
    """
    info = activity.info()
    return at + max(info.started_time - info.scheduled_time, timedelta())
