"""Settings and the errors for invalid ones."""

import base64
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from domain.error import ErrorCode, Refused
from domain.policy import Policy
from runtime.settings import Settings, environment, load_settings

KEY = base64.b64encode(bytes(range(32))).decode()
OLD, NEW = "an old secret key of 32 characters", "the new secret key of 32 characters"


def _is_number(field: FieldInfo) -> bool:
    return isinstance(field.default, int) and not isinstance(field.default, bool)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in environment():
        if name.startswith(("SEATFLOW_", "STRIPE_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def refusal_message() -> str:
    with pytest.raises(Refused) as refused:
        load_settings()
    assert refused.value.code is ErrorCode.INVALID_INPUT
    return refused.value.message


def test_every_setting_has_its_default() -> None:
    """The defaults are those of the contract."""
    settings = load_settings()
    assert settings.task_queue == "seatflow"
    assert settings.database_url.get_secret_value() == "sqlite+aiosqlite:///.seatflow/seatflow.db"
    assert settings.smtp_url.get_secret_value() == "smtp://localhost:1025"
    assert settings.public_url == "http://localhost:8080"
    assert settings.meeting_domain == "meet.example"
    assert (settings.wait_seconds, settings.policy.invitation_ttl_days) == (45, 30)
    assert (settings.billing, settings.ledger_settles_after) == ("ledger", 4)
    assert not settings.ledger_faults
    assert settings.stripe_api_base is None
    assert settings.operators_mail is None
    assert settings.mail_reply_to is None
    assert settings.support_contact is None
    assert settings.mail_per_second is None
    assert settings.billing_per_second is None


def test_the_environment_overrides_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """`.env` sets a name that the environment does not set."""
    Path(".env").write_text(
        "SEATFLOW_TASK_QUEUE=from-file\nSEATFLOW_WAIT_SECONDS=3\nTEMPORAL_ADDRESS=there:1\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("SEATFLOW_TASK_QUEUE", "exported")
    monkeypatch.setenv("SEATFLOW_POLICY__RESEND_COOLDOWN_SECONDS", "0")
    monkeypatch.delenv("TEMPORAL_ADDRESS", raising=False)
    settings = load_settings()
    assert (settings.task_queue, settings.wait_seconds) == ("exported", 3)
    assert settings.policy.resend_cooldown_seconds == 0
    assert environment()["TEMPORAL_ADDRESS"] == "there:1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SEATFLOW_WAIT_SECONDS", "soon"),
        ("SEATFLOW_WAIT_SECONDS", "0"),
        ("SEATFLOW_MAIL_PER_SECOND", "0"),
        ("SEATFLOW_MAILS_AT_ONCE", "0"),
        ("SEATFLOW_BILLING_PER_SECOND", "0"),
        ("SEATFLOW_UI_PORT", "70000"),
        ("SEATFLOW_DATABASE_URL", "postgresql://user:hushhush@there/x"),
        ("SEATFLOW_PUBLIC_URL", "there/hushhush"),
        ("SEATFLOW_MEETING_DOMAIN", "https://hushhush.example"),
        ("SEATFLOW_MEETING_DOMAIN", "hushhush.example:80"),
        ("SEATFLOW_MEETING_DOMAIN", ".hushhush"),
        ("SEATFLOW_DNS_SERVERS", "ns.hushhush.example"),
        ("SEATFLOW_DNS_SERVERS", "127.0.0.1,[::1]:hushhush"),
        ("SEATFLOW_OPERATORS", "ops@example.com, hushhush"),
        ("SEATFLOW_OIDC_ISSUER", "http://hushhush.example"),
        ("SEATFLOW_OPERATORS_MAIL", "hushhush"),
        ("SEATFLOW_OPERATORS_MAIL", "ops@example.com, hushhush@example.com"),
        ("SEATFLOW_ENCRYPTION_KEYS", "one:hushhush"),
        ("SEATFLOW_ENCRYPTION_KEYS", f"one:{KEY},one:{KEY}"),
        ("SEATFLOW_SECRET_KEY", ", ,"),
        ("SEATFLOW_SECRET_KEY", "hushhush" + 23 * "x"),
        ("SEATFLOW_SECRET_KEY", f"{NEW},hushhush"),
        ("SEATFLOW_ID_KEY", "hex:"),
        ("SEATFLOW_ID_KEY", "hex:abc"),
        ("SEATFLOW_ID_KEY", "hex:hushhush"),
        ("SEATFLOW_ACCEPT_PLAINTEXT", "hushhush"),
        ("SEATFLOW_POLICY__INVITATION_TTL_DAYS", "366"),
        ("SEATFLOW_POLICY__REMIND_AFTER_DAYS", "99999999"),
        ("SEATFLOW_POLICY__REMIND_EVERY_DAYS", "9999999999"),
        ("SEATFLOW_POLICY__QUOTE_VALID_HOURS", "99999999999"),
        ("SEATFLOW_POLICY__PRORATION_UNIT", "week"),
        ("SEATFLOW_BILLING", "cash"),
        ("SEATFLOW_LEDGER_SETTLES_AFTER", "-1"),
        ("SEATFLOW_LEDGER_FAULTS", "slow,hushhush"),
        ("SEATFLOW_STRIPE_API_BASE", "http://hushhush.example"),
        ("SEATFLOW_STRIPE_API_BASE", "http://localhost.hushhush.example"),
    ],
)
def test_an_invalid_value_is_named_by_its_variable_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """The value may be a secret."""
    monkeypatch.setenv(name, value)
    message = refusal_message()
    assert message.startswith(f"{name}: ")
    assert "hushhush" not in message


BAD_NUMBERS = ("1_0", "+5", "-5", "05", "5.0", " 5", "5 ", "\uff15", "\u0665", "0x5", "5e0", "five")


@pytest.mark.parametrize(
    "name",
    [
        *(f"POLICY__{name}".upper() for name, f in Policy.model_fields.items() if _is_number(f)),
        *("LEDGER_SETTLES_AFTER", "MAILS_AT_ONCE", "RETENTION_DAYS", "UI_PORT"),
    ],
)
@pytest.mark.parametrize("value", BAD_NUMBERS)
def test_a_number_is_written_as_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Environment variables: ASCII digits without underscores, signs, leading zeros or spaces."""
    monkeypatch.setenv(f"SEATFLOW_{name}", value)
    assert refusal_message() == (
        f"SEATFLOW_{name}: write a whole number in ASCII digits, without a sign, underscores or "
        "leading zeros"
    )


@pytest.mark.parametrize("name", ["WAIT_SECONDS", "MAIL_PER_SECOND", "BILLING_PER_SECOND"])
@pytest.mark.parametrize(
    "value", [each for each in BAD_NUMBERS if each != "5.0"] + ["inf", "nan", ".5", "5.", "1_0.5"]
)
def test_a_number_with_decimals_is_plain(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Environment variables: a rate or a time may have decimals; floats have more forms."""
    monkeypatch.setenv(f"SEATFLOW_{name}", value)
    assert refusal_message().startswith(f"SEATFLOW_{name}: write a number in ASCII digits")
    monkeypatch.setenv(f"SEATFLOW_{name}", "0.5")
    load_settings()


def test_no_representation_shows_a_secret() -> None:
    """Logs and tracebacks may contain the settings."""
    settings = Settings(
        secret_key=SecretStr("hushhush" * 4),
        SEATFLOW_ID_KEY=SecretStr("hushhush"),
        database_url=SecretStr("postgresql+asyncpg://user:hushhush@there/x"),
        smtp_url=SecretStr("smtp://user:hushhush@there:25"),
        encryption_keys=SecretStr(f"one:{KEY}"),
        STRIPE_API_KEY=SecretStr("sk_hushhush"),
        SEATFLOW_STRIPE_WEBHOOK_SECRET=SecretStr("whsec_hushhush"),
    )
    assert "hushhush" not in f"{settings!r}{settings}{settings.model_dump()}"
    assert KEY not in repr(settings)


def test_the_secret_key_of_the_embedded_stack_is_the_default() -> None:
    """SEATFLOW_SECRET_KEY: required unless `up` has generated one."""
    settings = load_settings()
    with pytest.raises(Refused, match="SEATFLOW_SECRET_KEY is not set"):
        assert settings.secret_keys
    settings.secret_key_file.parent.mkdir()
    settings.secret_key_file.write_text(f"{OLD}\n", encoding="ascii")
    assert settings.secret_keys == (OLD,)


def test_the_id_key_stays_the_same_when_a_new_secret_key_comes_first() -> None:
    """SEATFLOW_ID_KEY: derived from the last secret key, so a rotation keeps workflow ids."""
    before, after = (
        Settings(secret_key=SecretStr(OLD)),
        Settings(secret_key=SecretStr(f"{NEW}, {OLD}")),
    )
    assert after.secret_keys == (NEW, OLD)
    assert after.id_key == before.id_key
    assert after.id_key_fingerprint == before.id_key_fingerprint
    assert Settings(secret_key=SecretStr(NEW)).id_key != before.id_key


def test_a_given_id_key_overrides_the_derived_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEATFLOW_ID_KEY: a leaked secret key can then be removed."""
    monkeypatch.setenv("SEATFLOW_ID_KEY", "mine")
    monkeypatch.setenv("SEATFLOW_SECRET_KEY", OLD)
    assert load_settings().id_key == b"mine"
    monkeypatch.setenv("SEATFLOW_ID_KEY", "hex:00ff")
    assert load_settings().id_key == b"\x00\xff"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        (
            "SEATFLOW_POLICY__INVITATION_TTL_DAY",
            "did you mean SEATFLOW_POLICY__INVITATION_TTL_DAYS",
        ),
        ("SEATFLOW_POLICY_REMIND_AT_MOST", "did you mean SEATFLOW_POLICY__REMIND_AT_MOST"),
        ("SEATFLOW_DATABSE_URL", "did you mean SEATFLOW_DATABASE_URL"),
        ("seatflow_task_queu", "did you mean SEATFLOW_TASK_QUEUE"),
        ("SEATFLOW_POLICY", "is not a setting"),
        ("SEATFLOW_COLOR", "is not a setting"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(
    monkeypatch: pytest.MonkeyPatch, name: str, advice: str
) -> None:
    """An unknown `SEATFLOW_…` name is an error: a misspelt policy would be ignored."""
    monkeypatch.setenv(name, "hushhush")
    message = refusal_message()
    assert message.startswith(f"{name} is not a setting")
    assert advice in message
    assert "hushhush" not in message


def test_unknown_names_in_the_file_are_refused_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown name is an error in `.env` too; every one is named."""
    Path(".env").write_text("SEATFLOW_TASK_QUEU=x\nSEATFLOW_COLOR=\nOTHER=1\n", encoding="utf-8")
    monkeypatch.setenv("SEATFLOW_BILING", "ledger")
    message = refusal_message()
    for name in ("SEATFLOW_BILING", "SEATFLOW_COLOR", "SEATFLOW_TASK_QUEU"):
        assert f"{name} is not a setting" in message
    assert "OTHER" not in message


@pytest.mark.parametrize(
    "name",
    [
        "SEATFLOW_BUILD_ID",
        "SEATFLOW_DIRECTORY_WEBHOOK_SECRET",
        "SEATFLOW_MAIL_WEBHOOK_SECRET",
        "SEATFLOW_METRICS_PORT",
        "SEATFLOW_OPERATOR",
        "SEATFLOW_REQUIRE_ALL",
        "SEATFLOW_RETENTION_DAYS",
        "SEATFLOW_WEBHOOK_ALLOW_PRIVATE",
        "STRIPE_API_KEY",
        "TEMPORAL_UNKNOWN",
    ],
)
def test_a_name_of_the_contract_is_known(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The settings of other parts, and names that are not Seatflow's, are no errors."""
    monkeypatch.setenv(name, "1")
    load_settings()


def test_faults_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEATFLOW_LEDGER_FAULTS: several at once."""
    monkeypatch.setenv("SEATFLOW_LEDGER_FAULTS", "slow, timeout-after")
    assert load_settings().ledger_faults == {"slow", "timeout-after"}


def test_dns_servers_have_port_53_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEATFLOW_DNS_SERVERS: addresses of both families, each with an optional port."""
    monkeypatch.setenv("SEATFLOW_DNS_SERVERS", "192.0.2.1, 192.0.2.2:5353, [2001:db8::1]:54")
    assert load_settings().dns_servers == (
        ("192.0.2.1", 53),
        ("192.0.2.2", 5353),
        ("2001:db8::1", 54),
    )


def test_operators_are_addresses_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEATFLOW_OPERATORS: normalized, as people sign in."""
    monkeypatch.setenv("SEATFLOW_OPERATORS", " Ann@Example.com,bob@bücher.example ")
    assert load_settings().operators == {"ann@example.com", "bob@xn--bcher-kva.example"}


def test_the_settings_of_openid_connect_belong_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEATFLOW_OIDC_ISSUER, _CLIENT_ID and _CLIENT_SECRET: all of them, or none."""
    monkeypatch.setenv("SEATFLOW_OIDC_ISSUER", "https://login.example")
    monkeypatch.setenv("SEATFLOW_OIDC_CLIENT_ID", "seatflow")
    assert refusal_message().startswith("SEATFLOW_OIDC_ISSUER, SEATFLOW_OIDC_CLIENT_ID and")
    monkeypatch.setenv("SEATFLOW_OIDC_CLIENT_SECRET", "hushhush")
    assert load_settings().oidc_issuer == "https://login.example"


def test_the_operators_address_is_idn_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEATFLOW_OPERATORS_MAIL: written as e-mail addresses are stored."""
    monkeypatch.setenv("SEATFLOW_OPERATORS_MAIL", " Ops@Bücher.example ")
    assert load_settings().operators_mail == "Ops@xn--bcher-kva.example"


def test_the_support_contact_is_one_short_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEATFLOW_SUPPORT_CONTACT: it is shown in every letter."""
    monkeypatch.setenv("SEATFLOW_SUPPORT_CONTACT", " Help desk,\n+49 30 1234 ")
    assert load_settings().support_contact == "Help desk, +49 30 1234"
    monkeypatch.setenv("SEATFLOW_SUPPORT_CONTACT", "x" * 201)
    with pytest.raises(Refused, match="SEATFLOW_SUPPORT_CONTACT: write at most 200 characters"):
        load_settings()


def test_the_secrets_for_stripe_are_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SEATFLOW_BILLING=stripe requires both."""
    monkeypatch.setenv("SEATFLOW_BILLING", "stripe")
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_1")
    monkeypatch.setenv("SEATFLOW_STRIPE_API_BASE", "http://localhost:8420/")
    settings = load_settings()
    assert settings.stripe_api_key == "sk_test_1"
    assert settings.stripe_api_base == "http://localhost:8420"
    with pytest.raises(Refused, match="SEATFLOW_STRIPE_WEBHOOK_SECRET is not set"):
        assert settings.stripe_webhook_secret
    monkeypatch.delenv("STRIPE_API_KEY")
    with pytest.raises(Refused, match="STRIPE_API_KEY is not set"):
        assert load_settings().stripe_api_key
