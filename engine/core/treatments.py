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
from engine.core.rules import Place, Rivals, Rules, RunningExperiment
from engine.core.ruling import gates, meters
from engine.core.situation import situation
from engine.core.verdict import Ask, Code, Decision, Verdict

NOTHING_SHOWN: Mapping[str, str] = MappingProxyType({})
HOLDOUT: Final = "holdout"  # these two are reasons as a formula has them
STORED: Final = "stored"
_OUTRIGHT: Final = (Code.SUPPRESSED, Code.NO_CONSENT)
_NO_LIMIT: Final = float("inf")
_RIVALS_MAX: Final = 50_000


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


class _World(NamedTuple):
    """One ask, as any variants' rules may be run on it."""

    rules: Rules
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
    concerned = own.terms(ask.labels, customer.preferences).experiments
    if not concerned:
        return Treated(decide(own, customer, account, ask, now_us), was, (), NOTHING_SHOWN)
    showing = {
        each.number: found.variant
        for each in concerned
        if (found := was.get(each.number)) is not None and found.stage is Stage.DIVERGED
    }
    case = situation(own.under(showing), customer, account, ask, now_us)
    own_gates, own_meters = gates(case), meters(case)
    decision = ruled(case, own_gates, own_meters)
    if any(gate.code in _OUTRIGHT for gate in own_gates):
        return Treated(decision, was, (), _shown(concerned, was))
    places, now = _entered(concerned, customer_id, customer, now_us)
    open_ = [each for each in concerned if each.number in now and each.number not in showing]
    world = _World(own, customer, account, ask, now_us)
    if open_ and _may_differ(world, open_, showing, own_meters, allowed=decision.verdict is Verdict.ALLOW):
        diverged = _diverged(world, open_, now, decision)
        decision = _answer(world, open_, diverged, now, showing, decision)
        now |= {number: now[number]._replace(stage=Stage.DIVERGED) for number in diverged}
    steps = tuple(
        Step(each, now[each.number], places.get(each.number))
        for each in concerned
        if each.number in now and now[each.number] != was.get(each.number)
    )
    memberships = MappingProxyType({**was, **now}) if steps else was
    return Treated(decision, memberships, steps, _shown(concerned, memberships))


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


def _entered(
    concerned: Iterable[RunningExperiment], customer_id: str, customer: Customer, now_us: int
) -> tuple[dict[int, Place], dict[int, Membership]]:
    """The customer's memberships in the experiments concerned, eligible at the least, and who assigned the new ones."""
    places: dict[int, Place] = {}
    now: dict[int, Membership] = {}
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
    return places, now


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
            meter = next((meter for meter in own_meters if meter.gauge.bit == gauge.bit), None)
            if meter is None:
                return True
            other = meter.beside(gauge)
            if other.refuses(world.now_us) if allowed else not other.has_room_for_good():
                return True
    return False


def _differs(world: _World, number: int, others: Mapping[int, int], control: Decision) -> bool:
    """Whether some variant's decision is another than the control's."""
    outcome = _outcome(control)
    rivals = _rivals_of(world, number, others)
    return any(_outcome(world.decided({**others, number: variant})) != outcome for variant in rivals.variants)


def _outcome(decision: Decision) -> tuple[Verdict, int | None]:
    return decision.verdict, decision.retry_at_us


def _rivals_of(world: _World, number: int, others: Mapping[int, int]) -> Rivals:
    """The rivals of an experiment's control beside other experiments' variants; remembered by the rules."""
    rules, labels, preferences = world.rules, world.ask.labels, world.customer.preferences
    key = number, frozenset(others.items()), labels, preferences
    found = rules.rivals.get(key)
    if found is None:
        if len(rules.rivals) >= _RIVALS_MAX:
            rules.rivals.clear()
        found = rules.rivals[key] = _rivals(rules, number, others, labels, preferences)
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
