"""The error boundary: refusals cross the wire by type and are restored from it."""

from temporalio.api.failure.v1 import Failure
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError

from domain.address import mask_all
from domain.error import ErrorCode, Refused, Unavailable

_ERROR_CODES = frozenset(ErrorCode)


class SeatflowFailureConverter(DefaultFailureConverter):
    """Converter of a `Refused` to an application error whose type is its code, and back.

    Workers and clients share it, so code and details arrive wherever a refusal is caught.
    A refusal is not retried: the result would be the same.
    """

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """Convert `exception` to `failure`."""
        if isinstance(exception, Refused):
            exception = ApplicationError(
                exception.message,
                exception.details,
                type=exception.code.value,
                non_retryable=True,
            )
        elif isinstance(exception, Unavailable):
            exception = ApplicationError(
                exception.message, type=ErrorCode.BACKEND_UNAVAILABLE.value
            )
        super().to_failure(exception, payload_converter, failure)
        # The UI shows messages; they are encrypted only if keys are configured.
        failure.message = mask_all(failure.message)
        failure.stack_trace = mask_all(failure.stack_trace)

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """Convert `failure` to an exception."""
        error = super().from_failure(failure, payload_converter)
        if isinstance(error, ApplicationError) and error.type in _ERROR_CODES:
            if error.type == ErrorCode.BACKEND_UNAVAILABLE:
                return Unavailable(error.message)
            details = error.details[0] if error.details else {}
            return Refused(ErrorCode(error.type), error.message, **details)
        return error


class EncryptingFailureConverter(SeatflowFailureConverter):
    """A `SeatflowFailureConverter` that also encrypts messages and stack traces."""

    def __init__(self) -> None:
        super().__init__(encode_common_attributes=True)
