"""How payloads look to the Temporal server: pydantic JSON, encrypted when keys are set."""

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
    """A payload was encrypted with a key that is not configured, or was tampered with.

    What was asked for may have been done: it is the answer that cannot be read.
    """

    def __init__(self, message: str) -> None:
        """Say which key is missing."""
        super().__init__(message, outcome_unknown=True)


class EncryptionCodec(PayloadCodec):
    """AES-256-GCM over whole payloads. The first key encrypts, all decrypt.

    Without keys it changes nothing, and says so when it meets what it cannot read.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Use `keys` by id, the one that encrypts first."""
        self._ciphers = {name.encode(): AESGCM(key) for name, key in keys.items()}
        self._key_id = next(iter(self._ciphers), b"")
        self._cipher = self._ciphers.get(self._key_id)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt each payload, its metadata included."""
        if self._cipher is None:
            return list(payloads)
        return [self._encrypted(payload, self._cipher) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt what was encrypted; what was written before there were keys stays readable.

        Raises UnreadablePayload.
        """
        return [
            self._decrypted(payload) if payload.metadata.get("encoding") == ENCODING else payload
            for payload in payloads
        ]

    def _encrypted(self, payload: Payload, cipher: AESGCM) -> Payload:
        nonce = os.urandom(NONCE_BYTES)
        # The key id is authenticated too, so that nobody can point to another key.
        sealed = cipher.encrypt(nonce, payload.SerializeToString(), self._key_id)
        return Payload(metadata={"encoding": ENCODING, KEY_ID: self._key_id}, data=nonce + sealed)

    def _decrypted(self, payload: Payload) -> Payload:
        key_id = payload.metadata.get(KEY_ID, b"")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise UnreadablePayload(
                f"No key {key_id.decode(errors='replace')!r} in SEATFLOW_ENCRYPTION_KEYS."
            )
        nonce, sealed = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, sealed, key_id))
        except (InvalidTag, ValueError):
            raise UnreadablePayload("A payload was changed, or its key was.") from None


class SharedPayloadConverter(CompositePayloadConverter):
    """pydantic JSON. Each workflow makes one of these: their weight is shared by all."""

    def __init__(self) -> None:
        """Convert with what the first one made."""
        super().__init__(*_converters().converters.values())


@cache
def _converters() -> PydanticPayloadConverter:
    return PydanticPayloadConverter()


def data_converter(keys: Mapping[str, bytes]) -> DataConverter:
    """The converter that workers and clients share; without keys, payloads are plain JSON."""
    return replace(
        pydantic_data_converter,
        payload_converter_class=SharedPayloadConverter,
        failure_converter_class=EncryptingFailureConverter if keys else SeatflowFailureConverter,
        payload_codec=EncryptionCodec(keys),
    )
