"""What an operator sets: environment variables, or the same names in a `.env` file."""

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from domain.address import as_written
from domain.error import ErrorCode, Refused
from domain.policy import Policy

PREFIX = "SEATFLOW_"
STRIPE_API_KEY = "STRIPE_API_KEY"
"""The name that Stripe itself gives it."""
ENV_FILE = Path(".env")
AES_256_BYTES = 32


def _database_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("sqlite+aiosqlite://", "postgresql+asyncpg://")):
        raise ValueError("begin with sqlite+aiosqlite:// or postgresql+asyncpg://")
    return url


def _smtp_url(url: SecretStr) -> SecretStr:
    # The text may hold a password, so it is not repeated.
    if not re.fullmatch(r"smtps?://[^/\s]+/?", url.get_secret_value()):
        raise ValueError("write smtp:// or smtps://, a host, and perhaps a port")
    return url


def _address(text: str) -> str:
    try:
        return as_written(text)
    except Refused:
        # Its text would repeat what was written.
        raise ValueError("write one e-mail address") from None


def _public_url(url: str) -> str:
    if not re.fullmatch(r"https?://[^/?#\s]+(/[^?#\s]*)?", url):
        raise ValueError("write http:// or https://, a host, and perhaps a port and a path")
    return url.rstrip("/")


def _host_name(name: str) -> str:
    label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    if not re.fullmatch(rf"{label}(\.{label})*", name.lower()):
        raise ValueError("write a host name, such as meet.example, and nothing around it")
    return name.lower()


def _stripe_api_base(url: str) -> str:
    # The key goes with every request, so it goes in the clear on this machine only.
    local = r"http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
    if not re.fullmatch(rf"(https://[^/?#\s]+|{local})/?", url):
        raise ValueError("write https:// and a host, or http:// and localhost, and no path")
    return url.rstrip("/")


def _between_commas(text: object) -> object:
    return [part.strip() for part in text.split(",")] if isinstance(text, str) else text


def _secret_keys(text: SecretStr) -> SecretStr:
    if not _listed(text):
        raise ValueError("name at least one key")
    return text


def _encryption_keys(text: SecretStr) -> SecretStr:
    _cipher_keys(text)
    return text


def _listed(text: SecretStr) -> list[str]:
    return [part.strip() for part in text.get_secret_value().split(",") if part.strip()]


def _cipher_keys(text: SecretStr) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for number, entry in enumerate(_listed(text), start=1):
        name, _, encoded = entry.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if not name or name in keys or len(key) != AES_256_BYTES:
            raise ValueError(f"entry {number} is not a new id, a colon and 32 bytes in base64")
        keys[name] = key
    return keys


LedgerFault = Literal["slow", "fail", "timeout-after"]


class Settings(BaseSettings):
    """The settings of every process; secrets show in no representation."""

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
    """Where the embedded stack keeps what it makes."""
    task_queue: str = Field(default="seatflow", min_length=1)
    database_url: Annotated[SecretStr, AfterValidator(_database_url)] = Field(
        default_factory=lambda given: SecretStr(
            f"sqlite+aiosqlite:///{given['state_folder']}/seatflow.db"
        )
    )
    smtp_url: Annotated[SecretStr, AfterValidator(_smtp_url)] = SecretStr("smtp://localhost:1025")
    mail_per_second: float | None = Field(default=None, gt=0)
    """How many e-mails all workers together hand to the mail server; None: as many as it takes."""
    mails_at_once: int = Field(default=2, ge=1)
    """Conversations with the mail server of one worker.

    More share the same CPU, and a single invitation waits for all of them (REM-3): beside a mail
    server that answers at once, 4 send no more than 2, and somebody else's single e-mail takes
    twice as long. Those of a killed worker, which may have been taken without anybody knowing it,
    are sent again.
    """
    mail_from: str = "Seatflow <no-reply@localhost>"
    operators_mail: Annotated[str, AfterValidator(_address)] | None = None
    """Who is told of what waits for an operator; None: nobody, and they have to look."""
    public_url: Annotated[str, AfterValidator(_public_url)] = "http://localhost:8080"
    """What links in e-mails begin with, without a slash at the end."""
    meeting_domain: Annotated[str, AfterValidator(_host_name)] = "meet.example"
    """What the host of a join link ends with, after an account's vanity URL (TRF-5)."""
    secret_key: Annotated[SecretStr, AfterValidator(_secret_keys)] | None = None
    given_id_key: SecretStr | None = Field(default=None, validation_alias="SEATFLOW_ID_KEY")
    encryption_keys: Annotated[SecretStr, AfterValidator(_encryption_keys)] | None = None
    wait_seconds: float = Field(default=45, gt=0)
    """How long a command waits for a worker's answer."""
    ui_port: int | None = Field(default=None, ge=1, le=65535)
    """The port of the embedded Temporal UI; None: a thousand above Temporal's."""
    billing: Literal["ledger", "stripe"] = "ledger"
    """Who keeps payments and refunds: the built-in ledger, or Stripe."""
    billing_per_second: float | None = Field(default=None, gt=0)
    """How often all workers together ask them; None: as often as they need to."""
    ledger_settles_after: int = Field(default=4, ge=0)
    """Business days after which the built-in provider settles a refund."""
    ledger_faults: Annotated[frozenset[LedgerFault], NoDecode, BeforeValidator(_between_commas)] = (
        frozenset()
    )
    """How the built-in provider misbehaves, to show what then happens."""
    given_stripe_api_key: SecretStr | None = Field(default=None, validation_alias="STRIPE_API_KEY")
    stripe_api_base: Annotated[str, AfterValidator(_stripe_api_base)] | None = None
    """Where Stripe is; None: where its client says."""
    given_stripe_webhook_secret: SecretStr | None = Field(
        default=None, validation_alias="SEATFLOW_STRIPE_WEBHOOK_SECRET"
    )
    policy: Policy = Policy()

    @property
    def secret_key_file(self) -> Path:
        """Where the embedded stack keeps the key that it has made."""
        return self.state_folder / "secret-key"

    @property
    def mail_folder(self) -> Path:
        """Where the embedded stack keeps the letters that were sent."""
        return self.state_folder / "mail"

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The first signs links, all verify. Raises `Refused(invalid_input)` when there is none."""
        if self.secret_key:
            return tuple(_listed(self.secret_key))
        try:
            return (self.secret_key_file.read_text(encoding="ascii").strip(),)
        except FileNotFoundError:
            raise Refused(
                ErrorCode.INVALID_INPUT,
                "SEATFLOW_SECRET_KEY is not set: set it to a long random text, "
                "or let `seatflow up` make one.",
            ) from None

    @property
    def id_key(self) -> bytes:
        """Keys the hashes of addresses in workflow ids; never rotated.

        Derived from the last secret key, the one that stays when a new one is put in front.
        """
        if self.given_id_key:
            return self.given_id_key.get_secret_value().encode()
        return hmac.digest(self.secret_keys[-1].encode(), b"seatflow id key", hashlib.sha256)

    @property
    def id_key_fingerprint(self) -> str:
        """Tells one id key from another, and nothing else about it."""
        return hmac.digest(self.id_key, b"fingerprint", hashlib.sha256).hex()[:16]

    @property
    def cipher_keys(self) -> dict[str, bytes]:
        """The keys of the payload codec by id: the first encrypts, all decrypt; none: no codec."""
        return _cipher_keys(self.encryption_keys) if self.encryption_keys else {}

    @property
    def stripe_api_key(self) -> str:
        """What opens the account at Stripe. Raises `Refused(invalid_input)` when it is not set."""
        return _needed_for_stripe(STRIPE_API_KEY, self.given_stripe_api_key)

    @property
    def stripe_webhook_secret(self) -> str:
        """What Stripe signs its notifications with. Raises `Refused(invalid_input)`."""
        return _needed_for_stripe(
            "SEATFLOW_STRIPE_WEBHOOK_SECRET", self.given_stripe_webhook_secret
        )


def _needed_for_stripe(variable: str, secret: SecretStr | None) -> str:
    if secret is None:
        raise Refused(
            ErrorCode.INVALID_INPUT, f"{variable} is not set, which SEATFLOW_BILLING=stripe needs."
        )
    return secret.get_secret_value().strip()


def load_settings() -> Settings:
    """The settings as they are in the environment now.

    Raises `Refused(invalid_input)` that names every variable with a bad value.
    """
    try:
        return Settings()
    except ValidationError as invalid:
        mistakes = (
            f"{_variable(error['loc'])}: {error['msg'].removeprefix('Value error, ')}"
            for error in invalid.errors(include_url=False, include_context=False)
        )
        raise Refused(ErrorCode.INVALID_INPUT, "; ".join(mistakes)) from None
    except (SettingsError, OSError, UnicodeDecodeError) as unreadable:
        raise Refused(
            ErrorCode.INVALID_INPUT, f"The settings cannot be read: {unreadable}"
        ) from None


def environment() -> Mapping[str, str]:
    """The variables of the process, and those of the `.env` file that it does not set."""
    from_file = {name: value for name, value in dotenv_values(ENV_FILE).items() if value}
    return {**from_file, **os.environ}


def _variable(location: tuple[int | str, ...]) -> str:
    name = "__".join(part for part in location if isinstance(part, str)).upper()
    return name if name.startswith((PREFIX, STRIPE_API_KEY)) else f"{PREFIX}{name}"
