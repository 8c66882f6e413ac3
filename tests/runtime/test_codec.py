"""The encryption of payloads."""

import pytest
from temporalio.api.failure.v1 import Failure

from domain.address import mask_all
from domain.error import ErrorCode, Refused
from domain.invitation import Person
from runtime.codec import UnreadablePayload, data_converter

OLD, NEW = {"old": bytes(32)}, {"new": bytes(range(32))}
JANE = Person(email="jane@example.com", name="Jane")


async def test_an_encrypted_payload_is_decrypted() -> None:
    converter = data_converter(NEW)
    payloads = await converter.encode([JANE])
    assert b"jane" not in payloads[0].SerializeToString()
    assert await converter.decode(payloads, [Person]) == [JANE]


async def test_a_new_key_encrypts_and_the_old_one_still_decrypts() -> None:
    written = await data_converter(OLD).encode([JANE])
    rotated = data_converter(NEW | OLD)
    assert await rotated.decode(written, [Person]) == [JANE]
    [payload] = await rotated.encode([JANE])
    assert payload.metadata["encryption-key-id"] == b"new"


async def test_a_payload_from_before_encryption_stays_readable() -> None:
    written = await data_converter({}).encode([JANE])
    assert await data_converter(NEW).decode(written, [Person]) == [JANE]


async def test_a_payload_of_an_unknown_key_is_named() -> None:
    written = await data_converter(OLD).encode([JANE])
    with pytest.raises(UnreadablePayload, match="'old'"):
        await data_converter(NEW).decode(written, [Person])


async def test_a_changed_payload_is_refused() -> None:
    [payload] = await data_converter(NEW).encode([JANE])
    payload.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])
    with pytest.raises(UnreadablePayload, match="changed"):
        await data_converter(NEW).decode([payload], [Person])


@pytest.mark.parametrize("keys", [{}, NEW])
async def test_a_refusal_is_restored_with_its_details(keys: dict[str, bytes]) -> None:
    refused = Refused(ErrorCode.RATE_LIMITED, "Not yet, jane@example.com.", retry_after_seconds=7)
    converter, failure = data_converter(keys), Failure()
    await converter.encode_failure(refused, failure)
    written = failure.SerializeToString()
    assert (b"Not yet" in written) is not bool(keys)
    assert b"jane@" not in written
    read = await converter.decode_failure(failure)
    assert isinstance(read, Refused)
    assert (read.code, read.details) == (refused.code, refused.details)
    assert mask_all(read.message) == "Not yet, j…@example.com."
