"""What a plan may say when it is built by hand, and that it says where it is wrong."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import date, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.design import (
    Columns,
    Condition,
    Direction,
    Experiment,
    Form,
    Holdout,
    Inference,
    Layer,
    Mean,
    Outcome,
    Phase,
    Rate,
    Ratio,
    Reachable,
    Retention,
    Role,
    Survival,
    Value,
    Variant,
)
from experiments.errors import PlanError, Problem

START, LATER, END = date(2026, 10, 5), date(2026, 10, 19), date(2027, 1, 4)
UP: dict[str, Any] = {"direction": Direction.INCREASE}
PRIMARY: dict[str, Any] = {"name": "m", "role": Role.PRIMARY, **UP}
GUARDRAIL: dict[str, Any] = {"name": "m", "role": Role.GUARDRAIL, **UP}
EVENT = Outcome(event="session")
SPEND = Mean(**{**PRIMARY, "name": "spend"}, outcome=Outcome(column="spend", event="purchase", value="value"))
ARMS = (Variant("one", control=True), Variant("three"))
PATCH = {"budgets": {"push-weekly": {"limit": 3}}}


def experiment(**fields: Any) -> Experiment:
    return Experiment(**{"key": "k", "variants": ARMS, "metrics": (SPEND,), "start": START, "end": END, **fields})


def rate(**fields: Any) -> Rate:
    return Rate(**{**GUARDRAIL, "margin": 0.01, "outcome": EVENT, **fields})


def ratio(**fields: Any) -> Ratio:
    return Ratio(**{**PRIMARY, "numerator": EVENT, "denominator": Outcome(event="sent"), **fields})


def retention(**fields: Any) -> Retention:
    return Retention(**{**PRIMARY, "outcome": EVENT, "form": Form.WITHIN, "from_day": 7, "until_day": 14, **fields})


def survival(**fields: Any) -> Survival:
    return Survival(**{**PRIMARY, "event": "unsubscribed", "horizon_days": 60, **fields})


def value(**fields: Any) -> Value:
    return Value(**{**PRIMARY, "revenue": Outcome(event="purchase", value="value"), **fields})


def problems(build: Callable[[], object]) -> tuple[Problem, ...]:
    with pytest.raises(PlanError) as caught:
        build()
    return caught.value.problems


# What is built, the path of its one problem, and words of what was found and expected.
REFUSALS: list[tuple[Callable[[], object], str, str, str]] = [
    # variants
    (lambda: Variant(""), "name", "0 characters", "1 to 200"),
    (lambda: Variant("x" * 201), "name", "201 characters", "1 to 200"),
    (lambda: Variant("a\nb"), "name", "a\\nb", "on one line"),
    (lambda: Variant(" a"), "name", "' a'", "without blanks around"),
    (lambda: Variant(7), "name", "7", '(in quotes: "7")'),  # type: ignore[arg-type]
    (lambda: Variant("a", weight=-1), "weight", "-1", "from 0"),
    (lambda: Variant("a", weight=float("nan")), "weight", "nan", "from 0"),
    (lambda: Variant("a", weight=float("inf")), "weight", "inf", "from 0"),
    (lambda: Variant("a", weight=True), "weight", "true", "a number"),
    (lambda: Variant("a", control=1), "control", "1", "true or false"),  # type: ignore[arg-type]
    (lambda: Variant("a", dose=-1), "dose", "-1", "from 0"),
    (lambda: Variant("a", dose=4, policy=PATCH), "dose", "4, where the policy's patch sets a limit of 3", "the limit"),
    (lambda: Variant("a", dose=4, policy={"budgets": {"x": {"limit": None}}}), "dose", "a limit of null", "the limit"),
    (lambda: Variant("a", dose=4, policy={"budgets": {"x": {}}}), "dose", "no limit", "the limit"),
    (lambda: Variant("a", policy={"budgets": 3}), "policy.budgets", "3", "a mapping"),
    (lambda: Variant("a", policy={"budgets": {"a b": 3}}), 'policy.budgets["a b"]', "3", "{limit: 3}"),
    (lambda: Variant("a", policy={"budgets": {"x": {"limit": -1}}}), "policy.budgets.x.limit", "-1", "from 0"),
    (lambda: Variant("a", policy={"x": float("nan")}), "policy", "JSON", "push-weekly"),
    (lambda: Variant("a", policy={"x": {1, 2}}), "policy", "JSON", "push-weekly"),
    (lambda: Variant("a", policy={"x": "y" * 30_000}), "policy", "a mapping of 1", "20,000"),
    (lambda: Variant("a", policy=[1]), "policy", "a list of 1", "a mapping"),  # type: ignore[arg-type]
    # phases, layers, holdouts, conditions
    (lambda: Phase(START, {"one": -1}), "weights.one", "-1", "from 0"),
    (lambda: Phase(START, ["one"]), "weights", "a list of 1", "a mapping"),  # type: ignore[arg-type]
    (lambda: Phase(START, {"one": 1}, 1.5), "traffic", "1.5", "from 0 to 1"),
    (lambda: Phase(datetime(2026, 10, 5), {"one": 1}), "start", "the time 2026-10-05", "a date"),  # noqa: DTZ001
    (lambda: Layer("l", 5, 5), "after", "5", "a slot after 5"),
    (lambda: Layer("l", -1, 5), "first", "-1", "from 0 to 9999"),
    (lambda: Layer("l", 0, 10_001), "after", "10001", "from 1 to 10000"),
    (lambda: Holdout("h", 0), "share", "0", "above 0"),
    (lambda: Holdout("h", 1), "share", "1", "below 1"),
    (lambda: Condition("country"), "", "nothing", "equal, among"),
    (lambda: Condition("country", equal="DE", below=3), "", "several", "equal, among"),
    (lambda: Condition("age", at_least=3, below=3), "below", "3", "above 3"),
    (lambda: Condition("country", among=()), "among", "an empty list", "1 to 1000"),
    (lambda: Condition("country", among=("DE", float("inf"))), "among[1]", "inf", "a number"),
    (lambda: Condition("country", equal=[1]), "equal", "a list of 1", "a text, a number"),  # type: ignore[arg-type]
    # outcomes
    (Outcome, "", "neither column nor event", "both"),
    (lambda: Outcome(column="spend", value="value"), "value", "'value'", "no value without an event"),
    (lambda: Outcome(column="spend", channel="push"), "channel", "'push'", "no channel without an event"),
    (lambda: Outcome(event="session", within_days=0), "within_days", "0", "from 1 to 3650"),
    (lambda: Outcome(event="session", within_days=1.5), "within_days", "1.5", "a whole number"),  # type: ignore[arg-type]
    # margins
    (lambda: rate(margin=None), "margin", "nothing", "above 0, a share below 1"),
    (lambda: rate(margin=-0.01), "margin", "-0.01", "direction says which way"),
    (lambda: rate(margin=0), "margin", "0", "above 0"),
    (lambda: rate(margin=1), "margin", "1", "a share below 1"),
    (lambda: rate(margin=2), "margin", "2", "0.2 points"),
    (lambda: rate(margin=float("nan")), "margin", "nan", "a number"),
    (lambda: retention(**GUARDRAIL, margin=5), "margin", "5", "a share below 1"),
    (lambda: survival(**GUARDRAIL, margin=5), "margin", "5", "a share below 1"),
    (lambda: Reachable(**GUARDRAIL, margin=5, day=28), "margin", "5", "a share below 1"),
    (lambda: rate(role=Role.PRIMARY), "margin", "0.01", "no margin: the role is primary"),
    (lambda: rate(role="gardrail"), "role", "'gardrail'", "did you mean guardrail?"),
    (lambda: rate(direction="up"), "direction", "'up'", "increase or decrease"),
    # kinds
    (lambda: rate(outcome=Outcome(event="purchase", value="v")), "outcome.value", "'v'", "kind mean sums"),
    (lambda: rate(outcome="unsubscribed"), "outcome", "'unsubscribed'", "the type Outcome"),
    (lambda: Mean(**PRIMARY, outcome=EVENT), "outcome.value", "nothing", "kind count counts"),
    (lambda: Mean(**PRIMARY, outcome=SPEND.outcome, is_count=True), "outcome.value", "'value'", "kind mean"),
    (lambda: Mean(**PRIMARY, outcome=SPEND.outcome, cap=0), "cap", "0", "above 0"),
    (lambda: ratio(denominator=Outcome(column="sent")), "denominator", "no table", "two columns or two events"),
    (
        lambda: ratio(denominator=replace(EVENT, within_days=3)),
        "denominator.within_days",
        "null and 3",
        "the same days",
    ),
    (lambda: retention(from_day=14), "until_day", "14", "a day after day 14"),
    (lambda: retention(form=Form.ON_DAY), "until_day", "14", "8 where the form is on_day"),
    (lambda: retention(form="sometime"), "form", "'sometime'", "on_day, from_day or on_or_after_day"),
    (lambda: retention(outcome=Outcome(event="s", within_days=3)), "outcome.within_days", "3", "none"),
    (lambda: retention(clock="sundial"), "clock", "'sundial'", "rolling or calendar"),
    (lambda: Reachable(**PRIMARY, day=-1), "day", "-1", "from 0"),
    (lambda: survival(event="dormant_28d"), "event", "'dormant_28d'", "inactivity is a state"),
    (lambda: survival(event="WentInactive"), "event", "'WentInactive'", "inactivity is a state"),
    (lambda: survival(competing=("left", "lapsed")), "competing[1]", "'lapsed'", "inactivity is a state"),
    (lambda: survival(competing=("unsubscribed",)), "competing", "'unsubscribed'", "other than the one"),
    (lambda: survival(competing=("left", "Left")), "competing[1]", "'Left' again", "once"),
    (lambda: survival(horizon_days=0), "horizon_days", "0", "from 1"),
    (lambda: value(revenue=Outcome(event="purchase")), "revenue.value", "nothing", "the money"),
    (lambda: value(margin_share=0), "margin_share", "0", "above 0"),
    (lambda: value(cost_per_contact=0.1), "cost_per_contact", "0.1", "contacts does not say"),
    (lambda: value(loss_of_reach=4), "loss_of_reach", "4", "lost_reach does not say"),
    (lambda: value(currency="Euro"), "currency", "'Euro'", "three letters"),
    # columns
    (lambda: Columns(variant="customer_id"), "variant", "'customer_id'", "another column than unit"),
    (lambda: Columns(at="AT", suspect="at"), "suspect", "'at'", "another column than at"),
    (lambda: Columns(entered=None), "entered", "null", "a text"),  # type: ignore[arg-type]
    # the whole
    (lambda: experiment(variants=ARMS[:1]), "variants", "a list of 1", "a list of 2 to 50"),
    (lambda: experiment(variants=tuple(Variant(f"v{i}", control=not i) for i in range(51))), "variants", "51", "50"),
    (lambda: experiment(variants=(ARMS[1], Variant("b"))), "variants", "no control", "exactly one"),
    (lambda: experiment(variants=(ARMS[0], Variant("b", control=True))), "variants", "'one' and 'b'", "exactly one"),
    (lambda: experiment(variants=(*ARMS, Variant("One"))), "variants[2].name", "'One' again", "once"),
    (lambda: experiment(variants=("one", ARMS[0])), "variants[0]", "'one'", "the type Variant"),
    (lambda: experiment(variants=(ARMS[0], Variant("b", weight=0))), "variants", "without customers", "above 0"),
    (lambda: experiment(metrics=()), "metrics", "an empty list", "1 to 100"),
    (lambda: experiment(metrics=(rate(),)), "metrics", "no primary", "no verdict is ever ship"),
    (lambda: experiment(metrics=(SPEND, rate(name="Spend"))), "metrics[1].name", "'Spend' again", "once"),
    (lambda: experiment(metrics=(survival(horizon_days=91),)), "metrics[0].horizon_days", "91", "at most 90"),
    (lambda: experiment(end=START), "end", "2026-10-05", "after the start"),
    (lambda: experiment(end=date(2100, 1, 1)), "end", "2100-01-01", "3,650 days"),
    (lambda: experiment(min_days=92), "min_days", "92", "at most 91, the days from start to end"),
    (lambda: experiment(start="2026-10-05"), "start", "'2026-10-05'", "a date"),
    (lambda: experiment(traffic=1.1), "traffic", "1.1", "from 0 to 1"),
    (lambda: experiment(traffic=0), "traffic", "0", "nobody"),
    (lambda: experiment(alpha=0), "alpha", "0", "above 0"),
    (lambda: experiment(alpha=0.5), "alpha", "0.5", "below 0.5"),
    (lambda: experiment(inference="group_sequential"), "inference", "'group_sequential'", "comes later"),
    (lambda: experiment(inference="anytim"), "inference", "'anytim'", "did you mean anytime?"),
    (lambda: experiment(testers={"jane": "two"}), "testers.jane", "'two'", "'one' or 'three'"),
    (lambda: experiment(testers={"jane": []}), "testers.jane", "an empty list", "'one' or 'three'"),
    (lambda: experiment(segments=("a", "a")), "segments[1]", "'a' again", "once"),
    (lambda: experiment(hypothesis="x" * 2001), "hypothesis", "2001", "2,000"),
    (lambda: experiment(layer="l"), "layer", "'l'", "the type Layer"),
    (lambda: experiment(audience=(Condition("a", equal=1), Condition("a", below=2))), "audience[1]", "again", "once"),
    (lambda: experiment(phases=(Phase(LATER, {"one": 1, "three": 1}),)), "phases[0].start", "10-19", "2026-10-05"),
    (
        lambda: experiment(phases=(Phase(START, {"one": 1, "two": 1, "three": 1}),)),
        "phases[0].weights.two",
        "unk",
        "or",
    ),
    (lambda: experiment(phases=(Phase(START, {"one": 1, "three": 0}),)), "phases", "in every phase", "above 0"),
    (lambda: experiment(phases=(Phase(START, {"one": 1, "three": 1}, 0),)), "phases", "in every phase", "above 0"),
]


@pytest.mark.parametrize(("build", "path", "found", "expected"), REFUSALS)
def test_what_a_plan_must_not_say_is_refused_by_name(
    build: Callable[[], object], path: str, found: str, expected: str
) -> None:
    (problem,) = problems(build)
    assert problem.path == path
    assert found in problem.found
    assert expected in problem.expected


@pytest.mark.parametrize("role", [Role.PRIMARY, Role.GUARDRAIL])
@pytest.mark.parametrize("arm", [Variant("three", dose=3), Variant("three", policy=PATCH)])
def test_a_budget_experiment_is_not_decided_by_a_ratio(role: Role, arm: Variant) -> None:
    per_message = ratio(role=role, margin=0.1 if role is Role.GUARDRAIL else None)
    (problem,) = problems(lambda: experiment(variants=(ARMS[0], arm), metrics=(SPEND, per_message)))
    assert problem.path == "metrics[1].role"
    assert "a budget changes how many messages" in problem.expected


@pytest.mark.parametrize("role", [Role.SECONDARY, Role.DESCRIPTIVE])
def test_a_budget_experiment_may_show_a_ratio(role: Role) -> None:
    budget = experiment(variants=(ARMS[0], Variant("three", dose=3)), metrics=(SPEND, ratio(role=role)))
    assert budget.is_about_budgets


@pytest.mark.parametrize("unit", ["message_id", "Message_ID", "ask_id", "contact", "campaign"])
@pytest.mark.parametrize("arm", [Variant("three", dose=3), Variant("three", policy=PATCH)])
def test_a_budget_experiment_is_never_read_per_message(unit: str, arm: Variant) -> None:
    (problem,) = problems(lambda: experiment(variants=(ARMS[0], arm), columns=Columns(unit=unit)))
    assert problem.path == "columns.unit"
    assert "a budget is a customer's" in problem.expected
    assert experiment(columns=Columns(unit=unit)).columns.unit == unit  # about anything else it may be


@pytest.mark.parametrize("unit", ["customer_id", "user", "sender_id", None])
def test_a_budget_experiment_takes_customers_by_any_name_or_none(unit: str | None) -> None:
    wide = replace(SPEND, outcome=Outcome(column="spend"))
    arms = (ARMS[0], Variant("three", dose=3))
    assert experiment(variants=arms, metrics=(wide,), columns=Columns(unit=unit)).columns.unit == unit


def test_an_experiment_about_anything_else_may_be_decided_by_a_ratio() -> None:
    assert not experiment(metrics=(ratio(),)).is_about_budgets


def test_a_plan_collects_all_its_problems() -> None:
    found = problems(
        lambda: experiment(
            key="",
            variants=(ARMS[1], Variant("b", dose=2)),
            metrics=(SPEND, ratio(), survival(name="s", horizon_days=99)),
            end=date(2026, 10, 6),
            alpha=2,
            testers={"jane": "nobody"},
        )
    )
    paths = {"key", "variants", "metrics[1].role", "metrics[2].horizon_days", "min_days", "alpha", "testers.jane"}
    assert {each.path for each in found} == paths


def test_phases_follow_each_other_within_the_plan() -> None:
    weights = {"one": 1.0, "three": 1.0}
    phases = (Phase(START, weights), Phase(LATER, weights), Phase(LATER, weights), Phase(END, weights))
    found = problems(lambda: experiment(phases=phases))
    assert [(each.path, each.expected) for each in found] == [
        ("phases[2].start", "a date after 2026-10-19, where the phase before begins"),
        ("phases[3].start", "a date before the end, 2027-01-04"),
    ]


def test_a_variant_that_a_phase_does_not_name_has_no_customers_in_it() -> None:
    five = Variant("five")
    phases = (Phase(START, {"three": 1, "one": 2}), Phase(LATER, {"one": 1, "three": 1, "five": 1}))
    plan = experiment(variants=(*ARMS, five), phases=phases)
    assert plan.phases[0].weights == {"one": 2, "three": 1, "five": 0}
    (problem,) = problems(lambda: experiment(variants=(*ARMS, five), phases=phases[:1]))
    assert (problem.path, problem.found) == ("phases", "no weight of 'five'")


UNNAMED = Columns(unit=None)
ONE_ROW = (
    SPEND,
    Reachable(**{**PRIMARY, "name": "r"}, day=28, column="reachable"),
    survival(name="s", duration="days"),
    ratio(name="q", numerator=Outcome(column="a"), denominator=Outcome(column="b")),
    value(name="v", revenue=Outcome(column="spend")),
)


def test_units_that_nothing_names_have_columns() -> None:
    assert experiment(metrics=ONE_ROW, columns=UNNAMED).columns.unit is None


@pytest.mark.parametrize(
    "metric",
    [
        rate(name="x"),
        retention(name="x"),
        survival(name="x"),
        ratio(name="x"),
        Reachable(**{**PRIMARY, "name": "x"}, day=28, channel="push"),
        value(name="x", revenue=Outcome(column="spend"), contacts=Outcome(event="sent"), cost_per_contact=0),
    ],
)
def test_units_that_nothing_names_have_no_events(metric: Any) -> None:
    (problem,) = problems(lambda: experiment(metrics=(SPEND, metric), columns=UNNAMED))
    assert (problem.path, problem.found) == ("metrics[1]", "events alone")


def test_the_seed_is_the_key_unless_it_is_given_and_outlives_it() -> None:
    assert experiment().seed == "k"
    assert experiment(seed="s").seed == "s"
    assert replace(experiment(), key="renamed").seed == "k"


def test_texts_become_members_and_lists_become_tuples() -> None:
    plan = experiment(variants=list(ARMS), metrics=[rate(role="primary", direction="decrease", margin=None)])
    assert plan.metrics[0].role is Role.PRIMARY
    assert plan.metrics[0].direction is Direction.DECREASE
    assert plan.variants == ARMS
    assert experiment(inference="fixed").inference is Inference.FIXED
    assert retention(form="from_day").form is Form.WITHIN


def test_numbers_of_numpy_are_numbers() -> None:
    assert Variant("a", weight=np.int64(3), dose=np.float64(2.5)).weight == 3  # type: ignore[arg-type]
    assert problems(lambda: Variant("a", weight=np.float64("nan")))[0].found == "nan"


def test_nobody_changes_a_plan_from_outside() -> None:
    patch = copy.deepcopy(PATCH)
    testers, weights = {"jane": "three"}, {"one": 1.0, "three": 1.0}
    plan = experiment(
        variants=(ARMS[0], Variant("three", dose=3, policy=patch)), testers=testers, phases=(Phase(START, weights),)
    )
    patch["budgets"]["push-weekly"]["limit"] = 9
    testers["joe"], weights["one"] = "one", 7
    assert plan.variants[1].policy == PATCH
    assert plan.testers == {"jane": "three"}
    assert plan.phases[0].weights["one"] == 1
    with pytest.raises(FrozenInstanceError):
        plan.traffic = 0.5  # type: ignore[misc]


def test_a_plan_can_be_pickled_and_copied() -> None:
    plan = experiment(variants=(ARMS[0], Variant("three", dose=3, policy=PATCH)), testers={"jane": "three"})
    assert pickle.loads(pickle.dumps(plan)) == plan  # noqa: S301
    assert copy.deepcopy(plan) == plan


def test_control_and_treatments() -> None:
    plan = experiment(variants=(Variant("three"), Variant("one", control=True), Variant("five")))
    assert plan.control.name == "one"
    assert [each.name for each in plan.treatments] == ["three", "five"]


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=3)
    | st.dates()
    | st.sampled_from([10**400, ARMS, SPEND, EVENT, np.float64(1), complex(1, 2)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
WHOLE: list[Any] = [
    experiment(testers={"jane": "three"}, layer=Layer("l", 0, 5), holdout=Holdout("h", 0.1), segments=("s",)),
    *(rate(), ratio(), retention(), survival(), value(), SPEND, Reachable(**PRIMARY, day=3, channel="push")),
    *(Variant("three", dose=3, policy=PATCH), Phase(START, {"one": 1}), Layer("l", 0, 5), Holdout("h", 0.1)),
    *(Condition("age", at_least=3), Outcome(event="purchase", value="v", channel="c", within_days=3), Columns()),
]


@given(st.sampled_from(WHOLE), st.data())
def test_whatever_a_field_holds_the_value_is_built_or_a_plan_error_names_the_place(whole: Any, data: Any) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(whole.__dataclass_fields__)), min_size=1, max_size=3))
    fields = {name: data.draw(ANYTHING, label=name) for name in names}
    found: tuple[Problem, ...] = ()
    try:
        replace(whole, **fields)
    except PlanError as error:
        found = error.problems
    assert all(each.found and each.expected for each in found)
