"""What a variant does is said as people argue about it."""

import pytest

from engine.operations.policy_file import load_policy
from engine.operations.programme import changes
from engine.render.treatment import treatments
from tests.operations.plans import PLAN, POLICY, THREE_ARMS, plan

ROLLING = "window: {rolling: 7d}\n    overrides"

ZONE = "unknown_timezone: Europe/Berlin\ntopics:"


def said(source: str = PLAN, policy: str = POLICY) -> dict[str, str]:
    return treatments(changes(load_policy(policy), plan(source).experiment))


def test_a_variant_is_told_by_its_limit_and_that_of_the_policy() -> None:
    assert said() == {"three": "3 a week instead of 1"}
    assert said(THREE_ARMS) == {"three": "3 a week instead of 1", "five": "5 a week instead of 1"}


@pytest.mark.parametrize(
    ("window", "told"),
    [
        ("{calendar: week}", "3 a week instead of 1"),
        ("{calendar: month}", "3 a month instead of 1"),
        ("{rolling: 14d}", "3 in 14 days instead of 1"),
        ("{rolling: 1d}", "3 a day instead of 1"),
    ],
)
def test_a_limit_is_told_with_its_time(window: str, told: str) -> None:
    policy = POLICY.replace(ROLLING, f"window: {window}\n    overrides").replace("topics:", ZONE, 1)
    assert said(policy=policy) == {"three": told}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("1", "null", "no limit instead of 1 a week"),
        ("1", "0", "none instead of 1 a week"),
        ("null", "3", "3 a week instead of no limit"),
        ("null", "0", "none instead of no limit"),
        ("0", "3", "3 a week instead of none"),
    ],
)
def test_no_limit_and_none_allowed_are_told_apart(before: str, after: str, told: str) -> None:
    policy = POLICY.replace("limit: 1\n", f"limit: {before}\n", 1)
    source = PLAN.replace("{limit: 3}", f"{{limit: {after}}}").replace(", dose: 1", "").replace(", dose: 3", "")
    assert said(source, policy) == {"three": told}


def test_several_budgets_are_told_by_name_and_those_that_keep_their_limit_are_not() -> None:
    both = PLAN.replace("{limit: 3}", "{limit: 3}, email-weekly: {limit: 4}")
    assert said(both) == {"three": "push-weekly 3 a week instead of 1, email-weekly 4 a week instead of 2"}
    same = PLAN.replace("{limit: 3}", "{limit: 3}, email-weekly: {limit: 2}")
    assert said(same) == {"three": "3 a week instead of 1"}
    none = PLAN.replace("{limit: 3}", "{limit: 1}").replace(", dose: 3", "")
    assert said(none) == {}


def test_a_budget_that_is_kept_for_each_campaign_says_so() -> None:
    policy = POLICY.replace("topics: [promotions]", "topics: [promotions]\n    per: campaign")
    assert said(policy=policy) == {"three": "3 a week instead of 1, for each campaign"}


def test_of_a_variant_that_does_not_fit_the_policy_nothing_is_told() -> None:
    assert said(policy=POLICY.replace("name: push-weekly", "name: other")) == {}
