"""What requests name, on its way to labels: there is no end to names, and an end to labels.

For what the policy in force names there is always room. Where there is none for the rest, an ask is refused; whatever
did happen (an unsubscribe, a complaint, a send) is taken, and only loses the name that is one too many. An ask that is
denied for its topic takes no labels: who makes topics up would fill them for everybody.
"""

from collections.abc import Collection, Iterable

from engine.core.errors import Unavailable
from engine.core.policy import Policy
from engine.core.rules import Rules
from engine.operations.batch import Command
from engine.operations.rulebook import Rulebook
from engine.store.database import Connection, Database
from engine.store.labels import Labels
from engine.store.policies import newest_number


async def admit(
    database: Database, labels: Labels, rulebook: Rulebook, names: Collection[str | None]
) -> frozenset[str]:
    """See to it that these have a label; returns those for which there is no room."""
    unnamed = await labels.admit(names)
    if unnamed:
        async with database.connection() as connection:
            policy = (await rules_in_force(connection, rulebook)).policy
        await labels.intern(unnamed & names_of(policy))
    return frozenset(labels.missing(unnamed))


async def named(
    database: Database, labels: Labels, rulebook: Rulebook, commands: Iterable[Command]
) -> list[Command | None]:
    """The commands as they can be kept; None for one that would have to name what there is no room for."""
    listed = list(commands)
    missing = labels.missing(_names(listed))
    if not missing:
        return list[Command | None](listed)
    async with database.connection() as connection:
        rules = await rules_in_force(connection, rulebook)
    listed = [each.as_declared(rules, missing) for each in listed]
    unnamed = await admit(database, labels, rulebook, _names(listed))
    return [each if unnamed.isdisjoint(each.labels()) else each.without(unnamed) for each in listed]


async def rules_in_force(connection: Connection, rulebook: Rulebook) -> Rules:
    """The rules in force; raises `Unavailable` where there are none."""
    number = await newest_number(connection)
    if number is None:
        raise Unavailable("no policy is active: `takt policy activate considerate`")
    return await rulebook.rules(connection, number)


def names_of(policy: Policy) -> set[str]:
    """The topics, campaigns, teams and types of events that a policy names."""
    found = set(policy.topics)
    for each in (*policy.budgets, *policy.quiet_hours, *policy.pauses):
        selector = each.selector
        found.update(*(names for names in (selector.topics, selector.campaigns, selector.teams) if names))
    for pause in policy.pauses:
        found |= {pause.from_event, pause.until_event}
    return found


def _names(commands: Iterable[Command]) -> set[str | None]:
    return set[str | None]().union(*[each.labels() for each in commands])
