"""Managed domains: mail domains whose people join an account without a round trip (INV-18)."""

from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from domain.address import normalized_domain
from domain.error import ErrorCode, Refused
from domain.model import Value

_CHALLENGE: Final = "_seatflow-challenge."
_MAX_NAME_LENGTH: Final = 253
"""Characters of a name in DNS (RFC 1035)."""


class ManagedDomainState(StrEnum):
    """The states of a managed domain."""

    PENDING = "pending"
    """Nobody joins by it: the account has not proven that it controls the domain."""
    VERIFIED = "verified"


class TxtRecord(Value):
    """A DNS record; publishing it proves control of a domain."""

    type: Literal["TXT"] = "TXT"
    name: str
    value: str


class ManagedDomain(Value):
    """A domain of an account."""

    account: str
    domain: str
    """The normalized name."""
    state: ManagedDomainState
    added_at: datetime
    verified_at: datetime | None
    record: TxtRecord


def parse_domain(name: str) -> str:
    """Return the normalized name of a domain to manage. Raises `Refused(invalid_input)`."""
    try:
        domain = normalized_domain(name)
    except Refused as refused:
        raise Refused(
            ErrorCode.INVALID_INPUT, f"{name!r} is no domain: {refused.message}"
        ) from None
    if len(_CHALLENGE + domain) > _MAX_NAME_LENGTH:
        raise Refused(ErrorCode.INVALID_INPUT, f"{domain} is too long: its record has no name.")
    return domain


def challenge(domain: str, token: str) -> TxtRecord:
    """Return the record that proves control of the domain to the account that has the token."""
    return TxtRecord(name=f"{_CHALLENGE}{domain}", value=f"seatflow-verification={token}")
