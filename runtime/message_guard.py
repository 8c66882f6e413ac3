"""The guard that keeps malformed messages from failing workflow tasks (OPS-4)."""

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, get_type_hints

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


class MessageGuard(Interceptor):
    """An interceptor that refuses malformed updates, and logs and drops malformed signals.

    The SDK decodes JSON by the types of the handler's parameters. It does not check the number of
    arguments, and decodes null and binary payloads without regard to the types. The handler would
    raise an error, and its workflow task would fail until the workflow is reset. A text with NUL
    would be recorded, and PostgreSQL would refuse the record at every attempt.
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
        if isinstance(argument, BaseModel) and _has_nul(argument.model_dump()):
            return "a text has the character NUL, which no database stores"
    return None


def _has_nul(value: object) -> bool:
    match value:
        case str():
            return "\0" in value
        case dict():
            return any(map(_has_nul, value.values()))
        case list() | tuple():
            return any(map(_has_nul, value))
        case _:
            return False


@cache
def _parameters(handler: Handler) -> tuple[tuple[bool, Any], ...]:
    """Return for each parameter but `self` whether it is required, and its type."""
    hints = get_type_hints(handler)
    _, *parameters = inspect.signature(handler).parameters.values()
    return tuple(
        (parameter.default is parameter.empty, hints[parameter.name]) for parameter in parameters
    )
