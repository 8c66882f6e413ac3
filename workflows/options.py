"""Activity options and their reasons."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType, ActivityConfig

with workflow.unsafe.imports_passed_through():
    from domain.error import ErrorCode

STORE = ActivityConfig(
    # A transaction takes milliseconds. This is the delay of the retry after a worker was killed.
    start_to_close_timeout=timedelta(seconds=15),
    # Retried without limit: a result must be known before a caller is answered.
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=500),
        maximum_interval=timedelta(seconds=15),
        # The caller is answered; without one, `Lifecycle.retried` repeats the step (OPS-4).
        non_retryable_error_types=[ErrorCode.INVARIANT_BROKEN],
    ),
)
"""One transaction in our own store, often under a lock that other requests wait for."""

BILLING = ActivityConfig(
    # Longer than a request takes. A killed worker is noticed after this time; the retry looks the
    # request up before it repeats it.
    start_to_close_timeout=timedelta(seconds=30),
    # Retried without limit: the provider may have carried out the request (REF-5).
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1),
        maximum_interval=timedelta(minutes=5),
        # As for `STORE`, into which its result is written.
        non_retryable_error_types=[ErrorCode.INVARIANT_BROKEN],
    ),
)
"""A request to the payment provider."""


LOOKUP_WITHIN = timedelta(hours=1)
"""The time for a planned look-up at the payment provider; the next planned one follows anyway."""

ANSWER_WITHIN = timedelta(seconds=10)
"""The time that a request of an operator waits for the payment provider."""


def billing_queue(task_queue: str) -> str:
    """Return the task queue of requests to the payment provider, which limits their rate."""
    return f"{task_queue}-billing"


def billing(summary: str) -> ActivityConfig:
    """Return the options of a request to the payment provider, at the rate that it allows."""
    queue = billing_queue(workflow.info().task_queue)
    return BILLING | ActivityConfig(task_queue=queue, summary=summary)


MAIL = ActivityConfig(
    # Longer than the mail adapter's limit of 35 seconds, so that its error is the one reported.
    start_to_close_timeout=timedelta(seconds=40),
    # Each failure carries the delay before the next attempt (INV-4).
    retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=15)),
)
"""Letters through the mail server."""


def mail_queue(task_queue: str) -> str:
    """Return the task queue of letters, which limits their rate (REM-3)."""
    return f"{task_queue}-mail"


def mail(summary: str) -> ActivityConfig:
    """Return the options of letters, at the rate that the mail server allows."""
    queue = mail_queue(workflow.info().task_queue)
    return MAIL | ActivityConfig(task_queue=queue, summary=summary)


MOVE = ActivityConfig(
    # Longer than the limits of all seven items together, so that one item cannot cut off another.
    start_to_close_timeout=timedelta(hours=1),
    # The activity heartbeats every five seconds, so a killed worker is detected.
    heartbeat_timeout=timedelta(seconds=20),
    # An attempt that goes on after a cancellation could still report its items.
    cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    # Each failure carries the delay before the next attempt, until the limit (TRF-1).
    retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=15)),
)
"""The move of a person's data to another account."""


def move(summary: str, retried_for: timedelta = timedelta(0)) -> ActivityConfig:
    """Return the options of a move whose items are retried for that time.

    Two hours later it ends whatever the cause, for example a worker that ends at each attempt
    (TRF-1): then its items are failed.
    """
    return MOVE | ActivityConfig(
        schedule_to_close_timeout=retried_for + timedelta(hours=2), summary=summary
    )


SLICE = ActivityConfig(
    # Half a minute of work; much longer on an overloaded server.
    start_to_close_timeout=timedelta(minutes=30),
    # The activity heartbeats every two seconds, so a killed worker is detected.
    heartbeat_timeout=timedelta(seconds=20),
    # Retried without limit: each row gets its result (REM-3).
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=15)
    ),
)
"""A slice of a batch: some thousand rows."""

READ = ActivityConfig(
    start_to_close_timeout=timedelta(seconds=5),
    # Reading changes nothing, so the caller may send the request again. Other requests wait for
    # the lock meanwhile: three of them are still answered within SEATFLOW_WAIT_SECONDS.
    schedule_to_close_timeout=timedelta(seconds=10),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=2)
    ),
)
"""A read of our own store for a caller who waits.

Not in a local activity: the workflow would answer no query while the store hangs.
"""

REMIND = ActivityConfig(
    # Hundreds of thousands of invitations, at some hundreds per second.
    start_to_close_timeout=timedelta(hours=6),
    # The activity heartbeats every five seconds; after a crash it continues after its last page.
    heartbeat_timeout=timedelta(seconds=30),
    retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
)
"""A pass over all live invitations."""
