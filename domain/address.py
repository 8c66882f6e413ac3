"""E-mail addresses: normalization, masking and keyed hashes."""

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Set
from typing import Final

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from domain.error import ErrorCode, Refused

# Only the syntax is checked: the mail server decides whether an address can be reached, and
# companies use names such as .test or .local internally. email-validator documents this call.
SPECIAL_USE_DOMAIN_NAMES.clear()

DNS_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""The pattern of a part of a host name (RFC 1123), in lower case."""

_OF_ADDRESS = r"[^\s<>@,;:\"']"
_LONGEST_LOCAL_PART: Final = 64
"""Octets before the @ (RFC 5321, 4.5.3.1.1)."""
_LONGEST: Final = 254
"""Octets of an address: a path of 256 without its angle brackets (RFC 5321, 4.5.3.1.3)."""
_LONGEST_WRITTEN: Final = 4 * _LONGEST
"""Characters of an address as it may be typed, before marks are composed with their letters."""

# The lookbehind starts a match at the first character of a run only; without it the time grows
# with the square of the length.
_ADDRESS = re.compile(rf"(?<!{_OF_ADDRESS}){_OF_ADDRESS}+@{_OF_ADDRESS}+")


def normalized(address: str) -> str:
    """Return the form in which addresses are compared and stored (INV-3).

    Trimmed, in lower case, the domain IDN-encoded. Letters are kept: ß and ss are two mailboxes.
    Raises `Refused(invalid_email)`, also for what no mail server accepts.
    """
    written = address.strip()
    # The time to parse an address grows with the square of its length.
    if len(written) > _LONGEST_WRITTEN:
        raise _too_long()
    try:
        parts = validate_email(written, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as invalid:
        raise Refused(ErrorCode.INVALID_EMAIL, str(invalid)) from None
    if "." not in parts.ascii_domain:
        raise Refused(
            ErrorCode.INVALID_EMAIL,
            "The domain of the address has no dot; use a full domain such as example.com.",
        )
    # The lower case of some letters is decomposed; the form is composed, so that it is stable.
    local = unicodedata.normalize("NFC", parts.local_part.lower())
    domain = parts.ascii_domain.lower()
    for part in (local, parts.local_part):
        _require_length(part, domain)
    if domain.rpartition(".")[2].isdecimal():
        raise Refused(
            ErrorCode.INVALID_EMAIL,
            "The domain of the address ends in a number; use a domain such as example.com.",
        )
    return f"{local}@{domain}"


def _require_length(local: str, domain: str) -> None:
    octets = len(local.encode())
    if octets > _LONGEST_LOCAL_PART:
        raise Refused(
            ErrorCode.INVALID_EMAIL,
            f"The address has {octets} octets before the @; at most {_LONGEST_LOCAL_PART} are "
            "allowed.",
        )
    if octets + 1 + len(domain) > _LONGEST:
        raise _too_long()


def _too_long() -> Refused:
    return Refused(ErrorCode.INVALID_EMAIL, f"The address has more than {_LONGEST} octets.")


def domain_of(address: str) -> str:
    """Return the domain of a normalized address."""
    return address.rpartition("@")[2]


def normalized_domain(name: str) -> str:
    """Return the form in which domains are compared, as in normalized addresses.

    Raises `Refused(invalid_email)`.
    """
    return domain_of(normalized(f"x@{name.strip()}"))


def is_dns_label(text: str) -> bool:
    """Return whether `text` is one part of a host name, in lower case."""
    return re.fullmatch(DNS_LABEL, text) is not None


def as_written(address: str) -> str:
    """Return the address to send to: as written, with only its domain encoded.

    Raises `Refused(invalid_email)`.
    """
    normalized(address)
    local, _, domain = address.strip().rpartition("@")
    return f"{local}@{normalized_domain(domain)}"


def masked(address: str) -> str:
    """Return `j…@example.com`: enough for an operator to recognize, too little to write to."""
    local, _, domain = address.partition("@")
    return f"{local[:1]}…@{domain}"


def mask_all(text: str) -> str:
    """Return `text` with every address masked, for messages that reach logs or histories."""
    return _ADDRESS.sub(lambda found: masked(found[0]), text)


def mask_addresses(text: str, *, but: Set[str]) -> str:
    """Return `text` with every address masked except these, which are in lower case."""
    return _ADDRESS.sub(
        lambda found: found[0] if found[0].lower() in but else masked(found[0]), text
    )


def is_address(text: str) -> bool:
    """Return whether the whole text looks like an address."""
    return _ADDRESS.fullmatch(text) is not None


def is_invitee_key(text: str) -> bool:
    """Return whether `text` has the form of an `invitee_key`."""
    return re.fullmatch("[0-9a-f]{32}", text) is not None


def invitee_key(address: str, secret: bytes) -> str:
    """Return the keyed hash of a normalized address, for ids and search attributes.

    Without the key, an id does not reveal whether a guessed address was invited.
    """
    return hmac.new(secret, address.encode(), hashlib.sha256).hexdigest()[:32]
