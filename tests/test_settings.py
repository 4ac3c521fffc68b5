"""Settings: what the environment may say, and what is refused before anything starts."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.settings import Settings

STRONG = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", *(f"TAKT_{field.upper()}" for field in Settings.model_fields)):
        monkeypatch.delenv(name, raising=False)


def test_without_an_environment_takt_listens_to_this_machine_alone() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert (settings.database_url, settings.admin_key, settings.policy) == (None, None, None)
    assert settings.data_dir == Path(".takt")


def test_the_environment_speaks_and_arguments_speak_louder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKT_PORT", "9000")
    monkeypatch.setenv("TAKT_HOST", "0.0.0.0")  # noqa: S104 - a setting, and not listened to
    monkeypatch.setenv("DATABASE_URL", "postgresql://takt:secret@db/takt")
    monkeypatch.setenv("TAKT_DOCS", "no")
    settings = Settings(port=9001)
    assert (settings.port, settings.host, settings.docs) == (9001, "0.0.0.0", False)  # noqa: S104
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://takt:secret@db/takt"


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TAKT_ADMIN_KEY", "DATABASE_URL", "TAKT_PORT"):
        monkeypatch.setenv(name, "")
    assert Settings() == Settings(admin_key=None)


def test_printed_settings_hold_no_secret() -> None:
    settings = Settings(admin_key=STRONG, DATABASE_URL="postgresql://takt:hunter2@db/takt")  # type: ignore[arg-type]
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert STRONG not in shown
        assert "hunter2" not in shown


@pytest.mark.parametrize("key", [f"{STRONG}\n", f"  {STRONG}", STRONG, f"takt_{STRONG}", "!~" + STRONG])
def test_a_strong_admin_key_is_taken_as_a_header_will_carry_it(key: str) -> None:
    admin_key = Settings(admin_key=key).admin_key  # type: ignore[arg-type]
    assert admin_key is not None
    assert admin_key.get_secret_value() == key.strip()


@pytest.mark.parametrize(
    "key",
    [
        "k3y",
        "a" * 64,
        "ab" * 32,
        STRONG[:31],
        f"{STRONG[:31]} \n",
        f"{STRONG} {STRONG}",
        f"schlüssel{STRONG}",
        "k\0" + STRONG,
        STRONG * 40,
    ],
)
def test_a_weak_or_unsendable_admin_key_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ValidationError, match="openssl") as refused:
        Settings(admin_key=key)  # type: ignore[arg-type]
    assert refused.value.errors()[0]["loc"] == ("admin_key",)
    assert key.strip() not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TAKT_PORT", "65536"),
        ("TAKT_PORT", "-1"),
        ("TAKT_PORT", "http"),
        ("TAKT_WORKERS", "0"),
        ("TAKT_LANES", "0"),
        ("TAKT_LANES", "17"),
        ("TAKT_QUEUE_ASKS", "0"),
        ("TAKT_QUEUE_BULK", "9999"),
        ("TAKT_DEADLINE_MS", "0"),
        ("TAKT_LOCK_WAIT_MS", "0"),
        ("TAKT_BODY_BYTES", "10"),
        ("TAKT_DOCS", "perhaps"),
        ("TAKT_DEADLINE_MS", "nan"),
    ],
)
def test_what_nothing_can_work_with_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    (error,) = refused.value.errors()
    assert str(error["loc"][0]).upper() in name


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://takt.example.com", "https://takt.example.com"),
        (" https://takt.example.com/ ", "https://takt.example.com"),
        ("https://example.com:8443/takt/", "https://example.com:8443/takt"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_a_public_address_is_one_that_a_mail_can_carry(url: str, kept: str) -> None:
    assert Settings(public_url=url).public_url == kept


@pytest.mark.parametrize(
    "url",
    [
        "http://takt.example.com",
        "http://10.0.0.1",
        "takt.example.com",
        "ftp://takt.example.com",
        "https://",
        "https:///u",
        "https://user:pass@example.com",
        "https://@example.com",
        "https://example.com?a=1",
        "https://example.com/#",
        "https://example.com/a b",
        "https://example.com/>",
        "https://example.com/\r\nX: 1",
        "https://exämple.com",
        "https://example.com:port",
        "https://[::1",
        "https://example.com/" + "a" * 200,
    ],
)
def test_a_public_address_that_a_mail_cannot_carry_is_refused(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(public_url=url)
    assert refused.value.errors()[0]["loc"] == ("public_url",)


WEBHOOK = "whsec_" + "QUJD" * 8


def test_alarms_are_signed_with_the_key_in_their_secret() -> None:
    settings = Settings(alarm_url=" https://hooks.example.com/T0/B0 ", alarm_secret=f"{WEBHOOK}\n")  # type: ignore[arg-type]
    assert settings.alarm_key == b"ABC" * 8
    assert settings.alarm_url is not None
    assert settings.alarm_url.get_secret_value() == "https://hooks.example.com/T0/B0"
    assert "hooks" not in repr(settings), "such an address is a secret itself"
    with pytest.raises(ValidationError, match="TAKT_ALARM_SECRET"):
        Settings(alarm_url="https://hooks.example.com")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "QUJD" * 8, "whsec_QUJD", "whsec_" + "QUJD" * 30, "whsec_***" + "QUJD" * 8, STRONG]
)
def test_a_secret_that_no_receiver_could_read_is_refused(secret: str) -> None:
    with pytest.raises(ValidationError, match="openssl rand"):
        Settings(alarm_secret=secret)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["", "hooks.example.com", "ftp://a", "https://", "https://a b", "https://a:99999"])
def test_an_address_that_nobody_can_post_to_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="web address"):
        Settings(alarm_url=url, alarm_secret=WEBHOOK)  # type: ignore[arg-type]
