"""One seed: a company played through the service on a database of its own, its readouts, and what is true of it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from engine.core.account import State
from engine.core.policy import DAY_US
from engine.demo.company import Company
from engine.demo.fates import Fate, Truth, fate, formula, truth
from engine.demo.player import Played, play
from engine.operations.batch import Command
from engine.operations.decide import Answer, AskCommand
from engine.operations.decider import Decider
from engine.operations.readout import refresh
from engine.operations.readouts import Readouts
from engine.operations.resolve import ReleaseCommand
from engine.settings import Settings
from engine.store import embedded
from engine.store import experiments as records
from engine.store.snapshots import Snapshot
from experiments.readout import Readout
from tests.conftest import clean_database, migrated_template

_HESITATES: Final = 4  # of so many customers asked about, one has a message that is reserved first and then given back


class Read(NamedTuple):
    """A readout, and until when it watches: an instant counted from the company's first day."""

    readout: Readout
    until_us: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What Takt did and said of a company, and what arithmetic says. `truths`: by experiment and metric, for the
    customers who entered and were watched to the end of the window."""

    company: Company
    seed: int
    played: Played
    reads: Mapping[str, Read]
    fate: Fate
    truths: Mapping[str, Mapping[str, Truth]]


class Hesitant(Decider):
    """Asked for a company whose senders change their minds: now and then a message is reserved and given back at once.

    Nobody receives those, and they use no budget, so nothing else may come out differently.
    """

    async def settle_all(self, commands: Sequence[Command]) -> list[object]:
        drafts = [
            replace(each, message_id=f"{each.message_id}-draft")
            for each in commands[::_HESITATES]
            if isinstance(each, AskCommand) and each.message_id is not None
        ]
        answers = await super().settle_all(drafts) if drafts else []
        taken: list[Command] = [
            ReleaseCommand(draft.customer_id, str(draft.message_id))
            for draft, answer in zip(drafts, answers, strict=True)
            if isinstance(answer, Answer) and answer.state is State.RESERVED
        ]
        if taken:
            await super().settle_all(taken)
        return await super().settle_all(commands)


@contextmanager
def own_database(server: embedded.Server) -> Iterator[str]:
    """A migrated database of kind `test`, dropped at the end."""
    with clean_database(server, migrated_template(server)) as url:
        yield url


async def seen(url: str, company: Company, seed: int) -> Seen:
    """Play it all in this empty database."""
    decider = Hesitant(url, Settings(lanes=2))
    await decider.open()
    try:
        played = await play(decider, company, seed)
    finally:
        await decider.close()
    reads = await kept(url, played, [each.key for each in company.trials])
    truths = {key: truth(company, seed, key, played.stopped, each.until_us) for key, each in reads.items()}
    return Seen(company, seed, played, reads, fate(company, seed, formula(company), played.stopped), truths)


async def kept(url: str, played: Played, keys: Sequence[str]) -> dict[str, Read]:
    """The newest readouts, by experiment."""
    return {key: watched(played, key, each) for key, each in (await _newest(url, keys)).items()}


def watched(played: Played, key: str, snapshot: Snapshot) -> Read:
    """What was stopped is watched until then, whatever the readout says; what was not, until it was read."""
    until_us = snapshot.as_of_us - played.day_zero_us
    stopped = played.stopped.get(key, len(played.days))
    return Read(readout_in(snapshot), stopped * DAY_US if stopped < len(played.days) else until_us)


async def read_again(url: str, key: str) -> Snapshot:
    """The readout of one experiment, computed now and in this process."""
    decider = Decider(url, Settings(lanes=1))
    await decider.open()
    try:
        async with decider.database.connection() as connection:
            number = (await records.experiment(connection, key)).number
    finally:
        await decider.close()
    refresh(url, number)
    return (await _newest(url, [key]))[key]


async def _newest(url: str, keys: Sequence[str]) -> dict[str, Snapshot]:
    decider = Decider(url, Settings(lanes=1))
    await decider.open()
    try:
        readouts = Readouts(decider.database)
        return {key: (await readouts.newest(key)).snapshot for key in keys}
    finally:
        await decider.close()


def readout_in(snapshot: Snapshot) -> Readout:
    return Readout.from_json(json.dumps(snapshot.readout["readout"]))
