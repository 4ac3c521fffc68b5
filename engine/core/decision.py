"""decide(): may this message go to this customer at this instant? Total, pure, and able to say why.

Suppression and consent speak first, and bind whatever the policy's mode, as do pauses by hand and the customer's own
limits; exempt topics pass everything but hard suppressions and their ceiling; deny beats defer. Nothing here knows a
clock, a database or a message's past: those are the caller's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from engine.core.account import ALL_BUDGETS, Account, Lease
from engine.core.customer import Customer
from engine.core.gates import Gate
from engine.core.meter import Meter
from engine.core.policy import DAY_US, CalendarWindow, Lifetime, OnExpiry, PolicyMode, Rolling
from engine.core.rules import NO_VARIANTS, Rules
from engine.core.ruling import Rule, gates, meters
from engine.core.situation import Situation, situation, zone_of
from engine.core.verdict import Ask, BudgetLine, Decision, Reason, Verdict
from engine.core.windows import period

HORIZON_US: Final = 400 * DAY_US


def decide(
    rules: Rules,
    customer: Customer,
    account: Account,
    ask: Ask,
    now_us: int,
    variants: Mapping[int, int] = NO_VARIANTS,
) -> Decision:
    """May this message go to this customer at `now_us`?

    The account must be complete for the ask (`needs_since_us`). `variants`: the patches of these variants of running
    experiments are in force (who gives which is for `treatments` to know). Never raises for values that were
    validated, at instants from 1902 to 2198.
    """
    case = situation(rules.under(variants), customer, account, ask, now_us)
    return ruled(case, gates(case), meters(case))


def ruled(case: Situation, own_gates: Sequence[Gate], own_meters: Sequence[Meter]) -> Decision:
    """What the rules that have a say in a situation, all of them, come to."""
    now_us = case.now_us
    refusing: list[Rule] = [
        *[gate for gate in own_gates if gate.refuses(now_us)],
        *[meter for meter in own_meters if meter.refuses(now_us)],
    ]
    if not refusing:
        observed = Verdict.ALLOW if case.rules.policy.mode is PolicyMode.OBSERVE else None
        return _decision(case, Verdict.ALLOW, (), None, True, _lines(case, own_meters, {}), (), observed)
    return _refused(case, [*own_gates, *own_meters], own_meters, refusing)


def needs_since_us(rules: Rules, customer: Customer, ask: Ask, now_us: int) -> int:
    """The earliest end of a contact that can matter to this ask: the account must be complete since then."""
    start_us = now_us if ask.send_at_us is None else max(ask.send_at_us, now_us)
    needed_us = start_us
    for window in rules.windows(ask.labels, customer.preferences):
        match window:
            case Rolling():
                needed_us = min(needed_us, start_us - window.effective_us + 1)
            case CalendarWindow():
                own_zone = zone_of(rules, customer)
                if own_zone is not None:
                    needed_us = min(needed_us, period(window.calendar, own_zone, start_us)[0])
            case Lifetime():
                pass
    return needed_us


def _refused(case: Situation, own_rules: Sequence[Rule], own_meters: Sequence[Meter], refusing: list[Rule]) -> Decision:
    """The answer where a rule refuses, be it only a shadow or observed."""
    now_us = case.now_us
    observing = case.rules.policy.mode is PolicyMode.OBSERVE
    enforced = [rule for rule in refusing if not rule.is_shadow]
    binding = [rule for rule in enforced if rule.is_hard] if observing else enforced
    frees_at_us = {rule: rule.earliest_us(now_us, now_us + HORIZON_US) for rule in refusing}

    verdict, retry_at_us, certain, observed = Verdict.ALLOW, None, True, None
    if binding:
        bound = _bound(own_rules, observing)
        retry_at_us = _retry_at_us(bound, frees_at_us, now_us)
        verdict = _refusal(binding, retry_at_us)
        certain = _is_certain(case, bound, retry_at_us)
    if observing:
        observed = Verdict.ALLOW
        if enforced:
            observed = _refusal(enforced, _retry_at_us(_bound(own_rules, False), frees_at_us, now_us))
    reasons = tuple(
        Reason(rule.code_at(now_us), rule.name, frees_at_us[rule]) for rule in (enforced if observing else binding)
    )
    lines = _lines(case, own_meters, frees_at_us, is_refused=bool(binding), is_observed=bool(enforced))
    is_uncharged = observing and bool(enforced)
    uncharged = ALL_BUDGETS if is_uncharged else tuple(rule.name for rule in refusing if rule.is_shadow)
    return _decision(case, verdict, reasons, retry_at_us, certain, lines, uncharged, observed)


def _decision(
    case: Situation,
    verdict: Verdict,
    reasons: tuple[Reason, ...],
    retry_at_us: int | None,
    certain: bool,
    lines: tuple[BudgetLine, ...],
    uncharged: tuple[str, ...],
    observed: Verdict | None,
) -> Decision:
    start_us = case.start_us(case.now_us)
    topic = case.terms.topic
    return Decision(
        verdict,
        reasons,
        retry_at_us,
        certain,
        lines,
        start_us,
        start_us + case.lease_us,
        _lease(case),
        _counts(case),
        topic is not None and topic.ceiling is not None,
        uncharged,
        observed,
    )


def _counts(case: Situation) -> bool:
    """Whether a contact would use budget. One of a topic that nobody declares does, where a policy only observes."""
    topic = case.terms.topic
    return topic.counts if topic is not None else case.rules.policy.mode is PolicyMode.OBSERVE


def _lease(case: Situation) -> Lease:
    """What the end of the lease will mean: as asked, else presumed sent for planned sends, else the policy's word."""
    ask = case.ask
    on_expiry = ask.on_expiry
    if on_expiry is None:
        on_expiry = case.rules.policy.on_expiry if ask.send_at_us is None else _PRESUME_SENT
    return _PRESUMED if on_expiry is _PRESUME_SENT else _RELEASES


def _bound(own_rules: Iterable[Rule], observing: bool) -> list[Rule]:
    """The rules that an ask must pass to be allowed."""
    return [rule for rule in own_rules if (rule.is_hard if observing else not rule.is_shadow)]


def _refusal(binding: Iterable[Rule], retry_at_us: int | None) -> Verdict:
    """Deny beats defer, and what no time within 400 days would allow is denied."""
    if retry_at_us is None or any(rule.refusal is Verdict.DENY for rule in binding):
        return Verdict.DENY
    return Verdict.DEFER


def _retry_at_us(bound: Sequence[Rule], frees_at_us: Mapping[Rule, int | None], now_us: int) -> int | None:
    """The earliest instant within 400 days at which every rule allows; `frees_at_us` is what is known of some.

    Each rule names the earliest instant from t on at which it allows alone; the latest of them is the next t, until
    all agree. No instant between is missed: at each, the rule that named the latest one refuses.
    """
    instant = now_us
    for rule in bound:
        earliest = frees_at_us.get(rule, now_us)
        if earliest is None:
            return None
        instant = max(instant, earliest)
    while True:
        latest = instant
        for rule in bound:
            earliest = rule.earliest_us(latest, now_us + HORIZON_US)
            if earliest is None:
                return None
            latest = earliest
        if latest == instant:
            return instant
        instant = latest


def _is_certain(case: Situation, bound: Sequence[Rule], retry_at_us: int | None) -> bool:
    """Whether `retry_at_us` stands however the customer's open leases end.

    The more contacts, and the longer each lasts, the fewer instants are allowed; so the two extremes (every open lease
    released at once; every one confirmed at its very end) bound all others.
    """
    now_us = case.now_us
    if not any(
        lease is not _SETTLED and end > now_us
        for rule in bound
        if isinstance(rule, Meter)
        for _, end, _, lease, *_ in rule.charges
    ):
        return True
    rest = [each for each in case.contacts if not each.is_open(now_us)]
    confirmed = [each._replace(lease=_SETTLED) for each in case.contacts if each.is_open(now_us)]
    observing = case.rules.policy.mode is PolicyMode.OBSERVE
    for contacts in (rest, [*rest, *confirmed]):
        extreme = replace(case, contacts=contacts)
        if _retry_at_us(_bound([*gates(extreme), *meters(extreme)], observing), {}, now_us) != retry_at_us:
            return False
    return True


def _lines(
    case: Situation,
    own_meters: Iterable[Meter],
    frees_at_us: Mapping[Rule, int | None],
    *,
    is_refused: bool = False,
    is_observed: bool = False,
) -> tuple[BudgetLine, ...]:
    """How each budget with a limit stands once the answer does: with this ask's own use where it took any.

    `is_observed`: the policy refuses, be it only observed, and then its budgets take nothing.
    """
    topic, now_us = case.terms.topic, case.now_us
    takes = case.ask.reserves and (_counts(case) or (topic is not None and topic.exempt))
    observing = case.rules.policy.mode is PolicyMode.OBSERVE
    lines: list[BudgetLine] = []
    for meter in own_meters:
        budget, limit = meter.gauge.budget, meter.limit_at(now_us)
        if limit is None:
            continue
        used = meter.used(now_us)
        if takes and not (is_refused if meter.is_hard else is_observed) and meter not in frees_at_us:
            used += meter.weight
        lines.append(
            BudgetLine(
                budget.name, limit, used, frees_at_us.get(meter), budget.shadow or (observing and not meter.is_hard)
            )
        )
    return tuple(lines)


_SETTLED: Final = Lease.SETTLED
_RELEASES: Final = Lease.RELEASES
_PRESUMED: Final = Lease.PRESUMED
_PRESUME_SENT: Final = OnExpiry.PRESUME_SENT
