"""A customer's contacts while the journal is told again: all that a window may still reach, and totals of the rest.

Made apart from `core.account` on purpose: what an account lets go, and when, is among the things to be verified. This
forgets nothing that any ruleset of the customer's journal can reach, so it needs no recall.
"""

from collections.abc import Mapping

from engine.core.account import LINGER_US, Account, Contact

_FEW = 64


class Holdings:
    """`longest_us` is the longest window of all rulesets that the customer was ever decided by, `totals` are those of
    contacts that the journal does not tell of any more."""

    def __init__(self, longest_us: int, totals: Mapping[tuple[str, str], int]) -> None:
        self._reach_us = longest_us + LINGER_US
        self._contacts: dict[int, Contact] = {}
        self._totals = dict(totals)
        self._many = _FEW

    def put(self, contact: Contact) -> None:
        self._contacts[contact.seq] = contact

    def resolve(self, seq: int, contact: Contact | None) -> None:
        """What a contact has become; None where it occupies nothing any more."""
        self._contacts.pop(seq, None)
        if contact is not None:
            self.put(contact)

    def open(self, now_us: int) -> list[Contact]:
        """The leases open at an instant."""
        return [each for each in self._contacts.values() if each.is_open(now_us)]

    def account(self, now_us: int) -> Account:
        """The account that a decision at this instant is made of. Instants never fall from one call to the next."""
        if len(self._contacts) > self._many:
            self._let_go(now_us)
            self._many = max(_FEW, 2 * len(self._contacts))
        return Account(contacts=list(self._contacts.values()), totals=self._totals)

    def _let_go(self, now_us: int) -> None:
        kept: dict[int, Contact] = {}
        for seq, each in self._contacts.items():
            if each.end_us > now_us:
                kept[seq] = each
            elif each.has_expired(now_us) or not each.matters:
                continue
            elif each.end_us > now_us - self._reach_us:
                kept[seq] = each
            elif each.counts:
                key = each.channel, each.topic
                self._totals[key] = self._totals.get(key, 0) + each.weight
        self._contacts = kept
