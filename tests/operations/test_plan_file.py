"""Plans as the service takes them: the line of every problem, and how they fit the policy in force."""

import json

import pytest

from engine.core.errors import InvalidPlan, Problem
from engine.operations.plan_file import as_text, budgets_changed, load_plan, misfits, patched
from engine.operations.policy_file import load_policy
from tests.operations.plans import AA, EMAIL, PLAN, POLICY, THREE_ARMS, plan

IN_FORCE = load_policy(POLICY)


def refused(text: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(InvalidPlan) as error:
        load_plan(text, "plan.yaml")
    assert error.value.source == "plan.yaml"
    return error.value.problems


def placed(text: str) -> list[tuple[int | None, str]]:
    """The places of what does not fit."""
    read = load_plan(text)
    return [(each.line, each.path) for each in read.placed(misfits(IN_FORCE, read.experiment))]


def test_a_plan_is_read_from_yaml_and_from_json_as_the_same():
    from_yaml = load_plan(PLAN)
    from_json = load_plan(as_text(from_yaml.data))
    assert from_json.experiment == from_yaml.experiment
    assert json.loads(from_json.source) == from_yaml.data
    assert load_plan(b"\xef\xbb\xbf" + PLAN.encode()).experiment == from_yaml.experiment


def test_what_is_wrong_with_a_plan_comes_with_its_line():
    (problem,) = refused(PLAN.replace("role: primary", "role: main"))
    assert (problem.line, problem.path) == (9, "metrics[0].role")


@pytest.mark.parametrize("text", ["", "- a", "key: [", "key: \0", "a" * 300_000, "&a [*a]", "{" * 1_000])
def test_what_is_no_plan_is_refused(text: str):
    assert refused(text)


def test_a_patch_and_a_dose_that_fit_are_no_problem():
    assert not placed(PLAN)
    assert not placed(THREE_ARMS)
    assert not placed(EMAIL)
    assert not placed(AA)
    assert budgets_changed(plan(THREE_ARMS).experiment) == {"push-weekly"}


@pytest.mark.parametrize(
    ("was", "becomes", "line", "path"),
    [
        ("push-weekly: {limit: 3}", "push-daily: {limit: 3}", 5, "variants[1].policy.budgets.push-daily"),
        ("push-weekly: {limit: 3}", "spacing: {limit: 3}", 5, "variants[1].policy.budgets.spacing"),
        ("push-weekly: {limit: 3}", "push-weekly: {limit: 3, w: 1}", 5, "variants[1].policy.budgets.push-weekly.w"),
        ("budgets: {push-weekly", "budget: {push-weekly", 5, "variants[1].dose"),
        ("control: true, dose: 1", "control: true, dose: 2", 4, "variants[0].dose"),
        (
            "control: true, dose: 1",
            "control: true, policy: {budgets: {push-weekly: {limit: 1}}}",
            4,
            "variants[0].policy",
        ),
    ],
)
def test_what_does_not_fit_the_policy_is_named_by_its_place(was: str, becomes: str, line: int, path: str):
    text = PLAN.replace(was, becomes)
    try:
        found = placed(text)
    except InvalidPlan as invalid:
        found = [(each.line, each.path) for each in invalid.problems]
    assert (line, path) in found


def test_a_budget_that_is_nearly_named_is_guessed():
    read = plan(PLAN.replace("push-weekly", "push-wekly"))
    (problem,) = [each for each in misfits(IN_FORCE, read.experiment) if "policy" in each.path]
    assert "did you mean push-weekly?" in problem.expected


def test_a_dose_without_a_budget_is_no_dose():
    read = plan(AA.replace("{name: b}", "{name: b, dose: 3}"))
    (problem,) = misfits(IN_FORCE, read.experiment)
    assert problem.path == "variants[1].dose"


def test_a_patch_replaces_limit_and_overrides_of_its_budget_alone():
    experiment = plan().experiment
    under = patched(IN_FORCE, experiment.treatments[0])
    assert (under.budgets[0].limit, under.budgets[0].overrides) == (3, ())
    assert under.budgets[1:] == IN_FORCE.budgets[1:]
    assert patched(IN_FORCE, experiment.control) is IN_FORCE


@pytest.mark.parametrize(("unit", "path"), [("session_id", "unit"), ("null", "metrics[0]")])
def test_the_service_has_no_other_unit_than_the_customer(unit: str, path: str):
    found = refused(AA + f"unit: {unit}\n")
    assert [each.path for each in found] == [path]


def test_a_plan_for_the_service_and_for_tables_may_name_the_column_of_the_customer():
    assert plan(AA, unit="customer_id", columns="{unit: kunde}").experiment.columns.unit == "kunde"


def test_a_metric_of_a_column_alone_is_named():
    (problem,) = refused(AA.replace("event: purchase", "column: bought"))
    assert (problem.path, problem.line) == ("metrics[0]", 8)


@pytest.mark.parametrize("name", ["hard", "id", "source"])
def test_what_says_which_event_it_is_cannot_be_summed(name: str):
    text = AA.replace("kind: rate, event: purchase", f"kind: mean, event: purchase, value: {name}")
    (problem,) = refused(text)
    assert (problem.path, problem.line, problem.found) == ("metrics[0].value", 8, repr(name))
    assert problem.expected == "a number of the event: hard, id, source say which event it is, and are none"
    ratio = "kind: ratio, numerator: {event: purchase, value: value}, denominator: {event: purchase, value: hard}"
    (problem,) = refused(AA.replace("kind: rate, event: purchase, within_days: 14", ratio))
    assert problem.path == "metrics[0].denominator.value"


@pytest.mark.parametrize("escape", ["\\u0000", "\\ud800"])
def test_texts_that_no_database_keeps_are_refused_where_they_stand(escape: str):
    text = AA + f'audience: {{country: "D{escape}E"}}\n'
    assert any("audience" in each.path for each in refused(text))
    policy = '{"budgets": {"push-weekly": {"limit": 3, "overrides": [{"when": {"x": "' + escape + '"}, "limit": 1}]}}}'
    found = refused(PLAN.replace("{budgets: {push-weekly: {limit: 3}}}", policy))
    assert any("variants[1]" in each.path for each in found)
