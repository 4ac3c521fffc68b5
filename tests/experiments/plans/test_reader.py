"""Plans as files: the one in the design and the one in the reference are read, from wherever they come."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from experiments.design import (
    Clock,
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
from experiments.errors import PlanError
from experiments.plans import reader as plan_reader
from experiments.plans import text as plan_text
from tests.experiments.plan_texts import DESIGN, REFERENCE, SMALL, read, reference

START, END = date(2026, 10, 5), date(2027, 1, 4)
PRIMARY: dict[str, Any] = {"role": Role.PRIMARY, "direction": Direction.INCREASE}
SECONDARY: dict[str, Any] = {"role": Role.SECONDARY, "direction": Direction.INCREASE}


def metric(fields: str) -> Any:
    return read(f"{SMALL}  - {{name: m, role: secondary, direction: increase, {fields}}}\n").metrics[1]


# --- what is read -----------------------------------------------------------------------------------------------------


def test_the_plan_of_the_design_is_read_as_it_stands() -> None:
    assert read(DESIGN) == Experiment(
        key="push-budget-2026q4",
        hypothesis="One promotional push a week keeps more customers reachable at no loss of revenue.",
        variants=(
            Variant("one", 1, control=True, dose=1),
            Variant("three", 1, dose=3, policy={"budgets": {"push-weekly": {"limit": 3}}}),
        ),
        traffic=1.0,
        layer=Layer("push-budget", 0, 5000),
        start=START,
        end=END,
        min_days=14,
        horizon_days=90,
        metrics=(
            Reachable(name="reachable_28", channel="push", day=28, **PRIMARY),
            Retention(
                name="retention_28",
                outcome=Outcome(event="session"),
                form=Form.ON_OR_AFTER,
                from_day=28,
                until_day=56,
                **SECONDARY,
            ),
            Rate(
                name="unsubscribed",
                outcome=Outcome(column="unsubscribed", event="unsubscribed", within_days=28),
                role=Role.GUARDRAIL,
                direction=Direction.DECREASE,
                margin=0.002,
            ),
            Mean(
                name="spend",
                outcome=Outcome(column="spend", event="purchase", value="value", within_days=28),
                **SECONDARY,
            ),
            Ratio(
                name="unsubscribes_per_message",
                numerator=Outcome(event="unsubscribed"),
                denominator=Outcome(event="sent"),
                role=Role.DESCRIPTIVE,
                direction=Direction.DECREASE,
            ),
            Survival(
                name="time_to_unsubscribe",
                duration="days",
                event="unsubscribed",
                competing=("left",),
                horizon_days=90,
                role=Role.SECONDARY,
                direction=Direction.DECREASE,
            ),
        ),
        segments=("lifecycle",),
        alpha=0.05,
        inference=Inference.ANYTIME,
        columns=Columns(unit="customer_id"),
    )


def test_the_plan_of_the_reference_says_what_the_reference_says() -> None:
    plan = read(reference())
    by_name = {each.name: each for each in plan.metrics}
    assert {type(each) for each in plan.metrics} == {Reachable, Retention, Rate, Mean, Ratio, Survival, Value}
    assert plan.holdout == Holdout("untouched-2026", 0.05)
    assert plan.layer == Layer("push-budget", 0, 5000)
    assert plan.audience == (
        Condition("country", equal="DE"),
        Condition("tier", among=("gold", "silver")),
        Condition("days_since_first_seen", at_least=30, below=730),
    )
    assert plan.phases == (
        Phase(START, {"one": 1, "three": 1, "five": 0}, 0.2),
        Phase(date(2026, 10, 19), {"one": 2, "three": 1, "five": 1}, 1),
    )
    assert plan.testers == {"jane@example.org": "three"}
    assert plan.columns == Columns(variant="arm", entered="diverged_at", event_id="id")
    assert by_name["net_value"] == Value(
        name="net_value",
        revenue=Outcome(event="purchase", value="value", within_days=90),
        margin_share=0.3,
        contacts=Outcome(event="sent", within_days=90),
        cost_per_contact=0.001,
        lost_reach=Outcome(event="unsubscribed", within_days=90),
        loss_of_reach=4.5,
        **SECONDARY,
    )
    retention = [each for each in plan.metrics if isinstance(each, Retention)]
    assert [(each.form, each.from_day, each.until_day, each.clock) for each in retention] == [
        (Form.ON_DAY, 7, 8, Clock.ROLLING),
        (Form.WITHIN, 7, 14, Clock.ROLLING),
        (Form.ON_OR_AFTER, 28, 56, Clock.CALENDAR),
    ]


def test_the_reference_shows_every_field_of_a_plan_and_of_its_metrics() -> None:
    text, rest = reference(), REFERENCE.read_text()
    for name in ("kind: rate", "kind: mean", "kind: count", "kind: ratio", "kind: reachable", "kind: survival"):
        assert name in text
    for field in set(Experiment.__dataclass_fields__) - {"key"}:
        assert re.search(rf"^{field}:", text, re.MULTILINE), field
    for field in Columns.__dataclass_fields__:
        assert f"`{field}`" in rest, field


def test_what_is_not_given_has_the_defaults_that_the_reference_names() -> None:
    plan = read(SMALL)
    assert (plan.columns.unit, plan.traffic, plan.min_days, plan.horizon_days) == ("customer_id", 1, 14, 90)
    assert (plan.alpha, plan.inference, plan.seed, plan.variants[1].weight) == (0.05, Inference.ANYTIME, "k", 1)
    assert (plan.layer, plan.holdout, plan.phases, plan.audience) == (None, None, (), ())
    assert not plan.testers


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("kind: rate, column: visit", Rate(name="m", outcome=Outcome(column="visit"), **SECONDARY)),
        (
            "kind: count, event: session, channel: push, cap: 9",
            Mean(name="m", outcome=Outcome(event="session", channel="push"), cap=9, is_count=True, **SECONDARY),
        ),
        (
            "kind: ratio, within_days: 7, "
            "numerator: {column: a, event: b, value: c}, denominator: {column: d, event: e}",
            Ratio(
                name="m",
                numerator=Outcome(column="a", event="b", value="c", within_days=7),
                denominator=Outcome(column="d", event="e", within_days=7),
                **SECONDARY,
            ),
        ),
        ("kind: survival, event: gone", Survival(name="m", event="gone", horizon_days=90, **SECONDARY)),
        (
            "kind: survival, event: gone, competing: [a, b]",
            Survival(name="m", event="gone", competing=("a", "b"), horizon_days=90, **SECONDARY),
        ),
        ("kind: value, column: spend", Value(name="m", revenue=Outcome(column="spend"), **SECONDARY)),
        (
            "kind: value, event: buy, value: v, lost_reach: {event: gone}, within_days: 9",
            Value(
                name="m",
                revenue=Outcome(event="buy", value="v", within_days=9),
                lost_reach=Outcome(event="gone", within_days=9),
                **SECONDARY,
            ),
        ),
        (
            "kind: rate, column: visit, title: share who visited",
            Rate(name="m", title="share who visited", outcome=Outcome(column="visit"), **SECONDARY),
        ),
        ("kind: rate, column: visit, margin: null", Rate(name="m", outcome=Outcome(column="visit"), **SECONDARY)),
    ],
)
def test_short_forms_become_outcomes(fields: str, expected: object) -> None:
    assert metric(fields) == expected


def test_a_survival_metric_takes_the_horizon_of_the_plan() -> None:
    text = (
        f"{SMALL}  - {{name: s, kind: survival, event: gone, role: secondary, direction: decrease}}\nhorizon_days: 30\n"
    )
    gone = read(text).metrics[1]
    assert isinstance(gone, Survival)
    assert gone.horizon_days == 30


def test_units_may_have_no_name() -> None:
    assert read(f"{SMALL}unit: null\n").columns.unit is None
    assert read(f"{SMALL}columns: {{unit: null}}\n").columns.unit is None
    assert read(f"{SMALL}columns: {{unit: id}}\n").columns.unit == "id"


def test_customers_may_stand_in_a_column_of_another_name() -> None:
    for plan in (SMALL, SMALL.replace("{name: three}", "{name: three, dose: 3}")):
        assert read(f"{plan}unit: customer_id\ncolumns: {{unit: user_id}}\n").columns.unit == "user_id"
        assert read(f"{plan}columns: {{unit: user_id}}\n").columns.unit == "user_id"
        assert read(f"{plan}unit: null\n").columns.unit is None


def test_a_phase_takes_from_the_plan_what_it_does_not_say() -> None:
    phases = (
        "{start: 2026-10-05}",
        "{start: 2026-10-12, traffic: 1}",
        "{start: 2026-10-19, weights: {one: 1, three: 2}}",
    )
    plan = read(f"{SMALL}traffic: 0.1\nphases: [{', '.join(phases)}]\n")
    assert [(each.traffic, dict(each.weights)) for each in plan.phases] == [
        (0.1, {"one": 1, "three": 1}),
        (1, {"one": 1, "three": 1}),
        (0.1, {"one": 1, "three": 2}),
    ]


def test_words_and_dates_are_what_yaml_1_2_says() -> None:
    plan = read(f'{SMALL}audience: {{country: NO, opted: yes, is_new: true, code: "007", zip: 007, rate: 1e-3}}\n')
    assert [each.equal for each in plan.audience] == ["NO", "yes", True, "007", 7, 0.001]


def test_keys_are_texts_as_they_are_written() -> None:
    assert read(f"{SMALL}testers: {{0012: three, true: one}}\n").testers == {"0012": "three", "true": "one"}


def test_a_hypothesis_may_have_several_lines() -> None:
    assert read(f"{SMALL}hypothesis: >\n  One push\n  is enough.\n").hypothesis == "One push is enough."
    assert read(f"{SMALL}hypothesis: |\n  One.\n  Two.\n").hypothesis == "One.\nTwo."


def test_aliases_are_what_they_stand_for() -> None:
    text = SMALL.replace("column: spend", "column: &c spend") + (
        "  - {name: m, kind: mean, column: *c, role: secondary, direction: increase}\n"
    )
    assert read(text).metrics[1] == Mean(name="m", outcome=Outcome(column="spend"), **SECONDARY)


# --- where from -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [DESIGN, SMALL])
def test_a_plan_is_the_same_from_a_path_a_text_and_an_open_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    plans = [plan_reader.read(path), plan_reader.read(str(path)), Experiment.from_yaml(path), read(text.encode())]
    with path.open() as file:
        plans.append(plan_reader.read(file))
    with path.open("rb") as file:
        plans.append(Experiment.from_yaml(file))
    assert plans == [read(text)] * 6


@pytest.mark.parametrize("indent", [None, 2, "\t"])
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_a_plan_in_json_is_the_same_plan(indent: Any, ensure_ascii: bool) -> None:
    data = plan_text.parse(reference() + 'testers: {"😀 née": three}\n'.replace("testers", "x")).data
    assert isinstance(data, dict)
    data["testers"] = data.pop("x")  # pyright: ignore[reportUnknownMemberType]
    expected = plan_reader.read_data(data)
    assert read(json.dumps(data, indent=indent, ensure_ascii=ensure_ascii)) == expected
    assert expected.testers == {"😀 née": "three"}


def test_a_byte_order_mark_and_other_line_ends_do_no_harm() -> None:
    assert read("\ufeff" + SMALL) == read(SMALL.encode("utf-8-sig")) == read(SMALL.replace("\n", "\r\n")) == read(SMALL)


def test_a_file_that_is_not_there_is_the_system_s_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        plan_reader.read(tmp_path / "nowhere.yaml")


def test_a_text_in_place_of_a_path_is_told_apart() -> None:
    with pytest.raises(PlanError, match=r"io\.StringIO"):
        plan_reader.read(SMALL)


def test_an_error_names_the_file_and_every_line(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(SMALL.replace("2027-01-04", "2025-01-04") + "alhpa: 0.1\n")
    with pytest.raises(PlanError) as caught:
        Experiment.from_yaml(path)
    assert str(caught.value) == (
        f"{path} cannot be used, for 2 reasons:\n"
        "  line 6: end: found 2025-01-04, expected a date after the start, 2026-10-05\n"
        "  line 9: alhpa: found an unknown field, expected a known one: did you mean alpha?"
    )
    assert caught.value.source == str(path)
