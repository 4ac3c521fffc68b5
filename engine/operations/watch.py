"""Watching experiments: a readout of each that runs, a last one of each that ended, and what is done about harm.

An experiment raises one alarm in its life for each variant that harms, and one for each check that finds its shares
wrong: none is spent by another. With `on_harm: stop` it is stopped, too, by "takt". The alarm is written first: a
process that dies between the two stops it the next hour. What was shipped is watched by its holdout: a readout that
speaks against it raises an alarm.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from engine.core.errors import Conflict, TaktError, Unavailable
from engine.core.policy import DAY_US
from engine.core.windows import tzdata_version
from engine.operations import experiments
from engine.operations.experiments import By, OnHarm
from engine.operations.readouts import Kept, Readouts
from engine.store import alarms, holdouts, policies
from engine.store import experiments as store
from engine.store.database import Database, clock_us

_AUTHOR: Final = "takt"
# The checks that make a readout invalid; and of these, those that may be read every hour and are wrong no more often.
# By their names in a readout's JSON: to read one needs no statistics.
INVALIDATING: Final = frozenset({"srm", "srm_phase", "srm_sequential", "leak"})
ANY_TIME: Final = frozenset({"srm_sequential", "leak"})
STOP: Final = "stop"
LAST_FOR_US: Final = 28 * DAY_US
AGAINST: Final = frozenset({STOP, "do_not_ship"})

log = logging.getLogger("takt.watch")


class Harm(NamedTuple):
    """Something that speaks against going on; `about` is the variant, or the check and where it looked.

    `is_certain`: however often one looked, so it may stop an experiment.
    """

    kind: str
    about: str
    sentence: str
    is_certain: bool


async def read_all(database: Database) -> str:
    """A new readout of every experiment that runs, and the last of each that has ended since its newest; each looked
    at. One that fails keeps no other from being read, and what has ended is tried for `LAST_FOR_US`."""
    async with database.connection() as connection:
        running = await store.running(connection)
        ended = await store.ended_unread(connection, await clock_us(connection) - LAST_FOR_US)
    readouts = Readouts(database)
    failed: list[str] = []
    harmful: list[str] = []
    for record in (*running, *ended):
        try:
            if await act(database, await readouts.refresh(record.key)):
                harmful.append(record.key)
        except Conflict as error:  # it ended meanwhile, or its plan cannot be read here
            failed.append(f"{record.key}: {error}")
        except TaktError as error:
            log.warning("the readout of an experiment failed", exc_info=True)
            failed.append(f"{record.key}: {error}")
    said = f"{len(running) + len(ended)} read" + (f"; harmful: {', '.join(harmful)}" if harmful else "")
    if failed:
        raise Unavailable(f"{said}; {'; '.join(failed)}")
    return said


async def read_holdouts(database: Database) -> str:
    """The readouts of holdouts that are due, each once, however late. One that fails keeps no other from being read."""
    readouts = Readouts(database)
    due, failed, harmful = await readouts.due_held(), list[str](), list[str]()
    for each in due:
        name = f"{each.record.key} after {each.day} days"
        try:
            kept = await readouts.refresh_held(each.record.key, each.day)
        except TaktError as error:
            log.warning("the readout of a holdout failed", exc_info=True)
            failed.append(f"{name}: {error}")
            continue
        if kept.snapshot.call in AGAINST:
            harmful.append(name)
            because = kept.snapshot.readout["readout"]["verdicts"][0]["because"]
            data = {"experiment": each.record.key, "day": each.day, "call": kept.snapshot.call, "because": because}
            async with database.transaction() as connection:
                await alarms.add(connection, "holdout.against", f"{each.record.key}:{each.day}", data)
    said = f"{len(due) - len(failed)} read" + (f"; against the ship: {', '.join(harmful)}" if harmful else "")
    if failed:
        raise Unavailable(f"{said}; {'; '.join(failed)}")
    return said


async def keep_holdouts(database: Database) -> str:
    """Read what is due, and end what is over. A readout that fails keeps no holdout from ending."""
    try:
        read = await read_holdouts(database)
    finally:
        ended = await end_holdouts(database)
    return f"{read}; {ended}"


async def act(database: Database, kept: Kept) -> bool:
    """Tell of all that a readout says against its experiment, each once, and stop it where that was wanted.

    Returns whether anything spoke against it.
    """
    found = list(harms(kept.snapshot.readout["readout"]))
    record = kept.record
    may_stop = record.on_harm == OnHarm.STOP and record.state == experiments.State.RUNNING
    for harm in found:
        stops = may_stop and harm.is_certain
        data = {"experiment": record.key, "because": [harm.sentence], "stops": stops}
        async with database.transaction() as connection:
            await alarms.add(connection, harm.kind, f"{record.key}:{harm.about}", data)
    certain = [each for each in found if each.is_certain]
    if certain and may_stop:
        note = " ".join(each.sentence for each in certain)
        try:
            await experiments.stop(database, record.key, By(_AUTHOR, note))
        except Conflict:  # somebody was quicker
            log.warning("a harmful experiment was ended already")
    return bool(found)


def harms(readout: Mapping[str, Any]) -> Iterator[Harm]:
    """What a readout's JSON says against going on."""
    for each in readout["checks"]:
        if each["is_alarm"] and each["code"] in INVALIDATING:
            about = ":".join(filter(None, (each["code"], each["where"])))
            yield Harm("experiment.invalid", about, each["sentence"], each["code"] in ANY_TIME)
    for each in readout["verdicts"]:
        if each["call"] == STOP:
            sentence = f"Stop {each['variant']}: {', '.join(each['because'])}."
            yield Harm("experiment.stop", each["variant"], sentence, True)


async def end_holdouts(database: Database) -> str:
    """Take holdouts whose time is over out of the rules. Decisions have passed them by since their last instant."""
    async with database.transaction() as connection:
        await policies.lock_activation(connection)
        now_us = await clock_us(connection)
        ended = await holdouts.end(connection, now_us)
        newest = await policies.newest_ruleset(connection)
        over = [] if newest is None else [each["name"] for each in newest.holdouts if each["until_us"] <= now_us]
        if newest is not None and over:
            kept = [each for each in newest.holdouts if each["until_us"] > now_us]
            await policies.add_ruleset(connection, tzdata_version(), _AUTHOR, holdouts=kept)
        for name in ended:
            await alarms.add(connection, "holdout.ended", name, {})
    return f"{len(ended)} ended"
