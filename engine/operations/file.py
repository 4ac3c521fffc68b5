"""What is on file about a customer: profile, suppressions, preferences. Each change is a journal entry too."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from engine.core.account import LINGER_US
from engine.core.choices import event_of, limits_moved
from engine.core.customer import Customer, Preference
from engine.core.errors import Invalid, Problem
from engine.core.events import TAKT_SOURCE, Event, EventType
from engine.core.policy import Scalar
from engine.core.rules import Rules
from engine.core.suppression import (
    YES_AHEAD_US,
    Consent,
    Scope,
    Suppression,
    SuppressionReason,
    joined,
    settled,
    standing,
)
from engine.operations.batch import Batch, Held, Plain
from engine.store.customers import consent_data, outcomes_data, preference_data, suppression_data
from engine.store.journal import Change


class Filed(NamedTuple):
    """What a change left on file. `revoked` is the number of open leases it ended."""

    customer_id: str
    customer: Customer
    changed: bool
    revoked: int
    at_us: int


_OUTCOMES: Final[Mapping[SuppressionReason, EventType]] = {
    SuppressionReason.UNSUBSCRIBE: EventType.UNSUBSCRIBED,
    SuppressionReason.COMPLAINT: EventType.COMPLAINED,
}


class Unset:
    """The value of a field that was not given: what is on file stays."""


UNSET = Unset()


@dataclass(frozen=True, slots=True)
class FileCommand(Plain):
    """A change of what is on file about one customer."""

    customer_id: str

    def needs_since_us(self, rules: Rules, held: Held) -> int:
        """All that any window reaches: an ask behind this in one transaction may look further back because of it."""
        return held.now_us - rules.longest_us - LINGER_US


@dataclass(frozen=True, slots=True)
class PutCustomer(FileCommand):
    """Replaces those of time zone, attributes and consents that are given, and leaves the others.

    A consent that was withdrawn ends the open leases in its scope. Raises `Invalid` for a yes that lies ahead.
    """

    time_zone: str | Unset | None = UNSET
    attributes: Mapping[str, Scalar] | Unset = UNSET
    consents: tuple[Consent, ...] | Unset = UNSET

    def apply(self, batch: Batch, held: Held) -> Filed:
        was = held.customer
        if not isinstance(self.consents, Unset):
            _check_ahead(self.consents, held.clock_us)
        customer = replace(
            was,
            time_zone=was.time_zone if isinstance(self.time_zone, Unset) else self.time_zone,
            attributes=was.attributes if isinstance(self.attributes, Unset) else self.attributes,
            consents=was.consents if isinstance(self.consents, Unset) else self.consents,
        )
        changed = customer != was
        revoked = batch.refile(held, Change.PROFILE, customer, profile_data(customer)) if changed else 0
        return Filed(held.customer_id, customer, changed, revoked, held.now_us)


@dataclass(frozen=True, slots=True)
class Suppress(FileCommand):
    """Forbids contacts in a scope from now on, and revokes the open leases in it, in one transaction.

    Whatever lifted it before: told in so many words, it holds. `changed`: it was not in force already. A change that
    an event could have told is an outcome, as if it had.
    """

    suppression: Suppression

    def apply(self, batch: Batch, held: Held) -> Filed:
        given = self.suppression
        was = next((each for each in held.customer.suppressions if each.key == given.key), None)
        held_before = was is not None and was in held.customer.in_force
        lifted_us = was.lifted_us if was is not None else 0
        new = replace(given, at_us=max(min(given.at_us, held.clock_us), lifted_us, 1))
        if was is not None:  # what was lifted leaves no trace of how far it once reached
            new = was.joined(new) if held_before else replace(new, lifted_us=lifted_us)
        others = [each for each in held.customer.suppressions if each.key != given.key]
        customer = replace(held.customer, suppressions=joined(others, [new]))
        revoked = 0
        if new != was:
            revoked = batch.refile(held, Change.SUPPRESSIONS, customer, suppressions_data(customer))
        changed = not held_before or was is None or was.binds_exempt != new.binds_exempt
        if not held_before and new.reason in _OUTCOMES:
            batch.events.append(_outcome(held, new))
        return Filed(held.customer_id, held.customer, changed, revoked, held.now_us)


@dataclass(frozen=True, slots=True)
class Lift(FileCommand):
    """Ends every suppression of exactly this scope: the customer has agreed to contacts again, explicitly."""

    scope: Scope

    def apply(self, batch: Batch, held: Held) -> Filed:
        changed = any(each.scope == self.scope for each in standing(held.customer.suppressions))
        if changed:
            settle(batch, held, self.scope, tuple(SuppressionReason))
            facts = tuple(self._lifted(each, held.clock_us) for each in held.customer.suppressions)
            customer = replace(held.customer, suppressions=facts)
            batch.refile(held, Change.SUPPRESSIONS, customer, suppressions_data(customer))
        return Filed(held.customer_id, held.customer, changed, 0, held.now_us)

    def _lifted(self, fact: Suppression, clock_us: int) -> Suppression:
        return replace(fact, lifted_us=clock_us) if fact.scope == self.scope and fact.at_us else fact


def settle(batch: Batch, held: Held, scope: Scope, reasons: Collection[SuppressionReason]) -> None:
    """Let a yes of now lift all that is on file of this scope for these reasons, and nothing that is told later: what
    lies ahead of the clock is brought back to it, also where it would be told again from."""
    was, clock_us = held.customer, held.clock_us
    if SuppressionReason.SOFT_BOUNCES in reasons and scope.topic is None:
        outcomes = was.outcomes.settled(scope.channel, clock_us)
        if outcomes != was.outcomes:
            batch.change(held, Change.OUTCOMES, replace(was, outcomes=outcomes), outcomes_data(outcomes))
    facts = settled(was.suppressions, scope, reasons, clock_us)
    if facts != was.suppressions:
        pairs = zip(was.suppressions, facts, strict=True)
        batch.settled += [
            (each, now.at_us) for each, now in pairs if each.digest is not None and each.at_us > now.at_us
        ]
        customer = replace(held.customer, suppressions=facts)
        batch.refile(held, Change.SUPPRESSIONS, customer, suppressions_data(customer))


@dataclass(frozen=True, slots=True)
class PutPreferences(FileCommand):
    """Replaces the customer's own limits: an outcome for each that changes, as on the customer's own page."""

    preferences: tuple[Preference, ...]

    def apply(self, batch: Batch, held: Held) -> Filed:
        changed = self.preferences != held.customer.preferences
        if changed:
            moves = limits_moved(batch.rules, held.customer, self.customer_id, self.preferences, held.now_us)
            stem = f"preferences:{held.now_us}:{held.account.seq}"
            batch.events += [
                event_of(each, self.customer_id, f"{stem}:{number}", held.now_us) for number, each in enumerate(moves)
            ]
            customer = replace(held.customer, preferences=self.preferences)
            batch.change(held, Change.PREFERENCES, customer, [preference_data(each) for each in self.preferences])
        return Filed(held.customer_id, held.customer, changed, 0, held.now_us)


def _check_ahead(consents: Iterable[Consent], clock_us: int) -> None:
    latest_us = clock_us + YES_AHEAD_US
    ahead = [number for number, each in enumerate(consents) if each.given and each.at_us > latest_us]
    if ahead:
        found, expected = "an instant to come", "at most a minute after now: what allows again may not lie ahead"
        raise Invalid(Problem(f"consents[{number}].at", found, expected) for number in ahead)


def _outcome(held: Held, made: Suppression) -> Event:
    """What readouts count of a suppression that was told as one, and not as an event."""
    return Event(
        held.customer_id,
        TAKT_SOURCE,
        f"suppression:{held.now_us}:{held.account.seq}",
        _OUTCOMES[made.reason].value,
        made.at_us,
        made.scope.channel,
        made.scope.topic,
    )


def profile_data(customer: Customer) -> dict[str, Any]:
    return {
        "time_zone": customer.time_zone,
        "attributes": dict(customer.attributes),
        "consents": [consent_data(each) for each in customer.consents],
    }


def suppressions_data(customer: Customer) -> list[dict[str, Any]]:
    return [suppression_data(each) for each in customer.suppressions]
