"""The presets: usable at once, honest about their numbers, and as strict as they say."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from engine.core.account import Account
from engine.core.customer import UNKNOWN, Customer
from engine.core.decision import decide
from engine.core.errors import NotFound
from engine.core.outcomes import Case, Outcomes
from engine.core.policy import ConsentRule, Policy, Purpose
from engine.core.presets import PRESETS, preset
from engine.core.rules import Rules
from engine.core.verdict import Ask, Code, Decision, Verdict
from engine.operations.policy_file import load_policy

MONDAY_TEN = datetime(2026, 10, 5, 10, tzinfo=ZoneInfo("Europe/Berlin"))
DAY = timedelta(days=1)


class Someone:
    """A customer who receives what is allowed, at once."""

    def __init__(self, policy: Policy, customer: Customer = UNKNOWN) -> None:
        self.rules = Rules(1, policy)
        self.customer = customer
        self.account = Account()

    def asked(self, at: datetime, channel: str, topic: str, campaign: str | None = None) -> Decision:
        now_us = int(at.timestamp()) * 1_000_000
        ask = Ask(channel, topic, campaign)
        decision = decide(self.rules, self.customer, self.account, ask, now_us)
        if decision.verdict is Verdict.ALLOW:
            self.account.add(decision.contact(ask, self.account.stamp(now_us)).confirmed(now_us))
        return decision


@pytest.fixture(params=sorted(PRESETS))
def policy(request: pytest.FixtureRequest) -> Policy:
    return load_policy(PRESETS[request.param], request.param)


def considerate() -> Someone:
    return Someone(load_policy(preset("considerate")))


def standard() -> Someone:
    return Someone(load_policy(preset("standard")))


def refusals(decision: Decision) -> set[str]:
    return {reason.rule for reason in decision.reasons}


@pytest.mark.parametrize("channel", ["email", "push", "sms", "in_app", "phone", "letter"])
@pytest.mark.parametrize("topic", ["promotions", "newsletter", "product-news", "survey", "order-updates", "incident"])
def test_the_first_ask_of_a_weekday_morning_is_allowed(policy: Policy, channel: str, topic: str):
    assert Someone(policy).asked(MONDAY_TEN, channel, topic).verdict is Verdict.ALLOW


def test_the_third_promotional_email_of_a_week_meets_the_weekly_budget_of_considerate():
    someone = considerate()
    assert someone.asked(MONDAY_TEN, "email", "promotions", "one").verdict is Verdict.ALLOW
    assert someone.asked(MONDAY_TEN + DAY, "email", "promotions", "two").verdict is Verdict.ALLOW
    third = someone.asked(MONDAY_TEN + 2 * DAY, "email", "promotions", "three")
    assert (third.verdict, refusals(third)) == (Verdict.DEFER, {"email-weekly"})
    assert someone.asked(MONDAY_TEN + 7 * DAY, "email", "promotions", "three").verdict is Verdict.ALLOW


def test_considerate_sends_one_promotional_push_a_week():
    someone = considerate()
    assert someone.asked(MONDAY_TEN, "push", "promotions").verdict is Verdict.ALLOW
    assert refusals(someone.asked(MONDAY_TEN + 6 * DAY, "push", "newsletter")) == {"push-weekly"}
    assert someone.asked(MONDAY_TEN + 7 * DAY, "push", "newsletter").verdict is Verdict.ALLOW


def test_a_weekly_job_that_is_a_little_early_is_not_refused(policy: Policy):
    someone = Someone(policy)
    for week in range(4):
        at = MONDAY_TEN + week * 7 * DAY - week * timedelta(minutes=20)
        assert someone.asked(at, "push", "promotions", f"week {week}").verdict is Verdict.ALLOW


def test_considerate_sends_two_contacts_a_day_over_all_channels():
    someone = considerate()
    assert someone.asked(MONDAY_TEN, "email", "promotions").verdict is Verdict.ALLOW
    assert someone.asked(MONDAY_TEN, "push", "promotions").verdict is Verdict.ALLOW
    third = someone.asked(MONDAY_TEN, "in_app", "survey")
    assert refusals(third) == {"any-daily"}
    assert someone.asked(MONDAY_TEN + DAY, "in_app", "survey").verdict is Verdict.ALLOW


def test_the_same_campaign_does_not_come_twice(policy: Policy):
    someone = Someone(policy)
    assert someone.asked(MONDAY_TEN, "email", "promotions", "sale").verdict is Verdict.ALLOW
    assert refusals(someone.asked(MONDAY_TEN + 3 * DAY, "push", "promotions", "sale")) == {"same-campaign"}


def test_considerate_puts_a_night_between_two_emails():
    someone = considerate()
    assert someone.asked(MONDAY_TEN, "email", "promotions").verdict is Verdict.ALLOW
    assert refusals(someone.asked(MONDAY_TEN + timedelta(hours=15), "email", "promotions")) == {"spacing"}
    assert someone.asked(MONDAY_TEN + timedelta(hours=16), "email", "promotions").verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    ("channel", "days", "hour", "verdict"),
    [
        ("push", 0, 20, Verdict.ALLOW),
        ("push", 0, 21, Verdict.DEFER),
        ("sms", 0, 7, Verdict.DEFER),
        ("sms", 0, 8, Verdict.ALLOW),
        ("email", 0, 23, Verdict.ALLOW),
        ("phone", 0, 8, Verdict.DEFER),
        ("phone", 4, 19, Verdict.ALLOW),
        ("phone", 4, 20, Verdict.DEFER),
        ("phone", 5, 12, Verdict.DEFER),
        ("phone", 6, 23, Verdict.DEFER),
        ("phone", 7, 9, Verdict.ALLOW),
    ],
)
def test_considerate_is_silent_at_night_and_does_not_call_at_weekends(
    channel: str, days: int, hour: int, verdict: Verdict
):
    at = (MONDAY_TEN + days * DAY).replace(hour=hour)
    assert considerate().asked(at, channel, "promotions").verdict is verdict


def test_nothing_is_sold_while_a_service_case_is_open(policy: Policy):
    opened_us = int(MONDAY_TEN.timestamp()) * 1_000_000
    someone = Someone(policy, Customer(outcomes=Outcomes((Case("case_opened", "1", opened_us, 0),))))
    refused = someone.asked(MONDAY_TEN + DAY, "email", "promotions")
    assert [reason.code for reason in refused.reasons] == [Code.CASE_OPEN]
    assert someone.asked(MONDAY_TEN + DAY, "email", "order-updates").verdict is Verdict.ALLOW
    assert someone.asked(MONDAY_TEN + 14 * DAY, "email", "promotions").verdict is Verdict.ALLOW


def test_serving_messages_pass_but_for_a_ceiling_and_incidents_have_none():
    someone = considerate()
    night = MONDAY_TEN.replace(hour=3)
    verdicts = [someone.asked(night, "push", "order-updates").verdict for _ in range(11)]
    assert verdicts == [Verdict.ALLOW] * 10 + [Verdict.DENY]
    assert {someone.asked(night, "push", "incident").verdict for _ in range(30)} == {Verdict.ALLOW}
    assert someone.asked(MONDAY_TEN, "push", "promotions").verdict is Verdict.ALLOW


def test_standard_allows_more_than_considerate_and_stops_at_ten_a_week():
    someone = standard()
    topics = ["promotions", "newsletter", "product-news"]
    allowed = 0
    for day in range(7):
        for channel in ("email", "push", "in_app", "letter"):
            at = MONDAY_TEN + day * DAY
            allowed += someone.asked(at, channel, topics[day % 3], f"{channel} {day}").verdict is Verdict.ALLOW
    assert allowed == 10


def test_only_exempt_topics_serve_and_every_other_sells_or_asks(policy: Policy):
    assert {name for name, topic in policy.topics.items() if topic.exempt} == {"order-updates", "account", "incident"}
    assert all(topic.exempt == (topic.purpose is Purpose.SERVE) for topic in policy.topics.values())


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_taking_away_the_marks_switches_to_consent_by_opt_in(name: str):
    text = "\n".join(line[1:] if line.startswith(("#channels:", "#  ")) else line for line in preset(name).splitlines())
    opt_in = ConsentRule.OPT_IN
    assert load_policy(text).channels == {"email": opt_in, "sms": opt_in, "phone": opt_in}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_begins_with_its_reason_and_every_budget_says_where_its_number_comes_from(name: str):
    lines = preset(name).splitlines()
    assert lines[0].startswith(f"# {name}: ")
    for number, line in enumerate(lines):
        if line.startswith("  - name:"):
            before = next(other for other in reversed(lines[:number]) if not other.startswith("    "))
            sold = before.startswith("  - name:")  # a second budget under one comment
            assert sold or before.startswith("  #") or "#" in line or before == ""
    assert max(len(line) for line in lines) <= 120


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(NotFound, match=r"there is considerate or standard \(did you mean considerate\?\)"):
        preset("considrate")
