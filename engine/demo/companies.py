"""The company of the demo, and a small one whose truth is known, for whoever checks readouts against it."""

from dataclasses import replace
from typing import Final

from engine.demo.company import Campaign, Company, Trial

_POLICY: Final = """\
# The policy of Nordlicht, a shop that does not exist. Its customers are simulated.
schema: 1
mode: enforce
unknown_timezone: Europe/Berlin

topics:
  promotions: {purpose: sell}
  newsletter: {purpose: sell}
  survey: {purpose: ask}
  order-updates: {purpose: serve, exempt: true, counts: false, ceiling: {limit: 10, window: {rolling: 1d}}}

budgets:
  - name: push-weekly
    channels: [push]
    topics: [promotions, newsletter]
    limit: 3
    window: {rolling: 7d, tolerance: 30m}
  - name: email-weekly
    channels: [email]
    topics: [promotions, newsletter]
    limit: 3
    window: {rolling: 7d, tolerance: 30m}
  - name: survey-weekly
    topics: [survey]
    limit: 1
    window: {rolling: 7d}
  # Not enforced yet: what it would have refused is on the page Budgets.
  - name: one-a-day
    topics: [promotions, newsletter]
    limit: 1
    window: {calendar: day}
    shadow: true

quiet_hours:
  - {channels: [push], from: "21:00", to: "08:00"}

# Nothing is sold while a service case is open.
pauses:
  - {from: case_opened, until: case_closed, at_most: 14d, topics: [promotions, newsletter, survey]}
"""

_PUSH_BUDGET: Final = """\
key: push-budget
hypothesis: One promotional push a week instead of three keeps more customers reachable, and those still buy.
variants:
  - {name: three, control: true, dose: 3}
  - {name: one, dose: 1, policy: {budgets: {push-weekly: {limit: 1}}}}
  - {name: five, dose: 5, policy: {budgets: {push-weekly: {limit: 5}}}}
start: {start}
end: {end}
min_days: 7
inference: fixed
metrics:
  - {name: reachable_28, title: share reachable by push on day 28, kind: reachable, channel: push, day: 28,
     role: primary, direction: increase}
  - {name: bought_28, title: share who bought within 28 days, kind: rate, event: purchase, within_days: 28,
     role: guardrail, direction: increase, margin: 0.08}
  - {name: push_off_28, title: share who turned push off within 28 days, kind: rate, event: push_disabled,
     within_days: 28, role: secondary, direction: decrease}
  - {name: spend_28, title: spending within 28 days, kind: mean, event: purchase, value: value, within_days: 28,
     role: secondary, direction: increase}
"""

# Of the demo alone: how soon they turn push off, and from which loss of reach on fewer pushes pay.
_WHAT_PUSH_COSTS: Final = """\
  - {name: net_value_28, title: net value within 28 days, kind: value, event: purchase, value: margin, within_days: 28,
     lost_reach: {event: push_disabled}, role: secondary, direction: increase}
  - {name: until_push_off, title: share who turned push off, kind: survival, event: push_disabled, horizon: 42,
     role: secondary, direction: decrease}
"""

_SHORT_NEWSLETTER: Final = """\
key: short-newsletter
hypothesis: A newsletter of three stories instead of ten is read by more customers.
variants:
  - {name: ten-stories, control: true}
  - {name: three-stories}
start: {start}
end: {end}
min_days: 7
metrics:
  - {name: clicked_14, title: share who clicked in an e-mail within 14 days, kind: rate, event: clicked, channel: email,
     within_days: 14, role: primary, direction: increase}
  - {name: unsubscribed_14, title: share who unsubscribed within 14 days, kind: rate, event: unsubscribed,
     within_days: 14, role: guardrail, direction: decrease, margin: 0.04}
"""

_CHECKOUT_AA: Final = """\
key: checkout-aa
hypothesis: None. Both variants are the same, so that whatever is found here is a fault of the measuring.
variants:
  - {name: a, control: true}
  - {name: b}
start: {start}
end: {end}
min_days: 7
metrics:
  - {name: bought_14, title: share who bought within 14 days, kind: rate, event: purchase, within_days: 14,
     role: primary, direction: increase}
  - {name: spend_14, title: spending within 14 days, kind: mean, event: purchase, value: value, within_days: 14,
     role: secondary, direction: increase}
"""

_LOUD_SUBJECTS: Final = """\
key: loud-subjects
hypothesis: Subject lines that shout ("LAST CHANCE!") are opened more often.
variants:
  - {name: plain, control: true}
  - {name: loud}
start: {start}
end: {end}
min_days: 7
metrics:
  - {name: clicked_7, title: share who clicked in an e-mail within 7 days, kind: rate, event: clicked, channel: email,
     within_days: 7, role: primary, direction: increase}
  - {name: unsubscribed_7, title: share who unsubscribed within 7 days, kind: rate, event: unsubscribed, within_days: 7,
     role: guardrail, direction: decrease, margin: 0.01}
"""

_PUSH_SHOP: Final = Campaign(name="daily-deals", team="shop", channel="push", topic="promotions", share=1.3)
_PUSH_CRM: Final = Campaign(name="we-miss-you", team="crm", channel="push", topic="promotions", share=0.8)
_OFFERS: Final = Campaign(name="offers", team="shop", channel="email", topic="promotions", share=0.6, flat=0.02)
_NEWSLETTER: Final = Campaign(
    name="newsletter", team="editors", channel="email", topic="newsletter", flat=0.6, weekdays=(1,), checks=True
)


def _push_budget(start_day: int, days: int) -> Trial:
    return Trial(
        key="push-budget",
        variants=("three", "one", "five"),
        plan=_PUSH_BUDGET,
        start_day=start_day,
        days=days,
        limits=(3, 1, 5),
        channel="push",
    )


def _checkout_aa(start_day: int, days: int) -> Trial:
    return Trial(key="checkout-aa", variants=("a", "b"), plan=_CHECKOUT_AA, start_day=start_day, days=days)


def _loud_subjects(start_day: int, days: int) -> Trial:
    return Trial(
        key="loud-subjects",
        variants=("plain", "loud"),
        plan=_LOUD_SUBJECTS,
        start_day=start_day,
        days=days,
        on_harm="stop",
        campaign="offers",
        dislike={"loud": 6.0},
        appeal={"loud": 0.2},
    )


def _short_newsletter(start_day: int, days: int) -> Trial:
    return Trial(
        key="short-newsletter",
        variants=("ten-stories", "three-stories"),
        plan=_SHORT_NEWSLETTER,
        start_day=start_day,
        days=days,
        campaign="newsletter",
        appeal={"three-stories": 0.9},
    )


def demo(customers: int = 3_000, days: int = 84) -> Company:
    """Nordlicht: several teams, one of which sends past Takt. Experiments last as long as the days allow."""
    first, second = days // 6, days // 4
    return Company(
        name="Nordlicht",
        customers=customers,
        days=days,
        policy=_POLICY,
        budgets={"push": 3, "email": 3},
        campaigns=(
            Campaign(
                name="order-updates",
                team="logistics",
                channel="email",
                topic="order-updates",
                sells=False,
                after_purchase=True,
            ),
            _NEWSLETTER,
            _PUSH_SHOP,
            _PUSH_CRM,
            _OFFERS,
            Campaign(name="agency-flyer", team="agency", channel="email", topic="promotions", flat=0.01, asks=False),
            Campaign(
                name="how-are-we-doing",
                team="research",
                channel="email",
                topic="survey",
                flat=0.02,
                sells=False,
                is_survey=True,
            ),
        ),
        trials=(
            replace(_push_budget(first, days - first), plan=_PUSH_BUDGET + _WHAT_PUSH_COSTS, is_watched=True),
            _short_newsletter(first, days - first),
            _checkout_aa(second, days - second),
            _loud_subjects(second, days - second),
        ),
        cases=0.001,
    )


def small(customers: int = 2_000, days: int = 63) -> Company:
    """A company that `fates` lives exactly: no service cases; a push budget, an A/A, and an experiment that harms."""
    return Company(
        name="small",
        customers=customers,
        days=days,
        policy=_POLICY,
        budgets={"push": 3, "email": 3},
        campaigns=(_PUSH_SHOP, _PUSH_CRM, _OFFERS),
        trials=(_push_budget(7, days - 7), _checkout_aa(7, days - 7), _loud_subjects(7, days - 7)),
    )
