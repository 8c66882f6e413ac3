"""Encoding of payloads for the Temporal server: pydantic JSON, encrypted when keys are set."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import CompositePayloadConverter, DataConverter, PayloadCodec

from activities.failure import EncryptingFailureConverter, SeatflowFailureConverter
from domain.error import Unavailable

ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"
NONCE_BYTES = 12


class UnreadablePayload(Unavailable):
    """A payload that was encrypted with a key that is not configured, or was changed since.

    It may be the response to a request that was carried out, so the outcome is unknown.
    """

    def __init__(self, message: str) -> None:
        """Use `message` as the text; the outcome of the request is unknown."""
        super().__init__(message, outcome_unknown=True)


class EncryptionCodec(PayloadCodec):
    """AES-256-GCM over whole payloads. The first key encrypts, all decrypt.

    Without keys payloads are not encrypted, and decoding an encrypted one raises UnreadablePayload.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Use `keys` by id; the first one encrypts."""
        self._ciphers = {name.encode(): AESGCM(key) for name, key in keys.items()}
        self._key_id = next(iter(self._ciphers), b"")
        self._cipher = self._ciphers.get(self._key_id)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt each payload, its metadata included."""
        if self._cipher is None:
            return list(payloads)
        return [self._encrypt(payload, self._cipher) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt encrypted payloads; return others, written before keys were set, unchanged.

        Raises UnreadablePayload.
        """
        return [
            self._decrypt(payload) if payload.metadata.get("encoding") == ENCODING else payload
            for payload in payloads
        ]

    def _encrypt(self, payload: Payload, cipher: AESGCM) -> Payload:
        nonce = os.urandom(NONCE_BYTES)
        # The key id is authenticated as well, so that it cannot be replaced by another.
        sealed = cipher.encrypt(nonce, payload.SerializeToString(), self._key_id)
        return Payload(metadata={"encoding": ENCODING, KEY_ID: self._key_id}, data=nonce + sealed)

    def _decrypt(self, payload: Payload) -> Payload:
        key_id = payload.metadata.get(KEY_ID, b"")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise UnreadablePayload(
                f"A payload is encrypted with the key {key_id.decode(errors='replace')!r}: "
                "add that key to SEATFLOW_ENCRYPTION_KEYS."
            )
        nonce, sealed = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, sealed, key_id))
        except (InvalidTag, ValueError):
            raise UnreadablePayload(
                "A payload cannot be decrypted: it was changed, or its key was replaced. "
                "Check SEATFLOW_ENCRYPTION_KEYS."
            ) from None


class SharedPayloadConverter(CompositePayloadConverter):
    """pydantic JSON with shared converters.

    The SDK creates a converter for each workflow; shared parts save memory in every cached one.
    """

    def __init__(self) -> None:
        """Use the converters that all instances share."""
        super().__init__(*_converters().converters.values())


@cache
def _converters() -> PydanticPayloadConverter:
    return PydanticPayloadConverter()


def data_converter(keys: Mapping[str, bytes]) -> DataConverter:
    """Return the converter for workers and clients; without `keys`, payloads are plain JSON."""
    return replace(
        pydantic_data_converter,
        payload_converter_class=SharedPayloadConverter,
        failure_converter_class=EncryptingFailureConverter if keys else SeatflowFailureConverter,
        payload_codec=EncryptionCodec(keys),
    )
