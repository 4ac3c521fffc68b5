"""Which experiments exclude each other, and what the refusal advises."""

import re

import pytest

from engine.core.errors import Conflict
from engine.operations.contamination import check_policy, conflict
from engine.operations.policy_file import load_policy
from tests.operations.plans import AA, EMAIL, PLAN, POLICY, layered, plan

IN_FORCE = load_policy(POLICY)
AGAIN = PLAN.replace("push-more", "push-again")
NEWS = PLAN.replace("push-more", "news").replace("push-weekly", "any-weekly").replace("dose: 1", "dose: 9")


def why(starting: str, *running: str, policy: str = POLICY) -> str | None:
    return conflict(load_policy(policy), plan(starting).experiment, [plan(each).experiment for each in running])


def test_two_that_change_the_same_budget_conflict():
    told = why(AGAIN, PLAN)
    assert told is not None
    assert "'push-more'" in told
    assert "both change the budget push-weekly" in told
    assert "slots: [0, 5000]" in told


def test_two_whose_budgets_one_ask_could_be_charged_to_conflict():
    told = why(NEWS, EMAIL)
    assert told is not None
    assert "any-weekly" in told
    assert "email-weekly" in told


def test_two_whose_budgets_select_no_common_ask_do_not():
    assert why(EMAIL, PLAN) is None, "other channels"
    assert why(NEWS, PLAN) is None, "other topics"
    assert why(AA, PLAN) is None, "no budgets at all"
    assert why(PLAN, AA) is None


@pytest.mark.parametrize(
    ("selectors", "conflicts"),
    [
        (("topics: [promotions]", "topics: [newsletter]"), False),
        (("topics: [promotions]", ""), True),
        (("campaigns: [a]", "campaigns: [b]"), False),
        (("campaigns: [a]", "teams: [crm]"), True),
        (("teams: [crm]", "teams: [shop]"), False),
        (("topics: [orders, promotions]", "topics: [orders, newsletter]"), False),
        (("topics: [orders, promotions]", "topics: [orders, promotions]"), True),
        (("", ""), True),
    ],
)
def test_asks_are_shared_where_every_selector_overlaps_in_what_is_not_exempt(
    selectors: tuple[str, str], conflicts: bool
):
    policy = POLICY.split("budgets:")[0] + "budgets:\n"
    for name, limit, selector in zip(("push-weekly", "email-weekly"), (1, 2), selectors, strict=True):
        fields = [
            f"name: {name}",
            f"limit: {limit}",
            f"window: {{rolling: {limit}d}}",
            *([selector] if selector else []),
        ]
        policy += f"  - {{{', '.join(fields)}}}\n"
    assert (why(EMAIL, PLAN, policy=policy) is not None) is conflicts
    assert (why(PLAN, EMAIL, policy=policy) is not None) is conflicts


def test_slots_of_one_layer_keep_customers_apart():
    assert why(layered(AGAIN, 5000, 10000), layered(PLAN, 0, 5000)) is None
    assert why(layered(AGAIN, 0, 5000), layered(PLAN, 5000, 10000)) is None


def test_slots_of_two_layers_do_not():
    assert why(layered(AGAIN, 5000, 10000, "other"), layered(PLAN, 0, 5000)) is not None


def test_slots_that_overlap_are_refused_whatever_is_changed():
    told = why(layered(AA, 4999, 10000), layered(PLAN, 0, 5000))
    assert told is not None
    assert "free is layer: {name: budgets, slots: [5000, 10000]}" in told


def test_the_room_that_is_left_is_the_widest_between_all():
    news = layered(NEWS, 2000, 9000)
    told = why(AGAIN, layered(PLAN, 0, 1500), news)
    assert told is not None
    assert "slots: [9000, 10000]" in told
    full = why(AGAIN, layered(PLAN, 0, 2000), layered(NEWS, 2000, 10000))
    assert full is not None
    assert "is full" in full


def test_the_seed_of_a_running_experiment_is_taken_unless_a_layer_keeps_them_apart():
    told = why(AA + "seed: push-more\n", PLAN)
    assert told is not None
    assert "the seed of the running experiment 'push-more'" in told
    assert why(layered(AA + "seed: push-more\n", 0, 5000), layered(PLAN, 5000, 10000)) is None


def test_a_policy_may_not_take_away_what_a_running_experiment_stands_on():
    running = [plan().experiment]
    check_policy(IN_FORCE, load_policy(POLICY.replace("limit: 9", "limit: 8")), running)
    for was, becomes in (("name: push-weekly", "name: push"), ("limit: 1\n", "limit: 4\n")):
        with pytest.raises(Conflict, match="'push-more' is running"):
            check_policy(IN_FORCE, load_policy(POLICY.replace(was, becomes)), running)


@pytest.mark.parametrize("limit", [3, 4])  # that of the treatment, too: then nothing would be compared
def test_a_policy_may_not_move_a_control_whose_plan_says_no_dose(limit: int):
    running = [plan(re.sub(r"dose: \d, |, dose: \d", "", PLAN)).experiment]
    with pytest.raises(Conflict, match=f"would have another limit of push-weekly, {limit} and not 1"):
        check_policy(IN_FORCE, load_policy(POLICY.replace("limit: 1\n", f"limit: {limit}\n")), running)
    with pytest.raises(Conflict, match="none and not 1"):
        check_policy(IN_FORCE, load_policy(POLICY.replace("limit: 1\n", "limit: null\n")), running)


def test_a_policy_may_not_make_running_experiments_conflict():
    running = [plan(PLAN).experiment, plan(EMAIL).experiment]
    check_policy(IN_FORCE, IN_FORCE, running)
    wider = POLICY.replace("channels: [push]\n", "channels: [push, email]\n")
    with pytest.raises(Conflict, match="conflicts with the running experiment 'push-more'"):
        check_policy(IN_FORCE, load_policy(wider), running)
