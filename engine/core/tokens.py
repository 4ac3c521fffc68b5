"""API keys as strings: 256 random bits, known afterwards only by their SHA-256."""

import base64
import hashlib
import hmac
import secrets
from enum import StrEnum

_PREFIX = "takt_"


class Scope(StrEnum):
    """What a key may do: ask and resolve, bring in what happened, read, change rules and files, everything."""

    DECIDE = "decide"
    INGEST = "ingest"
    READ = "read"
    MANAGE = "manage"
    ADMIN = "admin"


def new_key() -> str:
    return _PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")


def new_key_id() -> str:
    """What a key is called in lists and logs."""
    return secrets.token_hex(4)


def digest(key: str) -> bytes:
    """By which a key is kept and found. A random key of 256 bits needs no slow hash."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


def derived(secret: bytes, purpose: str) -> bytes:
    """The 256 bits that a secret gives for one purpose: who learns those of one learns nothing of another."""
    return hmac.digest(secret, purpose.encode(), "sha256")
