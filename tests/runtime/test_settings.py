"""The settings, and the errors of invalid ones."""

import base64
from pathlib import Path

import pytest
from pydantic import SecretStr

from domain.error import ErrorCode, Refused
from runtime.settings import Settings, environment, load_settings

KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in environment():
        if name.startswith(("SEATFLOW_", "STRIPE_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def refusal() -> str:
    with pytest.raises(Refused) as refused:
        load_settings()
    assert refused.value.code is ErrorCode.INVALID_INPUT
    return refused.value.message


def test_every_setting_has_a_default() -> None:
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
    assert settings.mail_per_second is None
    assert settings.billing_per_second is None


def test_the_environment_comes_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(
        "SEATFLOW_TASK_QUEUE=filed\nSEATFLOW_WAIT_SECONDS=3\nTEMPORAL_ADDRESS=there:1\n",
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
        ("SEATFLOW_DATABASE_URL", "postgresql://somebody:hushhush@there/x"),
        ("SEATFLOW_PUBLIC_URL", "there/hushhush"),
        ("SEATFLOW_MEETING_DOMAIN", "https://hushhush.example"),
        ("SEATFLOW_MEETING_DOMAIN", "hushhush.example:80"),
        ("SEATFLOW_MEETING_DOMAIN", ".hushhush"),
        ("SEATFLOW_OPERATORS_MAIL", "hushhush"),
        ("SEATFLOW_OPERATORS_MAIL", "ops@example.com, hushhush@example.com"),
        ("SEATFLOW_ENCRYPTION_KEYS", "one:hushhush"),
        ("SEATFLOW_ENCRYPTION_KEYS", f"one:{KEY},one:{KEY}"),
        ("SEATFLOW_SECRET_KEY", ", ,"),
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
def test_an_error_names_the_variable_and_never_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    message = refusal()
    assert message.startswith(f"{name}: ")
    assert "hushhush" not in message


def test_no_representation_shows_a_secret() -> None:
    settings = Settings(
        secret_key=SecretStr("hushhush"),
        database_url=SecretStr("postgresql+asyncpg://somebody:hushhush@there/x"),
        smtp_url=SecretStr("smtp://somebody:hushhush@there:25"),
        encryption_keys=SecretStr(f"one:{KEY}"),
        STRIPE_API_KEY=SecretStr("sk_hushhush"),
        SEATFLOW_STRIPE_WEBHOOK_SECRET=SecretStr("whsec_hushhush"),
    )
    assert "hushhush" not in f"{settings!r}{settings}{settings.model_dump()}"
    assert KEY not in repr(settings)


def test_without_a_secret_key_the_embedded_stack_s_is_used() -> None:
    settings = load_settings()
    with pytest.raises(Refused, match="SEATFLOW_SECRET_KEY is not set"):
        assert settings.secret_keys
    settings.secret_key_file.parent.mkdir()
    settings.secret_key_file.write_text("made\n", encoding="ascii")
    assert settings.secret_keys == ("made",)


def test_the_id_key_stays_when_a_new_secret_key_is_prepended() -> None:
    before, after = (
        Settings(secret_key=SecretStr("old")),
        Settings(secret_key=SecretStr("new, old")),
    )
    assert after.secret_keys == ("new", "old")
    assert after.id_key == before.id_key
    assert after.id_key_fingerprint == before.id_key_fingerprint
    assert Settings(secret_key=SecretStr("new")).id_key != before.id_key


def test_an_explicit_id_key_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEATFLOW_ID_KEY", "mine")
    monkeypatch.setenv("SEATFLOW_SECRET_KEY", "old")
    assert load_settings().id_key == b"mine"


def test_faults_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEATFLOW_LEDGER_FAULTS", "slow, timeout-after")
    assert load_settings().ledger_faults == {"slow", "timeout-after"}


def test_operators_have_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEATFLOW_OPERATORS_MAIL", " Ops@Bücher.example ")
    assert load_settings().operators_mail == "Ops@xn--bcher-kva.example"


def test_stripe_s_secrets_are_read_and_a_missing_one_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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
