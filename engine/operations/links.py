"""Unsubscribe tokens, and the two headers that carry one: who has a token may unsubscribe its customer, nobody else.

AES-SIV (RFC 5297) with the purpose as associated data: a token can neither be read nor made nor changed without the
key, and is of no use for another purpose. It is the same for the same message, so that an answer that is given again
bears the same headers, and wants no random number that could ever come twice.
"""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from engine.core.account import State
from engine.core.origins import PACKED_MAX, PURPOSE, Origin, pack, unpack
from engine.core.policy import Channel, Purpose
from engine.operations.decide import Answer, AskCommand
from engine.operations.decider import Decider

TOKEN_MAX: Final = (PACKED_MAX + 16) * 4 // 3 + 4
POST_HEADER: Final = ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")  # RFC 8058, to the letter
_BOUND_TO: Final = [PURPOSE.encode()]


class Tokens:
    """Seals with the first of its keys, and opens what any of them sealed. A key has 256 bits."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = [AESSIV(key) for key in keys]

    def seal(self, origin: Origin) -> str | None:
        """The token, or None for a customer whose id is too long for a mail's header."""
        packed = pack(origin)
        if packed is None:
            return None
        return urlsafe_b64encode(self._ciphers[0].encrypt(packed, _BOUND_TO)).decode().rstrip("=")

    def open(self, token: str) -> Origin | None:
        """What a token says; None for anything that was not sealed here for this purpose, to the last character."""
        sealed = _bytes_of(token)
        if sealed is None:
            return None
        for cipher in self._ciphers:
            try:
                return unpack(cipher.decrypt(sealed, _BOUND_TO))
            except (InvalidTag, ValueError):
                continue
        return None


class Links:
    """The tokens of a deployment, and the address under which customers find them."""

    def __init__(self, tokens: Tokens, decider: Decider) -> None:
        self.tokens = tokens
        self.days = decider.settings.unsubscribe_days
        self._address = decider.settings.public_url
        self._rulebook = decider.rulebook

    @property
    def are_given(self) -> bool:
        """Whether answers carry headers: the deployment says where customers reach it."""
        return self._address is not None

    def headers(self, command: AskCommand, answer: Answer) -> Mapping[str, str] | None:
        """What to put into an e-mail that was reserved, unless its topic only serves. The same for the same message."""
        ask = command.ask
        if self._address is None or answer.state is not State.RESERVED or ask.channel != Channel.EMAIL:
            return None
        rules = self._rulebook.newest
        topic = rules and rules.topic(ask.topic)
        if topic and topic.purpose is Purpose.SERVE:
            return None
        origin = Origin(
            command.customer_id, ask.channel, ask.topic, ask.campaign, command.message_id, answer.decided_us
        )
        token = self.tokens.seal(origin)
        if token is None:
            return None
        return dict((("List-Unsubscribe", f"<{self._address}/u/{token}>"), POST_HEADER))


async def open_links(decider: Decider) -> Links:
    """The links of an open Decider. Tokens stay good when TAKT_SECRET is first set, and when it is changed once."""
    return Links(Tokens(await decider.keys(PURPOSE)), decider)


def event_id_of(token: str) -> str:
    """By which the one click of a token is one event, however often it comes."""
    return "one-click:" + hashlib.sha256(token.encode()).hexdigest()[:32]


def _bytes_of(token: str) -> bytes | None:
    """Only what `urlsafe_b64encode` writes: whoever adds or changes a character has another token."""
    if len(token) > TOKEN_MAX or not token.isascii():
        return None
    try:
        data = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (NotBase64, ValueError):
        return None
    return data if urlsafe_b64encode(data).decode().rstrip("=") == token else None
