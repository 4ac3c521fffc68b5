"""decide(): may this message go to this customer at this instant? Total, pure, and able to say why.

Suppression and consent speak first and bind whatever the policy's mode; exempt topics pass everything else but their
ceiling; deny beats defer. Nothing here knows a clock, a database or a message's past: those are the caller's.
"""

from collections.abc import Iterable, Mapping, Sequence

from engine.core.account import ALL_BUDGETS, Account, Lease
from engine.core.customer import Customer
from engine.core.meter import Meter, Slot
from engine.core.policy import DAY_US, CalendarWindow, Lifetime, OnExpiry, PolicyMode, Rolling
from engine.core.rules import NO_VARIANTS, Rules
from engine.core.ruling import Rule, Situation, Timed, ceiling_budget, rules_for, zone_of
from engine.core.verdict import Ask, BudgetLine, Decision, Reason, Verdict
from engine.core.windows import period

HORIZON_US = 400 * DAY_US


def decide(
    rules: Rules,
    customer: Customer,
    account: Account,
    ask: Ask,
    now_us: int,
    variants: Mapping[str, str] = NO_VARIANTS,
) -> Decision:
    """May this message go to this customer at `now_us`?

    The account must be complete for the ask (`needs_since_us`). `variants` are the customer's assignments in running
    experiments. Never raises for values that its arguments' types allow.
    """
    rules = rules.under(variants)
    case = _case(rules, customer, account, ask, now_us)
    observing = rules.policy.mode is PolicyMode.OBSERVE
    own_rules = rules_for(case)
    refusing = [rule for rule in own_rules if rule.refuses(now_us)]
    enforced = [rule for rule in refusing if not rule.is_shadow]
    binding = [rule for rule in enforced if rule.is_hard] if observing else enforced

    verdict, retry_at_us, certain = Verdict.ALLOW, None, True
    if binding:
        retry_at_us = _retry_at_us(_bound(own_rules, observing), now_us)
        verdict = _refusal(binding, retry_at_us)
        certain = _is_certain(case, retry_at_us)
    observed = None
    if observing:
        observed = _refusal(enforced, _retry_at_us(_bound(own_rules, False), now_us)) if enforced else Verdict.ALLOW
    frees_at_us = {rule.timed: rule.timed.earliest_us(now_us, now_us + HORIZON_US) for rule in refusing}
    start_us = case.slot.start_us(now_us)
    topic = rules.topic(ask.topic)
    return Decision(
        verdict,
        tuple(
            Reason(rule.code_at(now_us), rule.name, frees_at_us[rule.timed])
            for rule in (enforced if observing else binding)
        ),
        retry_at_us,
        certain,
        _lines(case, own_rules, frees_at_us, charged=not binding and ask.reserves),
        start_us,
        start_us + case.slot.lease_us,
        _lease(rules, ask),
        topic is not None and topic.counts,
        topic is not None and topic.ceiling is not None,
        ALL_BUDGETS if observing and enforced else tuple(rule.name for rule in refusing if rule.is_shadow),
        observed,
    )


def needs_since_us(rules: Rules, customer: Customer, ask: Ask, now_us: int) -> int:
    """The earliest end of a contact that can matter to this ask: the account must be complete since then."""
    start_us = Slot(ask.send_at_us, 0).start_us(now_us)
    needed_us = start_us
    topic = rules.topic(ask.topic)
    budgets = [budget for _, budget in rules.budgets_for(customer, ask.labels)]
    if topic is not None and topic.ceiling is not None:
        budgets.append(ceiling_budget(ask.topic, topic.ceiling))
    for budget in budgets:
        match budget.window:
            case Rolling() as window:
                needed_us = min(needed_us, start_us - window.effective_us + 1)
            case CalendarWindow() as window:
                own_zone = zone_of(rules.policy, customer)
                if own_zone is not None:
                    needed_us = min(needed_us, period(window.calendar, own_zone, start_us)[0])
            case Lifetime():
                pass
    return needed_us


def _case(rules: Rules, customer: Customer, account: Account, ask: Ask, now_us: int) -> Situation:
    lease_us = min(ask.lease_us or rules.policy.lease_us, rules.policy.max_lease_us)
    slot = Slot(ask.send_at_us, lease_us)
    return Situation(rules, customer, account.contacts, account.totals, ask, slot, now_us)


def _lease(rules: Rules, ask: Ask) -> Lease:
    """What the end of the lease will mean: as asked, else presumed sent for planned sends, else the policy's word."""
    on_expiry = ask.on_expiry or (OnExpiry.PRESUME_SENT if ask.send_at_us is not None else rules.policy.on_expiry)
    return Lease.PRESUMED if on_expiry is OnExpiry.PRESUME_SENT else Lease.RELEASES


def _bound(own_rules: Iterable[Rule], observing: bool) -> list[Rule]:
    """The rules that an ask must pass to be allowed."""
    return [rule for rule in own_rules if (rule.is_hard if observing else not rule.is_shadow)]


def _refusal(binding: Iterable[Rule], retry_at_us: int | None) -> Verdict:
    """Deny beats defer, and what no time within 400 days would allow is denied."""
    if retry_at_us is None or any(rule.refusal is Verdict.DENY for rule in binding):
        return Verdict.DENY
    return Verdict.DEFER


def _retry_at_us(bound: Sequence[Rule], now_us: int) -> int | None:
    """The earliest instant within 400 days at which every rule allows.

    Each rule names the earliest instant from t on at which it allows alone; the latest of them is the next t, until
    all agree. No instant between is missed: at each, the rule that named the latest one refuses.
    """
    until_us = now_us + HORIZON_US
    instant = now_us
    while True:
        latest = instant
        for rule in bound:
            earliest = rule.timed.earliest_us(latest, until_us)
            if earliest is None:
                return None
            latest = earliest
        if latest == instant:
            return instant
        instant = latest


def _is_certain(case: Situation, retry_at_us: int | None) -> bool:
    """Whether `retry_at_us` stands however the customer's open leases end.

    The more contacts, and the longer each lasts, the fewer instants are allowed; so the two extremes (every open lease
    released at once; every one confirmed at its very end) bound all others.
    """
    held = [each for each in case.contacts if each.is_open(case.now_us)]
    if not held:
        return True
    rest = [each for each in case.contacts if not each.is_open(case.now_us)]
    confirmed = [each._replace(lease=Lease.SETTLED) for each in held]
    observing = case.rules.policy.mode is PolicyMode.OBSERVE
    extremes = (case._replace(contacts=rest), case._replace(contacts=[*rest, *confirmed]))
    return all(_retry_at_us(_bound(rules_for(each), observing), case.now_us) == retry_at_us for each in extremes)


def _lines(
    case: Situation, own_rules: Iterable[Rule], frees_at_us: Mapping[Timed, int | None], *, charged: bool
) -> tuple[BudgetLine, ...]:
    """How each budget with a limit stands once the answer does: with this ask's own use where it took any."""
    lines: list[BudgetLine] = []
    observing = case.rules.policy.mode is PolicyMode.OBSERVE
    for rule in own_rules:
        meter = rule.timed
        if not isinstance(meter, Meter):
            continue
        limit = meter.limit_at(case.now_us)
        if limit is None:
            continue
        used = meter.use(case.now_us).all
        shadow = rule.is_shadow or observing
        if charged and not (shadow and meter in frees_at_us):
            used += meter.weight
        lines.append(BudgetLine(rule.name, limit, used, frees_at_us.get(meter), shadow))
    return tuple(lines)
