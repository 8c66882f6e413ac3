"""The error boundary: refusals cross the wire by type and are restored from it."""

from temporalio.api.failure.v1 import Failure
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError

from domain.address import mask_all
from domain.error import ErrorCode, Refused, Unavailable

_ERROR_CODES = frozenset(ErrorCode)

MAX_MESSAGE_BYTES = 600
MAX_STACK_TRACE_BYTES = 900
MAX_BYTES = 3_500
"""Size of all messages and stack traces of a failure.

When an activity is retried after a failure of more than 4 kB, the server keeps only the text
"Failure exceeds size limit."
"""


class SeatflowFailureConverter(DefaultFailureConverter):
    """Converter of a `Refused` to an application error whose type is its code, and back.

    Workers and clients share it, so code and details arrive wherever a refusal is caught.
    A refusal is not retried: the result would be the same. Only `invariant_broken` is a defect,
    which is retried where nobody waits for the answer (OPS-4).
    """

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """Convert `exception` to `failure`."""
        if isinstance(exception, Refused):
            defect = exception.code is ErrorCode.INVARIANT_BROKEN
            exception = ApplicationError(
                exception.message,
                exception.details,
                type=exception.code.value,
                non_retryable=not defect,
            ).with_traceback(exception.__traceback__ if defect else None)
        elif isinstance(exception, Unavailable):
            exception = ApplicationError(
                exception.message, type=ErrorCode.BACKEND_UNAVAILABLE.value
            )
        super().to_failure(exception, payload_converter, failure)
        # The UI shows messages; they are encrypted only if keys are configured.
        message, stack_trace = mask_all(failure.message), mask_all(failure.stack_trace)
        failure.message = _utf8(message.encode()[:MAX_MESSAGE_BYTES])
        # The last lines of a stack trace are those of the failed call.
        failure.stack_trace = _utf8(stack_trace.encode()[-MAX_STACK_TRACE_BYTES:])
        if _text_bytes(failure) > MAX_BYTES:
            failure.cause.ClearField("cause")

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

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """Convert `exception` to `failure`, and move its texts where the codec encrypts them."""
        super().to_failure(exception, payload_converter, failure)
        # The base class can do this too, but before the texts are masked and shortened.
        texts = {"message": failure.message, "stack_trace": failure.stack_trace}
        failure.encoded_attributes.CopyFrom(payload_converter.to_payload(texts))
        failure.message, failure.stack_trace = "Encoded failure", ""

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """Convert `failure` to an exception; raise the error of a text that cannot be decrypted."""
        if failure.HasField("encoded_attributes"):
            # The base class ignores the error.
            payload_converter.from_payload(failure.encoded_attributes)
        return super().from_failure(failure, payload_converter)


def _text_bytes(failure: Failure) -> int:
    texts = len(failure.message.encode()) + len(failure.stack_trace.encode())
    of_cause = _text_bytes(failure.cause) if failure.HasField("cause") else 0
    return texts + failure.encoded_attributes.ByteSize() + of_cause


def _utf8(text: bytes) -> str:
    """Return the text without a character that was cut apart."""
    return text.decode(errors="ignore")
