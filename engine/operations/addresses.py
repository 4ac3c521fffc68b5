"""Addresses on their way to a keyed hash, and what is filed about a customer's.

An address is hashed where it enters and goes no further: not into the database, not into a log. The key is a secret of
the deployment, so that nobody can try addresses against a copy of the database.
"""

import hmac
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from engine.core.customer import Address
from engine.core.policy import Channel
from engine.core.suppression import Suppression, heard, joined
from engine.operations.batch import Batch, Held
from engine.operations.file import FileCommand, Filed, PutCustomer, suppressions_data
from engine.store.addresses import Link
from engine.store.customers import addresses_data
from engine.store.journal import Change

PURPOSE: Final = "addresses"  # of the secret that keys the hash
_DIGEST_BYTES: Final = 16
_NUMBERS: Final = (Channel.SMS, Channel.PHONE)
_BETWEEN_DIGITS: Final = str.maketrans("", "", " \t-./()\u00a0")
_DIGITS_MIN: Final = 3


class NoAddress(ValueError):
    """Raised where a text cannot be an address of its channel; the message says what one looks like."""


def hashed(key: bytes, channel: Channel, text: str) -> Address:
    """The address as it may be kept. Ways to write the same one give the same hash; raises `NoAddress`."""
    data = f"{channel.value}\n{normalised(channel, text)}".encode()
    return Address(channel.value, hmac.digest(key, data, "sha256")[:_DIGEST_BYTES].hex())


def normalised(channel: Channel, text: str) -> str:
    """The one way of writing an address; raises `NoAddress`."""
    text = unicodedata.normalize("NFC", text).strip()
    if channel is Channel.EMAIL:
        name, at, domain = text.lower().rpartition("@")
        if not (name and at and domain) or " " in text:
            raise NoAddress("an address such as ada@example.com")
        return f"{name}@{domain}"
    if channel in _NUMBERS:
        number = text.translate(_BETWEEN_DIGITS)
        number = f"+{number[2:]}" if number.startswith("00") else number
        if not (number.removeprefix("+").isdecimal() and len(number) > _DIGITS_MIN):
            raise NoAddress("a number such as +49 30 123456")
        return number
    if not text:
        raise NoAddress("something else than spaces")
    return text


@dataclass(frozen=True, slots=True)
class PutReachable(FileCommand):
    """A `PutCustomer` that says where the customer is reached, and what is known of these addresses."""

    put: PutCustomer
    addresses: tuple[Address, ...]
    facts: tuple[Suppression, ...] = ()

    def apply(self, batch: Batch, held: Held) -> Filed:
        filed = self.put.apply(batch, held)
        was, now = set(held.customer.addresses), set(self.addresses)
        revoked = 0
        if was != now:
            customer = replace(held.customer, addresses=tuple(sorted(now)))
            revoked = batch.refile(held, Change.ADDRESSES, customer, addresses_data(customer.addresses))
            batch.unlinked += [Link(held.customer_id, each) for each in was - now]
            batch.linked += [Link(held.customer_id, each) for each in now - was]
        told = _tell(batch, held, self.facts)
        changed = filed.changed or was != now or told is not None
        return Filed(held.customer_id, held.customer, changed, filed.revoked + revoked + (told or 0), held.now_us)


@dataclass(frozen=True, slots=True)
class TellFacts(FileCommand):
    """What became known of an address that a customer has."""

    facts: tuple[Suppression, ...]

    def apply(self, batch: Batch, held: Held) -> Filed:
        told = _tell(batch, held, self.facts)
        return Filed(held.customer_id, held.customer, told is not None, told or 0, held.now_us)


def _tell(batch: Batch, held: Held, facts: Iterable[Suppression]) -> int | None:
    """The open leases that it ended; None where nothing was news."""
    known = held.customer.suppressions
    told_us, facts = {each.key: each.at_us for each in known}, tuple(facts)
    news = [each for each in facts if each.at_us > told_us.get(each.key, 0)]
    suppressions = joined(known, (*facts, *heard(news, known, held.clock_us)))
    if suppressions == known:
        return None
    customer = replace(held.customer, suppressions=suppressions)
    return batch.refile(held, Change.SUPPRESSIONS, customer, suppressions_data(customer))
