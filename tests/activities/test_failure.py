"""Failures as histories keep them: refusals by type, and short texts."""

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.converter import PayloadConverter
from temporalio.exceptions import ApplicationError

from activities.failure import EncryptingFailureConverter, SeatflowFailureConverter
from domain.error import ErrorCode, Refused, Unavailable

SERVER_LIMIT = 4 * 1024
"""Bytes of a failure that the server keeps while it retries an activity."""

CONVERTERS = pytest.mark.parametrize(
    "converter", [SeatflowFailureConverter(), EncryptingFailureConverter()]
)


def nested(depth: int) -> None:
    """Raise an error with a long text and a long stack trace, and `depth` causes like it."""
    text = f"{depth}: the row of jane@example.com " + "…\n" * 100_000
    try:
        if depth:
            nested(depth - 1)
    except RuntimeError as cause:
        raise RuntimeError(text) from cause
    raise RuntimeError(text)


def converted(converter: SeatflowFailureConverter, error: BaseException) -> Failure:
    failure = Failure()
    converter.to_failure(error, PayloadConverter.default, failure)
    return failure


@CONVERTERS
def test_no_failure_exceeds_the_server_s_limit(converter: SeatflowFailureConverter) -> None:
    """OPS-4: operators read the error and its cause, not "Failure exceeds size limit."."""
    with pytest.raises(RuntimeError) as raised:
        nested(9)
    failure = converted(converter, raised.value)
    assert failure.ByteSize() < SERVER_LIMIT
    restored = converter.from_failure(failure, PayloadConverter.default)
    assert "9: the row of j…@example.com" in str(restored)
    assert "8: the row of j…@example.com" in str(restored.__cause__)


@CONVERTERS
def test_a_long_refusal_keeps_its_details(converter: SeatflowFailureConverter) -> None:
    """BLK-4: the blockers of a refusal are complete, also inside of another failure."""
    refused = Refused(ErrorCode.BLOCKED, "blocked", blockers=["room"] * 1_000)
    outer = ApplicationError("x" * 5_000)
    outer.__cause__ = refused
    restored = converter.from_failure(converted(converter, outer), PayloadConverter.default)
    assert isinstance(restored.__cause__, Refused)
    assert restored.__cause__.details == refused.details


@CONVERTERS
def test_an_unreachable_backend_crosses_by_type(converter: SeatflowFailureConverter) -> None:
    """OPS-4: the caller of a request reads which backend did not answer; it is retried."""
    failure = converted(converter, Unavailable("The database does not answer."))
    assert not failure.application_failure_info.non_retryable
    restored = converter.from_failure(failure, PayloadConverter.default)
    assert isinstance(restored, Unavailable)
    assert restored.message == "The database does not answer."
