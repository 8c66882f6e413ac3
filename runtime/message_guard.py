"""The guard that keeps malformed messages from failing workflow tasks (OPS-4)."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, get_type_hints

from pydantic import BaseModel
from temporalio import workflow
from temporalio.worker import (
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from domain.error import ErrorCode, Refused

Handler = Callable[..., object]

MAX_TEXT: Final = 10_000
"""The most characters in one text of a message, some times those of the longest reason."""

MAX_TEXTS: Final = 1_000_000
"""The most characters in all texts of a message, which may list thousands of holders.

Temporal limits a payload to 2 MB, and a workflow records what it accepts.
"""


class MessageGuard(Interceptor):
    """An interceptor that refuses malformed updates, and logs and drops malformed signals.

    The SDK decodes JSON by the types of the handler's parameters. It does not check the number of
    arguments, and decodes null and binary payloads without regard to the types. The handler would
    raise an error, and its workflow task would fail until the workflow is reset. A text with NUL
    would be recorded, and PostgreSQL would refuse the record at every attempt; one of a megabyte
    would make the record too large for Temporal.
    """

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        """Return the interceptor of each workflow."""
        return _Guarded


class _Guarded(WorkflowInboundInterceptor):
    async def handle_signal(self, input: HandleSignalInput) -> None:
        if mismatch := _mismatch(input.signal, input.args):
            workflow.logger.warning("signal %s is dropped: %s", input.signal, mismatch)
            return
        await super().handle_signal(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        _require_match(input)
        super().handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> object:
        # An update without a validator comes here directly.
        _require_match(input)
        return await super().handle_update_handler(input)


def _require_match(update: HandleUpdateInput) -> None:
    if mismatch := _mismatch(update.update, update.args):
        raise Refused(ErrorCode.INVALID_INPUT, f"Update {update.update}: {mismatch}.")


def _mismatch(message: str, arguments: Sequence[object]) -> str | None:
    """Return why the arguments do not fit the handler of the message; None if they do.

    A handler has the name of its message. The SDK reports a message without a handler.
    """
    handler = getattr(type(workflow.instance()), message, None)
    if handler is None:
        return None
    parameters = _parameters(handler)
    required = sum(required for required, _ in parameters)
    if not required <= len(arguments) <= len(parameters):
        return f"{len(arguments)} arguments instead of {len(parameters)}"
    for (_, hint), argument in zip(parameters, arguments, strict=False):
        if not isinstance(argument, hint):
            return f"an argument is {type(argument).__name__}"
        if unfit := _unfit_text(argument):
            return unfit
    return None


def _unfit_text(argument: object) -> str | None:
    """Return why a text of the argument cannot be recorded; None if all can."""
    texts = [*_texts(argument.model_dump() if isinstance(argument, BaseModel) else argument)]
    if any("\0" in text for text in texts):
        return "a text has the character NUL, which no database stores"
    if max(map(len, texts), default=0) > MAX_TEXT:
        return f"a text has more than {MAX_TEXT:,} characters"
    if sum(map(len, texts)) > MAX_TEXTS:
        return f"its texts have more than {MAX_TEXTS:,} characters"
    return None


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            yield from chain.from_iterable(map(_texts, value.values()))
        case list() | tuple():
            yield from chain.from_iterable(map(_texts, value))


@cache
def _parameters(handler: Handler) -> tuple[tuple[bool, Any], ...]:
    """Return for each parameter but `self` whether it is required, and its type."""
    hints = get_type_hints(handler)
    _, *parameters = inspect.signature(handler).parameters.values()
    return tuple(
        (parameter.default is parameter.empty, hints[parameter.name]) for parameter in parameters
    )
