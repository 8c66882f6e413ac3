"""The error boundary: refusals cross the wire by type and come back as themselves."""

from temporalio.api.failure.v1 import Failure
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError

from domain.address import mask_all
from domain.error import ErrorCode, Refused

_CODES = frozenset(ErrorCode)


class SeatflowFailureConverter(DefaultFailureConverter):
    """Writes a `Refused` as an application error whose type is its code, and reads it back.

    Workers and clients share it, so a rule's no arrives whole wherever it is caught.
    A refusal is never retried: asking again changes nothing.
    """

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """Write `exception` into `failure`."""
        if isinstance(exception, Refused):
            exception = ApplicationError(
                exception.message,
                exception.details,
                type=exception.code.value,
                non_retryable=True,
            )
        super().to_failure(exception, payload_converter, failure)
        # Messages are shown in the UI, and only encrypted when there is a key.
        failure.message = mask_all(failure.message)
        failure.stack_trace = mask_all(failure.stack_trace)

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """Read an exception out of `failure`."""
        error = super().from_failure(failure, payload_converter)
        if isinstance(error, ApplicationError) and error.type in _CODES:
            details = error.details[0] if error.details else {}
            return Refused(ErrorCode(error.type), error.message, **details)
        return error


class EncryptingFailureConverter(SeatflowFailureConverter):
    """The same, with messages and stack traces moved to where the codec encrypts them."""

    def __init__(self) -> None:
        super().__init__(encode_common_attributes=True)
