"""Those who were erased: known by a keyed digest of their id, asked about and never contacted, kept nothing of.

A keyed digest can be compared by who has the key, and tells nobody else whom it stands for.
"""

import hmac
from dataclasses import replace
from typing import Final

from engine.core.customer import UNKNOWN, Customer
from engine.core.errors import Erased
from engine.core.suppression import Scope, Suppression, SuppressionReason
from engine.core.treatments import NOTHING_SHOWN
from engine.operations.addresses import TellFacts
from engine.operations.assign import Assigned
from engine.operations.batch import Batch, Command, Held
from engine.operations.choices import Choose, Leave, LookAtChoices
from engine.operations.decide import Answer, AskCommand
from engine.operations.file import Filed, Lift

PURPOSE: Final = "erasures"  # of the secret that keys the digests
_FACT: Final = Suppression(Scope(), SuppressionReason.ERASURE, 1, "takt", binds_exempt=True)
ERASED: Final = Customer(suppressions=(_FACT,))


class Erasures:
    """Digests of customer ids: made with the first key, found under any. A key has 256 bits."""

    def __init__(self, *keys: bytes) -> None:
        self.keys = keys

    def digest(self, customer_id: str) -> bytes:
        return self.digests(customer_id)[0]

    def digests(self, customer_id: str) -> list[bytes]:
        data = customer_id.encode()
        return [hmac.digest(key, data, "sha256") for key in self.keys]


def answer(batch: Batch, held: Held, command: Command, erasures: Erasures) -> object:
    """What a command about somebody who was erased is answered: nothing of it is kept.

    An ask is denied. Lifting the suppression of everything lets the person be known again, as somebody new.
    """
    match command:
        case AskCommand():
            return looked(command.peek(batch.rules, held))
        case LookAtChoices() | Leave() | Choose():
            return command.apply(batch, held)  # which know of erasures, and change nothing
        case TellFacts():
            return Filed(held.customer_id, held.customer, False, 0, held.now_us)
        case Lift(scope=Scope(None, None)):
            batch.readmitted += erasures.digests(held.customer_id)
            held.readmit()
            return Filed(held.customer_id, UNKNOWN, True, 0, held.now_us)
        case _:
            return refused(held.customer_id)


def looked(answered: object) -> object:
    """What a command that leaves no trace has answered, of somebody who is in no experiment any more."""
    match answered:
        case Answer():
            return answered._replace(variants=NOTHING_SHOWN)
        case Assigned():
            raise refused(answered.customer_id)
        case _:
            return answered


def refused(customer_id: str) -> Erased:
    return Erased(
        f"customer {customer_id!r} was erased: nothing is kept of them. If they are back, lift the suppression of all"
        " channels and topics"
    )


def address_fact(at_us: int) -> Suppression:
    """What an erasure says of an address, as of an instant."""
    return replace(_FACT, at_us=at_us)
