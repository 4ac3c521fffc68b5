"""What the environment says: every variable Takt reads, with its default. Options of the command line come on top."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


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
    policy: Path | None = None
    docs: bool = True

    lanes: Annotated[int, Field(ge=1, le=16)] = 2
    queue_asks: Annotated[int, Field(ge=1)] = 20_000
    queue_bulk: Annotated[int, Field(ge=10_000)] = 100_000
    deadline_ms: Annotated[int, Field(ge=10, le=600_000)] = 5_000
    bulk_deadline_ms: Annotated[int, Field(ge=10, le=3_600_000)] = 120_000
    lock_wait_ms: Annotated[int, Field(ge=1, le=60_000)] = 200
    body_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024 * 1024

    @field_validator("admin_key", "secret")
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
