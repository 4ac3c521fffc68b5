"""Running experiments in one ask: which it is about, whom they get, and from when on a customer's variant shows.

A customer is *eligible* from the first ask on that is selected by the budget of any variant and refused by neither
suppression nor consent, and *diverged* from the first on which two variants' policies, run on the history so far (other
experiments' patches as assigned), differ in verdict or `retry_at`. What always holds: until then the answer is the
control's with all its figures, whatever the variant; so all variants share one history, and divergence is the same
function of it in each. No clock, no database; the formula of an experiment is given.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Final, NamedTuple

from engine.core.account import Account, Labels
from engine.core.customer import Customer, Membership, Preference, Stage
from engine.core.decision import decide, ruled
from engine.core.gauge import Gauge
from engine.core.meter import Meter
from engine.core.policy import PolicyMode
from engine.core.rules import Place, Rivals, Rules, RunningExperiment, Terms
from engine.core.ruling import gates, meters
from engine.core.situation import situation
from engine.core.verdict import Ask, Code, Decision, Verdict

NOTHING_SHOWN: Mapping[str, str] = MappingProxyType({})
HOLDOUT: Final = "holdout"  # these two are reasons as a formula has them
STORED: Final = "stored"
_OUTRIGHT: Final = (Code.SUPPRESSED, Code.NO_CONSENT)
_NO_LIMIT: Final = float("inf")
_RIVALS_MAX: Final = 1_000  # of asks with the same labels: what is remembered of experiments beside others' variants
_NO_OTHERS: Final = frozenset[tuple[int, int]]()


class Step(NamedTuple):
    """What an ask changed of a customer's place in an experiment. `place`: the formula's, where it assigned one."""

    experiment: RunningExperiment
    membership: Membership
    place: Place | None


class Treated(NamedTuple):
    """An answer, and what it did: `memberships` are the customer's from now on, `shown` the variants by experiment."""

    decision: Decision
    memberships: Mapping[int, Membership]
    steps: tuple[Step, ...]
    shown: Mapping[str, str]


class Evaluated(NamedTuple):
    """A customer's place in one experiment, and what telling it did."""

    place: Place
    memberships: Mapping[int, Membership]
    steps: tuple[Step, ...]


class _Standing(NamedTuple):
    """The memberships of a customer in the experiments concerned; who assigned the new ones; the variants, by number,
    whose patches show already; and the experiments where none does."""

    now: dict[int, Membership]
    places: Mapping[int, Place]
    showing: Mapping[int, int]
    open_: Sequence[RunningExperiment]


class _World(NamedTuple):
    """One ask, as any variants' rules may be run on it; `terms` are those of the rules without any patch."""

    rules: Rules
    terms: Terms
    customer: Customer
    account: Account
    ask: Ask
    now_us: int

    def decided(self, variants: Mapping[int, int]) -> Decision:
        return decide(self.rules, self.customer, self.account, self.ask, self.now_us, variants)


def treat(rules: Rules, customer_id: str, customer: Customer, account: Account, ask: Ask, now_us: int) -> Treated:
    """The decision for a customer of a deployment that runs experiments, and what it makes of their memberships."""
    was = customer.variants
    own = rules.of(customer_id, now_us)
    terms = own.terms(ask.labels, customer.preferences)
    concerned = terms.experiments
    if not concerned:
        return Treated(decide(own, customer, account, ask, now_us), was, (), NOTHING_SHOWN)
    now, places, showing, open_ = _standing(concerned, customer_id, customer, now_us)
    case = situation(own.under(showing), customer, account, ask, now_us)
    own_gates, own_meters = gates(case), meters(case)
    decision = ruled(case, own_gates, own_meters)
    if own_gates and any(gate.code in _OUTRIGHT for gate in own_gates):
        return Treated(decision, was, (), _shown(concerned, was))
    if open_:
        world = _World(own, terms, customer, account, ask, now_us)
        if _may_differ(world, open_, showing, own_meters, allowed=decision.verdict is Verdict.ALLOW):
            diverged = _diverged(world, open_, now, decision)
            decision = _answer(world, open_, diverged, now, showing, decision)
            now |= {number: now[number]._replace(stage=Stage.DIVERGED) for number in diverged}
    steps = [
        Step(each, found, places.get(each.number))
        for each in concerned
        if (found := now.get(each.number)) is not None and found is not was.get(each.number)
    ]
    memberships = MappingProxyType({**was, **now}) if steps else was
    return Treated(decision, memberships, tuple(steps), _shown(concerned, memberships))


def evaluate(
    rules: Rules, customer_id: str, customer: Customer, experiment: RunningExperiment, now_us: int
) -> Evaluated:
    """Which variant a customer gets where an experiment is evaluated by itself, and what being told makes of it.

    In an experiment that changes no budget, the evaluation is the exposure. One that changes budgets is exposed to by
    asks alone: nothing changes here.
    """
    was = customer.variants
    if rules.of(customer_id, now_us) is not rules:
        return Evaluated(Place(None, HOLDOUT), was, ())
    found = was.get(experiment.number)
    place = Place(found.variant, STORED) if found else experiment.assign(customer_id, customer, now_us)
    if place.variant is None or experiment.number in rules.patches or (found and found.stage >= Stage.ELIGIBLE):
        return Evaluated(place, was, ())
    membership = Membership(place.variant, Stage.ELIGIBLE)
    step = Step(experiment, membership, None if found else place)
    return Evaluated(place, MappingProxyType({**was, experiment.number: membership}), (step,))


def rules_for(rules: Rules, customer_id: str, customer: Customer, now_us: int) -> Rules:
    """The rules that bind a customer as things stand: those of a holdout, or with the patches that show already."""
    own = rules.of(customer_id, now_us)
    return own.under(
        {
            each.number: found.variant
            for each in own.experiments
            if (found := customer.variants.get(each.number)) is not None and found.stage is Stage.DIVERGED
        }
    )


def shown(rules: Rules, customer_id: str, customer: Customer, ask: Ask, now_us: int) -> Mapping[str, str]:
    """The variants of the experiments that an ask is about, by their keys, as they stand."""
    if not rules.experiments:
        return NOTHING_SHOWN
    terms = rules.of(customer_id, now_us).terms(ask.labels, customer.preferences)
    return _shown(terms.experiments, customer.variants)


def _shown(concerned: Iterable[RunningExperiment], memberships: Mapping[int, Membership]) -> Mapping[str, str]:
    return {
        each.key: each.variants[memberships[each.number].variant] for each in concerned if each.number in memberships
    }


def _standing(concerned: Iterable[RunningExperiment], customer_id: str, customer: Customer, now_us: int) -> _Standing:
    """A customer's standing once an ask makes them eligible in the experiments that it is about."""
    now: dict[int, Membership] = {}
    places: dict[int, Place] = {}
    showing: dict[int, int] = {}
    open_: list[RunningExperiment] = []
    for each in concerned:
        found = customer.variants.get(each.number)
        if found is None:
            place = each.assign(customer_id, customer, now_us)
            if place.variant is None:
                continue
            places[each.number] = place
            found = Membership(place.variant, Stage.ELIGIBLE)
        elif found.stage is Stage.ASSIGNED:
            found = found._replace(stage=Stage.ELIGIBLE)
        now[each.number] = found
        if found.stage is Stage.DIVERGED:
            showing[each.number] = found.variant
        else:
            open_.append(each)
    return _Standing(now, places, showing, open_)


def _diverged(
    world: _World, open_: Sequence[RunningExperiment], now: Mapping[int, Membership], decision: Decision
) -> list[int]:
    """The experiments, of those not diverged yet, two variants of which would answer this ask differently.

    `decision` is that of all their controls.
    """
    found: list[int] = []
    for each in open_:
        others = {number: place.variant for number, place in now.items() if number != each.number}
        control = decision if len(open_) == 1 else world.decided(others)
        if _differs(world, each.number, others, control):
            found.append(each.number)
    return found


def _answer(
    world: _World,
    open_: Sequence[RunningExperiment],
    diverged: Sequence[int],
    now: Mapping[int, Membership],
    showing: Mapping[int, int],
    decision: Decision,
) -> Decision:
    """The answer: with the patches that show from now on, and the figures of the other experiments' controls.

    Two experiments that meet in one ask, and neither of which has diverged, may allow together what either one's
    variant refuses: only the decision under both, as assigned, leaves each of them one history.
    """
    showing = {**showing, **{number: now[number].variant for number in diverged}}
    if diverged:
        decision = world.decided(showing)
    if len(open_) > 1 and len(diverged) < len(open_):
        assigned = world.decided({number: each.variant for number, each in now.items()})
        if _outcome(assigned) != _outcome(decision):
            return assigned
    return decision


def _may_differ(
    world: _World,
    open_: Iterable[RunningExperiment],
    showing: Mapping[int, int],
    own_meters: Sequence[Meter],
    *,
    allowed: bool,
) -> bool:
    """Whether, of an ask that all controls allow, or do not, some variant of some experiment may say otherwise.

    Seldom, so hardly any variant's decision has to be made: their rules differ in the limits of a few budgets alone.
    """
    for each in open_:
        rivals = _rivals_of(world, each.number, showing)
        if rivals.by_decision:
            return True
        for gauge in rivals.stricter if allowed else rivals.strictest:
            meter = _meter_of(own_meters, gauge)
            if meter is None:
                return True
            if meter.refuses_beside(gauge, world.now_us) if allowed else not meter.beside(gauge).has_room_for_good():
                return True
    return False


def _meter_of(meters: Iterable[Meter], gauge: Gauge) -> Meter | None:
    for each in meters:
        if each.gauge.bit == gauge.bit:
            return each
    return None


def _differs(world: _World, number: int, others: Mapping[int, int], control: Decision) -> bool:
    """Whether some variant's decision is another than the control's."""
    outcome = _outcome(control)
    rivals = _rivals_of(world, number, others)
    return any(_outcome(world.decided({**others, number: variant})) != outcome for variant in rivals.variants)


def _outcome(decision: Decision) -> tuple[Verdict, int | None]:
    return decision.verdict, decision.retry_at_us


def _rivals_of(world: _World, number: int, others: Mapping[int, int]) -> Rivals:
    """The rivals of an experiment's control beside other experiments' variants; remembered with the terms."""
    key = number, frozenset(others.items()) if others else _NO_OTHERS
    found = world.terms.rivals.get(key)
    if found is None:
        if len(world.terms.rivals) >= _RIVALS_MAX:
            world.terms.rivals.clear()
        found = _rivals(world.rules, number, others, world.ask.labels, world.customer.preferences)
        world.terms.rivals[key] = found
    return found


def _rivals(
    rules: Rules, number: int, others: Mapping[int, int], labels: Labels, preferences: tuple[Preference, ...]
) -> Rivals:
    if rules.policy.mode is PolicyMode.OBSERVE:
        return Rivals((), (), (), by_decision=False)  # no budget binds
    base = rules.under(others).terms(labels, preferences)
    gauges = _binding(base.gauges)
    differing: list[tuple[int, Mapping[int, Gauge]]] = []
    by_decision = False
    for variant in sorted(rules.patches.get(number, {})):
        terms = rules.under({**others, number: variant}).terms(labels, preferences)
        if (terms.needs_zone, terms.reads_zone) != (base.needs_zone, base.reads_zone):
            by_decision = True  # a calendar that only one of them reads: where no zone is known they differ by that
        bound = _binding(terms.gauges)
        if bound != gauges and all(bound != each for _, each in differing):
            differing.append((variant, bound))
    rival_gauges = [bound[bit] for _, bound in differing for bit in bound if bound[bit] != gauges.get(bit)]
    stricter = [each for each in rival_gauges if each.bit not in gauges or _may_be_stricter(each, gauges[each.bit])]
    changed = {bit for _, bound in differing for bit in {*bound, *gauges} if bound.get(bit) != gauges.get(bit)}
    strictest = _strictest([*rival_gauges, *(each for bit, each in gauges.items() if bit in changed)])
    between = set[int]() if by_decision else _between([each for _, each in differing], gauges)
    variants = [variant for place, (variant, _) in enumerate(differing) if place not in between]
    return Rivals(tuple(variants), tuple(_strictest(stricter)), tuple(strictest), by_decision)


def _binding(gauges: Iterable[Gauge]) -> dict[int, Gauge]:
    """The gauges of the policy's own budgets that can refuse, by their bits."""
    return {each.bit: each for each in gauges if each.bit and not each.budget.shadow}


def _may_be_stricter(gauge: Gauge, than: Gauge) -> bool:
    if gauge.budget.overrides or than.budget.overrides:
        return True
    return _limit(gauge) < _limit(than)


def _strictest(gauges: Sequence[Gauge]) -> list[Gauge]:
    """Of gauges of the same budget without overrides, the one with the least limit: who passes it passes them all."""
    plain: dict[int, Gauge] = {}
    rest: list[Gauge] = []
    for each in gauges:
        if each.budget.overrides:
            if each not in rest:
                rest.append(each)
        elif each.bit not in plain or _limit(each) < _limit(plain[each.bit]):
            plain[each.bit] = each
    return [*plain.values(), *rest]


def _between(variants: Sequence[Mapping[int, Gauge]], base: Mapping[int, Gauge]) -> set[int]:
    """The places of variants whose limits lie between two others', the control's among them, in every budget.

    The instants that a limit allows are among those that a larger one does; so the first of them, and the verdict, of
    who lies between two that agree are theirs.
    """
    everybody = [*variants, base]
    if any(gauge.budget.overrides for each in everybody for gauge in each.values()):
        return set()
    bits = sorted({bit for each in everybody for bit in each})
    limits = [[_limit(each[bit]) if bit in each else _NO_LIMIT for bit in bits] for each in everybody]
    order = sorted(range(len(everybody)), key=lambda place: limits[place])
    for less, more in pairwise(order):
        if any(low > high for low, high in zip(limits[less], limits[more], strict=True)):
            return set()
    return set(order[1:-1]) - {len(variants)}


def _limit(gauge: Gauge) -> float:
    return _NO_LIMIT if gauge.budget.limit is None else gauge.budget.limit
