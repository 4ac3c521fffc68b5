"""What is on file of two customers who turn out to be one person: the strictest of what forbids, and the newest.

What was in force of either is in force of both: a lift that the one had does not end the other's older no.
Where both say something of the same and neither is stricter nor newer, the one who goes on being known speaks. Of
consents a withdrawal outranks each yes of the other that lies ahead of the clock.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from engine.core import soft_bounces
from engine.core.customer import Customer, Membership, Preference
from engine.core.policy import Policy
from engine.core.suppression import Consent, Scope, joined, objected, upheld


def united(one: Customer, other: Customer, policy: Policy, clock_us: int) -> Customer:
    """`one`, who goes on being known, with what is on file of `other`."""
    outcomes = one.outcomes.united(other.outcomes)
    addresses = tuple(sorted({*one.addresses, *other.addresses}))
    facts = joined(one.suppressions, other.suppressions)
    consents = [objected(each, other.consents, clock_us) for each in one.consents]
    consents += [objected(each, one.consents, clock_us) for each in other.consents]
    soft = soft_bounces.facts(outcomes.soft_bounces, policy.soft_bounces)
    return Customer(
        time_zone=one.time_zone or other.time_zone,
        attributes=MappingProxyType({**other.attributes, **one.attributes}),
        consents=_newest(consents),
        suppressions=joined(upheld(facts, (*one.in_force, *other.in_force), addresses), soft),
        preferences=_strictest((*one.preferences, *other.preferences)),
        outcomes=outcomes,
        addresses=addresses,
        variants=MappingProxyType(_memberships(one.variants, other.variants)),
    )


def _newest(consents: Iterable[Consent]) -> tuple[Consent, ...]:
    """Of each scope the newest; of two that bear the same instant, the withdrawal."""
    found: dict[Scope, Consent] = {}
    for each in consents:
        was = found.get(each.scope)
        if was is None or (each.at_us, not each.given) > (was.at_us, not was.given):
            found[each.scope] = each
    return tuple(found.values())


def _strictest(preferences: Iterable[Preference]) -> tuple[Preference, ...]:
    found: dict[tuple[str | None, str | None], Preference] = {}
    for each in preferences:
        key = each.channel, each.topic
        was = found.get(key)
        if was is None or was.limit is None or (each.limit is not None and each.limit < was.limit):
            found[key] = each
    return tuple(found.values())


def _memberships(one: Mapping[int, Membership], other: Mapping[int, Membership]) -> dict[int, Membership]:
    """Of an experiment in which both are, `one`'s variant, and the later stage."""
    found = dict(other)
    for number, each in one.items():
        found[number] = each._replace(stage=max(each.stage, other[number].stage)) if number in other else each
    return found
