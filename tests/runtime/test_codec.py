"""Encoding of payloads for the Temporal server."""

import pytest
from temporalio.api.failure.v1 import Failure

from domain.address import mask_all
from domain.error import ErrorCode, Refused, Unavailable
from domain.invitation import Person
from runtime.codec import UnreadablePayload, data_converter

OLD, NEW = {"old": bytes(32)}, {"new": bytes(range(32))}
NAMESPACE = "acme"
JANE = Person(email="jane@example.com", name="Jane")


async def test_an_encrypted_payload_is_decrypted() -> None:
    """SEATFLOW_ENCRYPTION_KEYS: the server stores no plain text."""
    converter = data_converter(NEW, NAMESPACE)
    payloads = await converter.encode([JANE])
    assert b"jane" not in payloads[0].SerializeToString()
    assert await converter.decode(payloads, [Person]) == [JANE]


async def test_the_first_key_encrypts_and_all_decrypt() -> None:
    """SEATFLOW_ENCRYPTION_KEYS: payloads of the old key stay readable after a rotation."""
    written = await data_converter(OLD, NAMESPACE).encode([JANE])
    rotated = data_converter(NEW | OLD, NAMESPACE)
    assert await rotated.decode(written, [Person]) == [JANE]
    [payload] = await rotated.encode([JANE])
    assert payload.metadata["encryption-key-id"] == b"new"


async def test_plain_text_is_refused_unless_keys_are_being_introduced() -> None:
    """SEATFLOW_ACCEPT_PLAINTEXT: without a key anybody can write plain text."""
    written = await data_converter({}, NAMESPACE).encode([JANE])
    with pytest.raises(UnreadablePayload, match="not encrypted"):
        await data_converter(NEW, NAMESPACE).decode(written, [Person])
    introducing = data_converter(NEW, NAMESPACE, accept_plaintext=True)
    assert await introducing.decode(written, [Person]) == [JANE]


async def test_the_error_names_an_unknown_key() -> None:
    """SEATFLOW_ENCRYPTION_KEYS: the operator reads which key to add."""
    written = await data_converter(OLD, NAMESPACE).encode([JANE])
    with pytest.raises(UnreadablePayload, match="'old'"):
        await data_converter(NEW, NAMESPACE).decode(written, [Person])


async def test_a_changed_payload_is_refused() -> None:
    """SEATFLOW_ENCRYPTION_KEYS: payloads are authenticated."""
    [payload] = await data_converter(NEW, NAMESPACE).encode([JANE])
    payload.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])
    with pytest.raises(UnreadablePayload, match="changed"):
        await data_converter(NEW, NAMESPACE).decode([payload], [Person])


async def test_a_payload_of_another_namespace_is_refused() -> None:
    """SEATFLOW_ENCRYPTION_KEYS: payloads are bound to the namespace."""
    written = await data_converter(NEW, "other").encode([JANE])
    for accept_plaintext in (False, True):
        converter = data_converter(NEW, NAMESPACE, accept_plaintext=accept_plaintext)
        with pytest.raises(UnreadablePayload, match="another namespace"):
            await converter.decode(written, [Person])


async def test_the_text_of_a_failure_of_another_namespace_is_refused() -> None:
    """SEATFLOW_ENCRYPTION_KEYS: the texts of a failure are authenticated too."""
    failure = Failure()
    await data_converter(NEW, "other").encode_failure(Unavailable("Not now."), failure)
    with pytest.raises(UnreadablePayload, match="another namespace"):
        await data_converter(NEW, NAMESPACE).decode_failure(failure)


@pytest.mark.parametrize("keys", [{}, NEW])
async def test_a_refusal_keeps_its_code_and_details(keys: dict[str, bytes]) -> None:
    """SEATFLOW_ENCRYPTION_KEYS: failures are encrypted and contain no whole address."""
    refused = Refused(ErrorCode.RATE_LIMITED, "Not yet, jane@example.com.", retry_after_seconds=7)
    converter, failure = data_converter(keys, NAMESPACE), Failure()
    await converter.encode_failure(refused, failure)
    written = failure.SerializeToString()
    assert (b"Not yet" in written) is not bool(keys)
    assert b"jane@" not in written
    read = await converter.decode_failure(failure)
    assert isinstance(read, Refused)
    assert (read.code, read.details) == (refused.code, refused.details)
    assert mask_all(read.message) == "Not yet, j…@example.com."
