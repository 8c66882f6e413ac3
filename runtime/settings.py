"""Settings from environment variables, or from the same names in a `.env` file."""

import base64
import binascii
import difflib
import hashlib
import hmac
import os
import re
from collections.abc import Mapping, Set
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from domain.address import DNS_LABEL, as_written, normalized
from domain.author import operator_name
from domain.error import ErrorCode, Refused
from domain.policy import Policy
from domain.text import WHOLE_NUMBER, WholeNumber, one_line

PREFIX = "SEATFLOW_"
STRIPE_API_KEY = "STRIPE_API_KEY"
"""Same name as in Stripe's own tools."""
ENV_FILE = Path(".env")
AES_256_BYTES = 32
MIN_SECRET_KEY_LENGTH = 32
HEX = "hex:"
"""Prefix of an id key in hexadecimal digits."""
MAX_CONTACT_LENGTH = 200
DNS_PORT = 53

RESERVED = frozenset(
    PREFIX + name
    for name in (
        "BUILD_ID",
        "DIRECTORY_WEBHOOK_SECRET",
        "MAIL_WEBHOOK_SECRET",
        "METRICS_PORT",
        "REQUIRE_ALL",
        "WEBHOOK_ALLOW_PRIVATE",
    )
)
"""Names that are no errors, although this release has no such setting.

The tests read one; the others belong to later releases, which may share the environment.
"""


def _database_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("sqlite+aiosqlite://", "postgresql+asyncpg://")):
        raise ValueError("begin with sqlite+aiosqlite:// or postgresql+asyncpg://")
    return url


def _smtp_url(url: SecretStr) -> SecretStr:
    # The URL may contain a password, so the error does not repeat it.
    if not re.fullmatch(r"smtps?://[^/\s]+/?", url.get_secret_value()):
        raise ValueError("write smtp://[USER:PASSWORD@]HOST[:PORT], or the same with smtps://")
    return url


def _address(text: str) -> str:
    try:
        return as_written(text)
    except Refused:
        # The original error contains the value.
        raise ValueError("write one e-mail address") from None


def _addresses(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        return frozenset(normalized(each) for each in text.split(",") if each.strip())
    except Refused:
        raise ValueError("write e-mail addresses, separated by commas") from None


def _operator(text: str) -> str:
    try:
        return operator_name(text)
    except Refused as refused:
        raise ValueError(refused.message) from None


def _contact(text: str) -> str:
    text = one_line(text)
    if len(text) > MAX_CONTACT_LENGTH:
        raise ValueError(f"write at most {MAX_CONTACT_LENGTH} characters")
    return text


def _public_url(url: str) -> str:
    if not re.fullmatch(r"https?://[^/?#\s]+(/[^?#\s]*)?", url):
        raise ValueError("write http:// or https:// and a host; a port and a path are optional")
    return url.rstrip("/")


def _host_name(name: str) -> str:
    if not re.fullmatch(rf"{DNS_LABEL}(\.{DNS_LABEL})*", name.lower()):
        raise ValueError("write a host name alone, such as meet.example")
    return name.lower()


def _dns_server(text: object) -> object:
    if not isinstance(text, str):
        return text
    server = urlsplit(f"//{text}")
    try:
        return str(ip_address(server.hostname or "")), server.port or DNS_PORT
    except ValueError:
        raise ValueError("write IP addresses, each with an optional port") from None


def _stripe_api_base(url: str) -> str:
    # Every request carries the API key, so only requests to this machine may be unencrypted.
    local = r"http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
    if not re.fullmatch(rf"(https://[^/?#\s]+|{local})/?", url):
        raise ValueError(
            "write https://HOST, or http://localhost with an optional port, without a path"
        )
    return url.rstrip("/")


def _issuer(url: str) -> str:
    # The identity of a person follows from its responses, and the client secret is sent to it.
    local = r"http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
    if not re.fullmatch(rf"(https://[^/?#\s]+|{local})(/[^?#\s]*)?", url):
        raise ValueError("write the https:// URL of the issuer")
    return url


def _url_template(url: str) -> str:
    if not re.fullmatch(r"https?://[^/?#\s]+([/?#]\S*)?", url):
        raise ValueError("write an http:// or https:// URL; {account} stands for the account's id")
    return url


def _split_at_commas(text: object) -> object:
    return [part.strip() for part in text.split(",")] if isinstance(text, str) else text


def _secret_keys(text: SecretStr) -> SecretStr:
    keys = _split_secret(text)
    if not keys:
        raise ValueError("name at least one key")
    for number, key in enumerate(keys, start=1):
        if len(key) < MIN_SECRET_KEY_LENGTH:
            raise ValueError(
                f"key {number} of {len(keys)} has {len(key)} characters: "
                f"write at least {MIN_SECRET_KEY_LENGTH}"
            )
    return text


def _id_key(text: SecretStr) -> SecretStr:
    _id_key_bytes(text)
    return text


def _id_key_bytes(text: SecretStr) -> bytes:
    key = text.get_secret_value()
    if not key.startswith(HEX):
        return key.encode()
    try:
        decoded = binascii.unhexlify(key.removeprefix(HEX))
    except ValueError:
        decoded = b""
    if not decoded:
        raise ValueError(f"write an even number of hexadecimal digits after {HEX}")
    return decoded


def _encryption_keys(text: SecretStr) -> SecretStr:
    _cipher_keys(text)
    return text


def _split_secret(text: SecretStr) -> list[str]:
    return [part.strip() for part in text.get_secret_value().split(",") if part.strip()]


def _cipher_keys(text: SecretStr) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for number, entry in enumerate(_split_secret(text), start=1):
        name, _, encoded = entry.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if not name or name in keys or len(key) != AES_256_BYTES:
            raise ValueError(
                f"entry {number}: write ID:KEY with an id that is used once and 32 bytes in base64"
            )
        keys[name] = key
    return keys


def _decimal_number(text: object) -> object:
    # `float` would also read 1_0, +1, 1e3, inf and the digits of other scripts.
    if isinstance(text, str) and not re.fullmatch(
        rf"(?:{WHOLE_NUMBER.pattern})(?:\.[0-9]+)?", text
    ):
        raise ValueError(
            "write a number in ASCII digits, such as 45 or 0.5, without a sign, underscores or "
            "leading zeros"
        )
    return text


Network = IPv4Network | IPv6Network

DecimalNumber = Annotated[float, BeforeValidator(_decimal_number)]
"""A number that may have decimals."""

DnsServer = Annotated[tuple[str, int], BeforeValidator(_dns_server)]
"""The address and the port of a DNS server."""

LedgerFault = Literal["slow", "fail", "timeout-after"]


class Settings(BaseSettings):
    """The settings of every process; no representation contains a secret."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    state_folder: Path = Path(".seatflow")
    """Folder of the embedded stack's database, mailbox and keys."""
    task_queue: str = Field(default="seatflow", min_length=1)
    database_url: Annotated[SecretStr, AfterValidator(_database_url)] = Field(
        default_factory=lambda given: SecretStr(
            f"sqlite+aiosqlite:///{given['state_folder']}/seatflow.db"
        )
    )
    smtp_url: Annotated[SecretStr, AfterValidator(_smtp_url)] = SecretStr("smtp://localhost:1025")
    mail_per_second: DecimalNumber | None = Field(default=None, gt=0)
    """Limit of e-mails a second for all workers together; None: no limit."""
    mails_at_once: WholeNumber = Field(default=2, ge=1)
    """E-mails that one worker sends at the same time.

    More of them share the same CPU, and a single invitation waits for them (REM-3): with a fast
    mail server, 4 at a time are sent no faster than 2, and another account's single e-mail takes
    twice as long. One that takes longer than a second is not counted (`runtime.mail_slots`).
    The e-mails being sent may be sent twice, when a worker is killed before it has recorded the
    server's reply.
    """
    mail_from: str = "Seatflow <no-reply@localhost>"
    mail_reply_to: str | None = None
    """Address for replies to e-mails; those about an invitation are answered by its inviter."""
    support_contact: Annotated[str, AfterValidator(_contact)] | None = None
    """Address, page or number that e-mails name for help; None: an admin of the account."""
    operator: Annotated[str, AfterValidator(_operator)] | None = None
    """Name of the person who acts on this machine; None: the system user's name (OPS-8)."""
    operators: Annotated[frozenset[str], NoDecode, BeforeValidator(_addresses)] = frozenset()
    """Addresses of the people who are operators on the web."""
    operators_mail: Annotated[str, AfterValidator(_address)] | None = None
    """Address for e-mails about new entries of the operators' list; None: no e-mails."""
    public_url: Annotated[str, AfterValidator(_public_url)] = "http://localhost:8080"
    """Base URL of links in e-mails, without a trailing slash."""
    billing_url: Annotated[str, AfterValidator(_url_template)] | None = None
    """URL template of a deployment's own billing page, with `{account}`."""
    users_url: Annotated[str, AfterValidator(_url_template)] | None = None
    """URL template of a deployment's own user management, with `{account}`."""
    trusted_proxies: Annotated[
        tuple[Network, ...], NoDecode, BeforeValidator(_split_at_commas)
    ] = ()
    """Addresses or networks of proxies whose headers about the client count."""
    trusted_user_header: str | None = None
    """Header in which a trusted proxy names the address of the person signed in (INV-13)."""
    oidc_issuer: Annotated[str, AfterValidator(_issuer)] | None = None
    """URL of the OpenID Connect provider with which people sign in; None: by e-mailed links."""
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    meeting_domain: Annotated[str, AfterValidator(_host_name)] = "meet.example"
    """Domain of join links, which follows an account's vanity URL (TRF-5)."""
    dns_servers: Annotated[tuple[DnsServer, ...], NoDecode, BeforeValidator(_split_at_commas)] = ()
    """DNS servers that `domain verify` reads; empty: those of the system."""
    secret_key: Annotated[SecretStr, AfterValidator(_secret_keys)] | None = None
    given_id_key: Annotated[SecretStr, AfterValidator(_id_key)] | None = Field(
        default=None, validation_alias="SEATFLOW_ID_KEY"
    )
    encryption_keys: Annotated[SecretStr, AfterValidator(_encryption_keys)] | None = None
    retention_days: WholeNumber | None = Field(default=None, ge=1)
    """Days after which people whose records have ended are forgotten; None: never (OPS-9)."""
    accept_plaintext: bool = False
    """True: payloads that are not encrypted are read although keys are set."""
    wait_seconds: DecimalNumber = Field(default=45, gt=0)
    """Longest time that a command waits for a worker."""
    ui_port: WholeNumber | None = Field(default=None, ge=1, le=65535)
    """Port of the embedded Temporal UI; None: Temporal's port + 1000."""
    billing: Literal["ledger", "stripe"] = "ledger"
    """Payment provider: the built-in ledger or Stripe."""
    billing_per_second: DecimalNumber | None = Field(default=None, gt=0)
    """Limit of provider requests a second for all workers together; None: no limit."""
    ledger_settles_after: WholeNumber = Field(default=4, ge=0)
    """Business days until the built-in provider settles a refund."""
    ledger_faults: Annotated[
        frozenset[LedgerFault], NoDecode, BeforeValidator(_split_at_commas)
    ] = frozenset()
    """Faults that the built-in provider simulates, for demos and tests."""
    given_stripe_api_key: SecretStr | None = Field(default=None, validation_alias="STRIPE_API_KEY")
    stripe_api_base: Annotated[str, AfterValidator(_stripe_api_base)] | None = None
    """Base URL of Stripe's API; None: the default of Stripe's client."""
    given_stripe_webhook_secret: SecretStr | None = Field(
        default=None, validation_alias="SEATFLOW_STRIPE_WEBHOOK_SECRET"
    )
    policy: Policy = Policy()

    @model_validator(mode="after")
    def _require_all_of_oidc(self) -> Self:
        given = (self.oidc_issuer, self.oidc_client_id, self.oidc_client_secret)
        if any(given) and not all(given):
            raise ValueError(
                "SEATFLOW_OIDC_ISSUER, SEATFLOW_OIDC_CLIENT_ID and SEATFLOW_OIDC_CLIENT_SECRET"
                " belong together: set all of them, or none"
            )
        return self

    @property
    def secret_key_file(self) -> Path:
        """Return the path of the secret key that the embedded stack generates."""
        return self.state_folder / "secret-key"

    @property
    def mail_folder(self) -> Path:
        """Return the folder of the embedded stack's mailbox."""
        return self.state_folder / "mail"

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """Return the secret keys: the first signs links, all verify.

        Raises `Refused(invalid_input)` when there is none.
        """
        if self.secret_key:
            return tuple(_split_secret(self.secret_key))
        try:
            return (self.secret_key_file.read_text(encoding="ascii").strip(),)
        except FileNotFoundError:
            raise Refused(
                ErrorCode.INVALID_INPUT,
                "SEATFLOW_SECRET_KEY is not set: set it to a random text of at least "
                f"{MIN_SECRET_KEY_LENGTH} characters, or let `seatflow up` make one.",
            ) from None

    @property
    def id_key(self) -> bytes:
        """Return the key for the hashes of addresses in workflow ids; it is never rotated.

        By default it is derived from the last secret key: rotation adds new keys in front of it.
        """
        if self.given_id_key:
            return _id_key_bytes(self.given_id_key)
        return hmac.digest(self.secret_keys[-1].encode(), b"seatflow id key", hashlib.sha256)

    @property
    def id_key_fingerprint(self) -> str:
        """Return a short hash that identifies the id key without disclosing it."""
        return hmac.digest(self.id_key, b"fingerprint", hashlib.sha256).hex()[:16]

    @property
    def cipher_keys(self) -> dict[str, bytes]:
        """Return the payload keys by id: the first encrypts, all decrypt; empty: no encryption."""
        return _cipher_keys(self.encryption_keys) if self.encryption_keys else {}

    @property
    def stripe_api_key(self) -> str:
        """Return the key of Stripe's API. Raises `Refused(invalid_input)` when it is not set."""
        return _require_for_stripe(STRIPE_API_KEY, self.given_stripe_api_key)

    @property
    def stripe_webhook_secret(self) -> str:
        """Return the secret that signs Stripe's webhooks.

        Raises `Refused(invalid_input)` when it is not set.
        """
        return _require_for_stripe(
            "SEATFLOW_STRIPE_WEBHOOK_SECRET", self.given_stripe_webhook_secret
        )


def _require_for_stripe(variable: str, secret: SecretStr | None) -> str:
    if secret is None:
        raise Refused(
            ErrorCode.INVALID_INPUT, f"{variable} is not set: SEATFLOW_BILLING=stripe requires it."
        )
    return secret.get_secret_value().strip()


def load_settings() -> Settings:
    """Return the settings of the current environment.

    Raises `Refused(invalid_input)`, which names every unknown variable, or every one with an
    invalid value.
    """
    try:
        _require_known_names()
        return Settings()
    except ValidationError as invalid:
        errors = (
            _message(error["loc"], error["msg"])
            for error in invalid.errors(include_url=False, include_context=False)
        )
        raise Refused(ErrorCode.INVALID_INPUT, "; ".join(errors)) from None
    except (SettingsError, OSError, UnicodeDecodeError) as failure:
        raise Refused(ErrorCode.INVALID_INPUT, f"The settings cannot be read: {failure}") from None


def _require_known_names() -> None:
    """Raise `Refused(invalid_input)` for a misspelt name, which would otherwise be ignored."""
    known = _known_names()
    unknown = sorted(
        name
        for name in dotenv_values(ENV_FILE).keys() | os.environ.keys()
        if name.upper().startswith(PREFIX) and name.upper() not in known
    )
    if unknown:
        raise Refused(
            ErrorCode.INVALID_INPUT, "; ".join(_unknown_name(name, known) for name in unknown)
        )


def _unknown_name(name: str, known: Set[str]) -> str:
    near = difflib.get_close_matches(name.upper(), sorted(known), n=1, cutoff=0.8)
    return f"{name} is not a setting" + (f" (did you mean {near[0]}?)" if near else "")


@cache
def _known_names() -> Set[str]:
    return RESERVED.union(
        (
            str(field.validation_alias or f"{PREFIX}{name}").upper()
            for name, field in Settings.model_fields.items()
            if name != "policy"
        ),
        (f"{PREFIX}policy__{name}".upper() for name in Policy.model_fields),
    )


def environment() -> Mapping[str, str]:
    """Return the process's variables, and those of `.env` that the process does not set."""
    from_file = {name: value for name, value in dotenv_values(ENV_FILE).items() if value}
    return {**from_file, **os.environ}


def _message(location: tuple[int | str, ...], message: str) -> str:
    text = message.removeprefix("Value error, ")
    # The error of several settings names them itself.
    return f"{_variable(location)}: {text}" if location else text


def _variable(location: tuple[int | str, ...]) -> str:
    name = "__".join(part for part in location if isinstance(part, str)).upper()
    return name if name.startswith((PREFIX, STRIPE_API_KEY)) else f"{PREFIX}{name}"
