"""Tokens (invariant 12): none that was not sealed here is accepted, and none can be read.

`make chaos` tries a million (`TAKT_TOKENS`); the gate a hundred thousand.
"""

import os
import random
import string
from base64 import urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from engine.core.origins import Origin, pack
from engine.core.tokens import derived
from engine.operations.links import TOKEN_MAX, Tokens, event_id_of

TRIES = int(os.environ.get("TAKT_TOKENS", "100000"))
KEY = derived(b"a secret of a deployment, long enough", "unsubscribe")
ORIGIN = Origin("ada@example.com", "email", "newsletter", "autumn", "m-1", 1_790_000_000_000_000)
ALPHABET = string.ascii_letters + string.digits + "-_"


def sealed(origin: Origin = ORIGIN, key: bytes = KEY) -> str:
    token = Tokens([key]).seal(origin)
    assert token is not None
    return token


def test_no_altered_or_forged_token_is_accepted() -> None:
    tokens, chance = Tokens([KEY]), random.Random(12)  # noqa: S311 (to be repeated, not to be kept secret)
    known = [sealed(ORIGIN._replace(customer_id=f"c-{number}", message_id=f"m-{number}")) for number in range(50)]
    accepted = [each for each in _forged(known, chance) if tokens.open(each) is not None]
    assert accepted == []
    assert all(tokens.open(each) for each in known), "and what is good is"


def _forged(known: list[str], chance: random.Random) -> list[str]:
    """Tokens as somebody makes them who has seen fifty good ones."""
    found: list[str] = []
    while len(found) < TRIES:
        one, other = chance.choice(known), chance.choice(known)
        place = chance.randrange(len(one))
        made = (
            one[:place] + chance.choice(ALPHABET) + one[place + 1 :],  # another character
            one[:place] + other[place:],  # two halves
            one[:place],  # cut off
            one[:place] + one[place + 1 :],
            one[:place] + chance.choice(ALPHABET) + one[place:],
            one + chance.choice(ALPHABET + "=.~"),
            "".join(chance.choices(ALPHABET, k=len(one))),  # made up
            one[place:] + one[:place],
            one[:22] + other[22:],  # the synthetic nonce of one, the text of another
            urlsafe_b64encode(chance.randbytes(chance.randrange(200))).decode().rstrip("="),
        )
        found += [each for each in made if each not in known]
    return found[:TRIES]


@pytest.mark.parametrize(
    "token", ["", "=", "A", "AA", "A" * 22, "A" * TOKEN_MAX, "A" * 10**6, "é" * 40, "\0", "/+/+", "🦊"]
)
def test_what_is_no_token_is_none(token: str) -> None:
    assert Tokens([KEY]).open(token) is None


def test_a_token_has_one_spelling() -> None:
    """The last character of some lengths has bits that nobody reads: another there is another token."""
    tokens = Tokens([KEY])
    for length in range(1, 40):
        good = sealed(ORIGIN._replace(message_id="x" * length))
        spelt = {good[:-1] + each for each in ALPHABET} | {good + "=", good + "\n", " " + good, good.replace("_", "/")}
        assert {each for each in spelt if tokens.open(each)} == {good}


def test_a_token_shows_nothing_of_what_it_says() -> None:
    token = sealed()
    for text in ("ada", "example", "newsletter", "autumn", "m-1"):
        for offset in range(3):
            encoded = urlsafe_b64encode(b"\0" * offset + text.encode()).decode()[4 if offset else 0 : -4]
            assert len(encoded) < 3 or encoded not in token


def test_a_token_of_another_purpose_or_another_key_is_none() -> None:
    packed = pack(ORIGIN)
    assert packed is not None
    for purpose in ([b"export"], [], [b"unsubscribe", b""], [b"unsubscribe "]):
        other = urlsafe_b64encode(AESSIV(KEY).encrypt(packed, purpose)).decode().rstrip("=")
        assert Tokens([KEY]).open(other) is None
    assert Tokens([KEY]).open(sealed(key=derived(b"a secret of a deployment, long enough", "addresses"))) is None


def test_what_was_sealed_with_an_earlier_key_stays_good() -> None:
    new, old = derived(b"new", "unsubscribe"), KEY
    both = Tokens([new, old])
    assert both.open(sealed()) == ORIGIN
    assert both.seal(ORIGIN) == Tokens([new]).seal(ORIGIN)
    assert Tokens([new]).open(sealed()) is None


def test_the_same_message_has_the_same_token_and_another_another() -> None:
    assert sealed() == sealed()
    others = {
        sealed(each)
        for each in (
            ORIGIN._replace(customer_id="bob"),
            ORIGIN._replace(channel="push"),
            ORIGIN._replace(topic="news"),
            ORIGIN._replace(campaign=None),
            ORIGIN._replace(message_id="m-2"),
            ORIGIN._replace(issued_us=ORIGIN.issued_us + 1_000_000),
            ORIGIN._replace(topic="newsletterautumn", campaign=None),
        )
    }
    assert len(others | {sealed()}) == 8
    assert len({event_id_of(each) for each in others}) == 7
