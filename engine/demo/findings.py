"""What there is to see in the demo: what its experiments found, and whom it is worth asking about."""

import json
from typing import NamedTuple

from engine.operations import experiments
from engine.operations.readouts import Readouts
from engine.store import demo as store
from engine.store.database import Database
from experiments.readout import Readout
from experiments.reporting.sentences import headline


class Finding(NamedTuple):
    """One experiment, and a sentence for each of its treatments."""

    key: str
    state: str
    sentences: tuple[str, ...]


class Sights(NamedTuple):
    """`someone`: a customer with much to tell."""

    customers: int
    since_us: int
    findings: list[Finding]
    someone: str


async def look_around(database: Database) -> Sights:
    """Read from what is kept; nothing is computed."""
    readouts = Readouts(database)
    found: list[Finding] = []
    for record in reversed(await experiments.listed(database)):
        kept = await readouts.newest(record.key)
        readout = Readout.from_json(json.dumps(kept.snapshot.readout["readout"]))
        sentences = tuple(headline(readout, each) for each in readout.verdicts)
        found.append(Finding(record.key, record.state, sentences))
    async with database.connection() as connection:
        customers, since_us = await store.extent(connection)
        return Sights(customers, since_us, found, await store.busiest_customer(connection))
