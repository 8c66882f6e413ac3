"""Encoding of payloads for the Temporal server: pydantic JSON, encrypted when keys are set."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    EncodingPayloadConverter,
    PayloadCodec,
)

from activities.failure import EncryptingFailureConverter, SeatflowFailureConverter
from domain.error import Unavailable

ENCODING = b"binary/encrypted"
UNREADABLE = "binary/unreadable"
KEY_ID = "encryption-key-id"
NONCE_BYTES = 12


class UnreadablePayload(Unavailable):
    """A payload whose key is not configured, or that nobody with a key wrote in this namespace.

    It may be the response to a request that was carried out, so the outcome is unknown.
    """

    def __init__(self, message: str) -> None:
        """Use `message` as the text; the outcome of the request is unknown."""
        super().__init__(message, outcome_unknown=True)


class EncryptionCodec(PayloadCodec):
    """AES-256-GCM over whole payloads. The first key encrypts, all decrypt.

    The namespace is authenticated, so that a payload of another namespace is not accepted.
    Without keys payloads are not encrypted, and decoding an encrypted one raises UnreadablePayload.
    """

    def __init__(
        self, keys: Mapping[str, bytes], namespace: str, *, accept_plaintext: bool
    ) -> None:
        """Use `keys` by id in `namespace`; the first one encrypts."""
        self._ciphers = {name.encode(): AESGCM(key) for name, key in keys.items()}
        self._key_id = next(iter(self._ciphers), b"")
        self._cipher = self._ciphers.get(self._key_id)
        self._namespace = namespace.encode()
        self._accept_plaintext = accept_plaintext or not keys

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt each payload, its metadata included."""
        if self._cipher is None:
            return list(payloads)
        return [self._encrypt(payload, self._cipher) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt each payload; return one that is not authentic in a form that no converter reads.

        Then a forged signal is dropped and a forged update refused. An error here would fail the
        workflow task of the whole workflow, again and again.

        Raises UnreadablePayload for a key that is not configured: with the key it will be read.
        """
        return [self._decode(payload) for payload in payloads]

    def _decode(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") == ENCODING:
            return self._decrypt(payload)
        if self._accept_plaintext:
            return payload
        return _unreadable(
            "A payload is not encrypted, so anybody may have written it. "
            "While keys are being introduced, set SEATFLOW_ACCEPT_PLAINTEXT=true."
        )

    def _encrypt(self, payload: Payload, cipher: AESGCM) -> Payload:
        nonce = os.urandom(NONCE_BYTES)
        sealed = cipher.encrypt(nonce, payload.SerializeToString(), self._context(self._key_id))
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
            return Payload.FromString(cipher.decrypt(nonce, sealed, self._context(key_id)))
        except (InvalidTag, ValueError):
            return _unreadable(
                "A payload cannot be decrypted: it was changed, it is from another namespace, "
                "or its key was replaced. Check SEATFLOW_ENCRYPTION_KEYS and TEMPORAL_NAMESPACE."
            )

    def _context(self, key_id: bytes) -> bytes:
        """Return what is authenticated with a payload; a key's id contains no colon."""
        return key_id + b":" + self._namespace


def _unreadable(reason: str) -> Payload:
    return Payload(metadata={"encoding": UNREADABLE.encode()}, data=reason.encode())


class UnreadablePayloadConverter(EncodingPayloadConverter):
    """Raises UnreadablePayload for the payloads that the codec does not accept."""

    @property
    def encoding(self) -> str:
        """Return the encoding of these payloads."""
        return UNREADABLE

    def to_payload(self, value: object) -> None:
        """Leave every value to the other converters."""

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> NoReturn:
        """Raise UnreadablePayload with the reason."""
        raise UnreadablePayload(payload.data.decode(errors="replace"))


class SharedPayloadConverter(CompositePayloadConverter):
    """pydantic JSON with shared converters.

    The SDK creates a converter for each workflow; shared parts save memory in every cached one.
    """

    def __init__(self) -> None:
        """Use the converters that all instances share."""
        super().__init__(*_converters())


@cache
def _converters() -> tuple[EncodingPayloadConverter, ...]:
    return (*PydanticPayloadConverter().converters.values(), UnreadablePayloadConverter())


def data_converter(
    keys: Mapping[str, bytes], namespace: str, *, accept_plaintext: bool = False
) -> DataConverter:
    """Return the converter for workers and clients; without `keys`, payloads are plain JSON."""
    return replace(
        pydantic_data_converter,
        payload_converter_class=SharedPayloadConverter,
        failure_converter_class=EncryptingFailureConverter if keys else SeatflowFailureConverter,
        payload_codec=EncryptionCodec(keys, namespace, accept_plaintext=accept_plaintext),
    )
