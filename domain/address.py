"""E-mail addresses: one spelling to compare, one way to hide."""

import hashlib
import hmac
import re

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from domain.error import ErrorCode, Refused

# Only the form is checked here: whether an address can be reached is the mail server's word,
# and names such as .test or .local are in use inside companies. The library's documented way.
SPECIAL_USE_DOMAIN_NAMES.clear()

_OF_ADDRESS = r"[^\s<>@,;:\"']"
# Only where such characters begin: tried from each of them, a long text would take for ever.
_ADDRESS = re.compile(rf"(?<!{_OF_ADDRESS}){_OF_ADDRESS}+@{_OF_ADDRESS}+")


def normalized(address: str) -> str:
    """The spelling under which addresses are compared and kept (INV-3).

    Trimmed, case-folded, the domain IDN-encoded. Raises `Refused(invalid_email)`.
    """
    try:
        parts = validate_email(
            address.strip(), check_deliverability=False, globally_deliverable=False
        )
    except EmailNotValidError as invalid:
        raise Refused(ErrorCode.INVALID_EMAIL, str(invalid)) from None
    if "." not in parts.ascii_domain:
        raise Refused(ErrorCode.INVALID_EMAIL, "The domain of the address has no dot.")
    return f"{parts.local_part.casefold()}@{parts.ascii_domain.casefold()}"


def domain_of(address: str) -> str:
    """The domain of a normalized address."""
    return address.rpartition("@")[2]


def normalized_domain(name: str) -> str:
    """The spelling under which domains are compared: that of normalized addresses.

    Raises `Refused(invalid_email)`.
    """
    return domain_of(normalized(f"x@{name.strip()}"))


def as_written(address: str) -> str:
    """The spelling to write to: only the domain is encoded, for its letters have no case.

    Raises `Refused(invalid_email)`.
    """
    normalized(address)
    local, _, domain = address.strip().rpartition("@")
    return f"{local}@{normalized_domain(domain)}"


def masked(address: str) -> str:
    """`j…@example.com`: enough for an operator to recognize, too little to write to."""
    local, _, domain = address.partition("@")
    return f"{local[:1]}…@{domain}"


def mask_all(text: str) -> str:
    """`text` with every address in it masked, for messages that reach logs or histories."""
    return _ADDRESS.sub(lambda found: masked(found[0]), text)


def invitee_key(address: str, secret: bytes) -> str:
    """The keyed hash that stands for a normalized address in ids and search attributes.

    Keyed, so that nobody can tell from an id whether a guessed address was invited.
    """
    return hmac.new(secret, address.encode(), hashlib.sha256).hexdigest()[:32]
