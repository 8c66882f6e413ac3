"""Activity options, each with its reason."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityConfig, LocalActivityConfig

STORE = ActivityConfig(
    # A transaction takes milliseconds; a killed worker's is taken up again after this.
    start_to_close_timeout=timedelta(seconds=15),
    # Never given up: what the store was asked for must be known before anybody is answered.
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=15)
    ),
)
"""One transaction in our own store."""

BILLING = ActivityConfig(
    start_to_close_timeout=timedelta(seconds=30),
    # Never given up: what was asked of the provider may have been done (REF-5).
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=5)
    ),
)
"""A question to the payment provider."""


def billing_queue(task_queue: str) -> str:
    """Where questions to the payment provider wait: it sets their pace, and no other."""
    return f"{task_queue}-billing"


def billing(summary: str) -> ActivityConfig:
    """A question to the payment provider, in the pace that it allows."""
    queue = billing_queue(workflow.info().task_queue)
    return BILLING | ActivityConfig(task_queue=queue, summary=summary)


MAIL = ActivityConfig(
    # Longer than the mail adapter's own limit of 35 seconds, so that it is its error that is seen.
    start_to_close_timeout=timedelta(seconds=40),
    # Each failed attempt says itself when the next one starts (INV-4).
    retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=15)),
)
"""A conversation with the mail server."""


def mail_queue(task_queue: str) -> str:
    """Where conversations with the mail server wait: it sets their pace, and no other (REM-3)."""
    return f"{task_queue}-mail"


def mail(summary: str) -> ActivityConfig:
    """A conversation with the mail server, in the pace that it allows."""
    queue = mail_queue(workflow.info().task_queue)
    return MAIL | ActivityConfig(task_queue=queue, summary=summary)


MOVE = ActivityConfig(
    # Longer than all seven items may take together, so that none is cut off by another.
    start_to_close_timeout=timedelta(hours=1),
    # It beats every five seconds, however long an item takes: a killed worker is noticed.
    heartbeat_timeout=timedelta(seconds=20),
    # Each failed attempt says itself when the next one starts, and when to give up (TRF-1).
    retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=15)),
)
"""A person's data on its way to another account."""

SLICE = ActivityConfig(
    # Half a minute of work; on a server that is hardly there, many.
    start_to_close_timeout=timedelta(minutes=30),
    # It beats every two seconds: a killed worker is noticed.
    heartbeat_timeout=timedelta(seconds=20),
    # Never given up: each row gets its result (REM-3).
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=15)
    ),
)
"""Some thousand rows of a batch."""

LOOK = LocalActivityConfig(
    start_to_close_timeout=timedelta(seconds=5),
    # Nothing is changed by looking, so the caller may as well ask again.
    schedule_to_close_timeout=timedelta(seconds=30),
)
"""A question to our own store that changes nothing."""

REMIND = ActivityConfig(
    # Hundreds of thousands of invitations are asked at some hundreds a second.
    start_to_close_timeout=timedelta(hours=6),
    # It beats every five seconds: a killed worker is noticed, another goes on from its page.
    heartbeat_timeout=timedelta(seconds=30),
    retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
)
"""A walk through all live invitations."""

DIGEST = ActivityConfig(
    start_to_close_timeout=timedelta(hours=6),
    # Well before the next day's run, which would be skipped: no digest is worth a reminder.
    schedule_to_close_timeout=timedelta(hours=12),
    heartbeat_timeout=timedelta(seconds=30),
    # Each failed attempt says itself when the next one starts (INV-4).
    retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=15)),
)
"""An e-mail to each of many inviters."""
