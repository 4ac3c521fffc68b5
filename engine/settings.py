"""What the environment says: every variable Takt reads, with its default. Options of the command line come on top."""

import base64
import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_WEBHOOK = "whsec_"


class Settings(BaseSettings):
    """Read once at start. Printable: secrets show as stars."""

    model_config = SettingsConfigDict(
        env_prefix="TAKT_", frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    database_url: Annotated[SecretStr | None, Field(validation_alias="DATABASE_URL")] = None
    data_dir: Path = Path(".takt")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    admin_key: SecretStr | None = None
    secret: SecretStr | None = None
    secret_before: SecretStr | None = None
    public_url: Annotated[str | None, Field(max_length=200)] = None
    unsubscribe_days: Annotated[int, Field(ge=60, le=4_000)] = 400
    policy: Path | None = None
    docs: bool = True
    scheduler: bool = True
    alarm_url: SecretStr | None = None
    alarm_secret: SecretStr | None = None
    keep_events_days: Annotated[int, Field(ge=120, le=4_000)] = 400

    lanes: Annotated[int, Field(ge=1, le=16)] = 2
    queue_asks: Annotated[int, Field(ge=1)] = 20_000
    queue_bulk: Annotated[int, Field(ge=10_000)] = 100_000
    deadline_ms: Annotated[int, Field(ge=10, le=600_000)] = 5_000
    bulk_deadline_ms: Annotated[int, Field(ge=10, le=3_600_000)] = 120_000
    lock_wait_ms: Annotated[int, Field(ge=1, le=60_000)] = 200
    body_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024 * 1024

    @property
    def alarm_key(self) -> bytes:
        """With which alarms are signed."""
        secret = self.alarm_secret.get_secret_value() if self.alarm_secret else ""
        return base64.b64decode(secret.removeprefix(_WEBHOOK))

    @field_validator("admin_key", "secret", "secret_before")
    @classmethod
    def _hard_to_guess(cls, key: SecretStr | None) -> SecretStr | None:
        """And one that a header can carry. A file's last line break is none of its characters."""
        if key is None:
            return None
        secret = key.get_secret_value().strip()
        make_one = "make one with `openssl rand -hex 32`"
        if len(secret) < 32:
            raise ValueError(f"it is shorter than 32 characters: {make_one}")
        if len(secret) > 1_000 or not secret.isascii() or not secret.isprintable() or " " in secret:
            raise ValueError(f"it is longer than 1,000 characters, or has some that a header cannot carry: {make_one}")
        if len(set(secret)) < 8:
            raise ValueError(f"it repeats the same few characters: {make_one}")
        return SecretStr(secret)

    @field_validator("alarm_url")
    @classmethod
    def _can_be_posted_to(cls, url: SecretStr | None) -> SecretStr | None:
        """Such addresses often are secrets themselves."""
        if url is None:
            return None
        text = url.get_secret_value().strip()
        try:
            parts = urlsplit(text)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address or not text.isprintable() or " " in text:
            raise ValueError("it is no web address; expected one such as https://alarms.example.com/takt")
        return SecretStr(text)

    @field_validator("alarm_secret")
    @classmethod
    def _of_standard_webhooks(cls, secret: SecretStr | None) -> SecretStr | None:
        """In the form that the libraries of receivers take."""
        if secret is None:
            return None
        text = secret.get_secret_value().strip()
        try:
            key = base64.b64decode(text.removeprefix(_WEBHOOK), validate=True) if text.startswith(_WEBHOOK) else b""
        except ValueError:
            key = b""
        if not 24 <= len(key) <= 64:
            expected = f"{_WEBHOOK} and 24 to 64 bytes in base64"
            raise ValueError(f"expected {expected}: make one with `echo {_WEBHOOK}$(openssl rand -base64 32)`")
        return SecretStr(text)

    @model_validator(mode="after")
    def _alarms_are_signed(self) -> "Settings":
        if self.alarm_url is not None and self.alarm_secret is None:
            raise ValueError("TAKT_ALARM_URL needs TAKT_ALARM_SECRET: nobody could tell alarms from forgeries without")
        return self

    @field_validator("public_url")
    @classmethod
    def _reachable_from_outside(cls, url: str | None) -> str | None:
        """Links to it stand in mails: nobody on the way may read or change what is sent there."""
        if url is None:
            return None
        example = "expected an address such as https://takt.example.com"
        try:
            parts = urlsplit(url.strip())
            _ = parts.port
        except ValueError:
            raise ValueError(f"it cannot be read; {example}") from None
        if not url.isascii() or not url.strip().isprintable() or any(each in url.strip() for each in " <>\"'\\,"):
            raise ValueError(f"it has characters that a mail's header cannot carry; {example}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"it is no web address; {example}")
        if parts.query or parts.fragment or parts.username is not None or "?" in url or "#" in url:
            raise ValueError(f"it says more than scheme, host, port and path; {example}")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError("http is for this machine alone: mail providers follow https")
        return url.strip().rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
