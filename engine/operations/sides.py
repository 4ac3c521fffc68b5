"""On which side of which holdouts a customer is read: what an erasure must keep, since a random id does not tell."""

from typing import Any, NamedTuple

from engine.core.policy import DAY_US
from engine.core.policy_reader import read_policy
from engine.operations.cohort_cut import cut_of
from engine.operations.plan_file import read_plan
from engine.operations.ship import readouts_us
from engine.store import cohorts, experiments, holdout_readouts, policies
from engine.store.database import Connection
from engine.store.erasing import Unit
from engine.store.experiments import Holdout


class Read(NamedTuple):
    """A customer as the readouts of an experiment's holdout have them."""

    experiment: int
    plan: dict[str, Any]
    unit: Unit


async def sides_of(connection: Connection, customer_id: str) -> list[Read]:
    """Of the holdouts that are still to be read, those in whose cohort a customer is."""
    found: list[Read] = []
    every = await holdout_readouts.holdouts(connection)
    for holdout in every:
        if holdout.experiment is None or await _is_over(connection, holdout, holdout.experiment):
            continue
        record = await experiments.numbered(connection, holdout.experiment)
        policy = read_policy((await policies.policy_version(connection, holdout.policy_version)).data)
        cut = cut_of(holdout, record.number, read_plan(record.plan), policy, every)
        unit = await cohorts.unit_of(connection, cut, customer_id)
        if unit is not None:
            found.append(Read(record.number, record.plan, unit))
    return found


async def _is_over(connection: Connection, holdout: Holdout, number: int) -> bool:
    """Whether all that was due of it has been read."""
    read = {each.day for each in await holdout_readouts.read_days(connection, number)}
    return all((at_us - holdout.from_us) // DAY_US in read for at_us in readouts_us(holdout))
