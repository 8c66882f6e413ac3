"""Refusals as values."""

import pytest
from pydantic import TypeAdapter

from domain.error import ErrorCode, Refusal, Refused, unless_refused
from domain.model import Value


class Answer(Value):
    """The result of an activity that may refuse."""

    code: str


def test_a_refusal_survives_as_a_value() -> None:
    """A refusal read from a payload raises the same code, message and details."""
    refused = Refused(ErrorCode.RATE_LIMITED, "Later.", retry_after_seconds=5)
    payload = Refusal.of(refused).model_dump_json()
    read = TypeAdapter[Answer | Refusal](Answer | Refusal).validate_json(payload)
    with pytest.raises(Refused) as raised:
        unless_refused(read)
    assert raised.value.as_json() == refused.as_json()


def test_any_other_result_is_returned() -> None:
    """A result that is no refusal is returned unchanged."""
    read = TypeAdapter[Answer | Refusal](Answer | Refusal).validate_json('{"code": "x"}')
    assert unless_refused(read) == Answer(code="x")
