"""People at the pages: a key becomes a session, which a browser keeps and cannot read.

A session is sealed (AES-SIV, RFC 5297) and holds the digest of its key, never the key; each request looks that up
again, so that a revoked key ends its sessions within a second. It is over after `SESSION_S`, whatever is done with it.
A link signs in whoever follows it first, without a key to type.
"""

import hmac
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from engine.core.errors import Unauthenticated
from engine.core.tokens import derived, digest
from engine.operations.decider import Decider
from engine.store import sign_in_links
from engine.store.database import Database

PURPOSE: Final = "sessions"
SESSION_S: Final = 12 * 3600
LINK_S: Final = 600
_BOUND_TO: Final = [PURPOSE.encode()]
_FORM: Final = struct.Struct(">B32sQ16s")  # its version, the key's digest, when it began, what makes it the only one
_VERSION: Final = 1
_LONGEST: Final = 200


class Session(NamedTuple):
    """`csrf`: what a form of this session must bear, and nobody else's page can know. `mark_key`, which no page shows:
    with it Takt marks what it said to this session, to know it again."""

    key_digest: bytes
    began_s: int
    csrf: str
    mark_key: bytes

    def has_expired(self, now_s: int) -> bool:
        return not 0 <= now_s - self.began_s < SESSION_S

    def wrote(self, csrf: str) -> bool:
        """Whether a form with this token came from a page of the session."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode(errors="surrogatepass"))

    def mark(self, *words: str) -> str:
        """What stands beside these words, in this order, where Takt said them to this session, and nowhere else."""
        each = [word.encode(errors="surrogatepass") for word in words]
        return hmac.digest(self.mark_key, b"".join(struct.pack(">I", len(it)) + it for it in each), "sha256").hex()

    def said(self, mark: str, *words: str) -> bool:
        """Whether Takt said them to this session."""
        return hmac.compare_digest(self.mark(*words).encode(), mark.encode(errors="surrogatepass"))


class Sessions:
    """Seals with the first of its keys, and opens what any of them sealed."""

    def __init__(self, own_keys: Sequence[bytes]) -> None:
        self._ciphers = [AESSIV(key) for key in own_keys]
        self._csrf_keys = [derived(key, "csrf") for key in own_keys]
        self._mark_keys = [derived(key, "marks") for key in own_keys]

    def begin(self, key_digest: bytes, now_s: int) -> str:
        """A new session, as a cookie can carry it."""
        packed = _FORM.pack(_VERSION, key_digest, now_s, secrets.token_bytes(16))
        return urlsafe_b64encode(self._ciphers[0].encrypt(packed, _BOUND_TO)).decode().rstrip("=")

    def open(self, cookie: str) -> Session | None:
        """What was sealed here; None for anything else."""
        if len(cookie) > _LONGEST or not cookie.isascii():
            return None
        try:
            sealed = urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4))
        except (NotBase64, ValueError):
            return None
        for cipher, csrf_key, mark_key in zip(self._ciphers, self._csrf_keys, self._mark_keys, strict=True):
            try:
                version, key_digest, began_s, _ = _FORM.unpack(cipher.decrypt(sealed, _BOUND_TO))
            except (InvalidTag, ValueError, struct.error):
                continue
            if version == _VERSION:
                csrf = hmac.digest(csrf_key, sealed, "sha256").hex()
                return Session(key_digest, began_s, csrf, hmac.digest(mark_key, sealed, "sha256"))
        return None


async def open_sessions(decider: Decider) -> Sessions:
    """The sessions of an open Decider, the same in every process."""
    return Sessions(await decider.keys(PURPOSE))


async def make_link(database: Database, secret: str) -> str:
    """The code of a link that signs in with this key: once, within `LINK_S`. Raises `Unauthenticated`."""
    code = secrets.token_urlsafe(24)
    async with database.transaction() as connection:
        if not await sign_in_links.add(connection, digest(code), digest(secret), LINK_S * 1_000_000):
            raise Unauthenticated("this key is unknown, expired or revoked")
    return code


async def follow_link(database: Database, code: str) -> bytes | None:
    """The digest of the key that a link signs in with; None where it was followed before, is over, or never was."""
    async with database.transaction() as connection:
        return await sign_in_links.take(connection, digest(code))
