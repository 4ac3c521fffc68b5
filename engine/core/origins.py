"""What an unsubscribe token says: whose message it came with, and which. As bytes, before they are sealed.

Nothing here is secret or checked for its author: that is `operations.links`' business.
"""

from typing import Final, NamedTuple

from engine.core.policy import DAY_US, Channel
from engine.core.suppression import Scope

PURPOSE: Final = "unsubscribe"
# With the longest address a header's line stays under the 998 characters that RFC 5322 allows.
PACKED_MAX: Final = 480
_FORM: Final = 1
_SECOND_US: Final = 1_000_000
_CHANNELS: Final = tuple(channel.value for channel in Channel)  # by its place: new ones are added at the end
_HEADS: Final = {channel: bytes((_FORM, place)) for place, channel in enumerate(_CHANNELS)}
_HEAD: Final = 7


class Origin(NamedTuple):
    """The message that a customer answers to. `issued_us`: when it was allowed, in whole seconds.

    Without a topic it speaks for its whole channel. `campaign` and `message_id` only tell where an answer came from.
    """

    customer_id: str
    channel: str
    topic: str | None
    campaign: str | None
    message_id: str | None
    issued_us: int

    @property
    def scope(self) -> Scope:
        """What one click leaves: the message's topic in its channel, which is what a mail program calls a list."""
        return Scope(self.channel, self.topic)

    def has_expired(self, now_us: int, days: int) -> bool:
        return now_us >= self.issued_us + days * DAY_US


def pack(origin: Origin) -> bytes | None:
    """The origin as at most `PACKED_MAX` bytes, which are the same for the same origin.

    What would make it too long is left out: the message, then the campaign, then the topic, so that the customer then
    leaves the channel. None where the customer's id alone is too long.
    """
    packed = _packed(origin)
    if len(packed) <= PACKED_MAX:
        return packed
    for shorter in (
        origin._replace(message_id=None),
        origin._replace(message_id=None, campaign=None),
        origin._replace(message_id=None, campaign=None, topic=None),
    ):
        packed = _packed(shorter)
        if len(packed) <= PACKED_MAX:
            return packed
    return None


def unpack(packed: bytes) -> Origin:
    """What `pack` made these bytes of; raises `ValueError` for any others."""
    if len(packed) < _HEAD or packed[0] != _FORM or packed[1] >= len(_CHANNELS):
        raise ValueError("no origin of a form that is known")
    texts: list[str | None] = []
    at = _HEAD
    while at < len(packed):
        length = int.from_bytes(packed[at : at + 2])
        text = packed[at + 2 : at + 2 + length]
        if len(text) < length:
            raise ValueError("an origin that was cut off")
        texts.append(text.decode() or None)
        at += 2 + length
    customer_id, topic, campaign, message_id = texts
    if customer_id is None:
        raise ValueError("an origin without a customer")
    issued_us = int.from_bytes(packed[2:_HEAD]) * _SECOND_US
    return Origin(customer_id, _CHANNELS[packed[1]], topic, campaign, message_id, issued_us)


def _packed(origin: Origin) -> bytes:
    texts = [b"" if each is None else each.encode() for each in (origin[0], *origin[2:5])]
    lengths = [len(each).to_bytes(2) for each in texts]
    head = _HEADS[origin.channel] + (origin.issued_us // _SECOND_US).to_bytes(5)
    return b"".join((head, *(each for pair in zip(lengths, texts, strict=True) for each in pair)))
