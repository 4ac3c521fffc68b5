"""Plans as files: the one in the design and the one in the reference are read, and what is wrong has its line."""

import copy
import io
import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import plan_reader, plan_text
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
from experiments.errors import PlanError, Problem

DESIGN = """\
key: push-budget-2026q4
hypothesis: One promotional push a week keeps more customers reachable at no loss of revenue.
unit: customer_id
variants:
  - {name: one, weight: 1, control: true, dose: 1}                                          # the policy as it is
  - {name: three, weight: 1, dose: 3, policy: {budgets: {push-weekly: {limit: 3}}}}         # a dose that differs from its limit is an error
traffic: 1.0
layer: {name: push-budget, slots: [0, 5000]}     # of 10,000; overlaps are refused at start
start: 2026-10-05
end: 2027-01-04                                # the planned end; min_days: 14; horizon_days: 90
min_days: 14
horizon_days: 90
metrics:                                  # kind: rate | mean | ratio | count | nps | reachable | retention | survival | value | ...
  - {name: reachable_28, kind: reachable, channel: push, day: 28, role: primary, direction: increase}
  - {name: retention_28, kind: retention, event: session, on_or_after_day: 28, until_day: 56, role: secondary, direction: increase}
  - {name: unsubscribed, kind: rate, column: unsubscribed, event: unsubscribed, within_days: 28, role: guardrail, direction: decrease, margin: 0.002}
  - {name: spend, kind: mean, column: spend, event: purchase, value: value, within_days: 28, role: secondary, direction: increase}
  - {name: unsubscribes_per_message, kind: ratio, numerator: {event: unsubscribed}, denominator: {event: sent}, role: descriptive, direction: decrease}
  - {name: time_to_unsubscribe, kind: survival, duration: days, event: unsubscribed, competing: left, horizon: 90, role: secondary, direction: decrease}
segments: [lifecycle]
alpha: 0.05
inference: anytime                        # fixed | anytime (group_sequential comes later and is refused until then)
"""  # noqa: E501  (as it stands in the design)
SMALL = """\
key: k
variants:
  - {name: one, control: true}
  - {name: three}
start: 2026-10-05
end: 2027-01-04
metrics:
  - {name: spend, kind: mean, column: spend, role: primary, direction: increase}
"""
START, END = date(2026, 10, 5), date(2027, 1, 4)
PRIMARY: dict[str, Any] = {"role": Role.PRIMARY, "direction": Direction.INCREASE}
SECONDARY: dict[str, Any] = {"role": Role.SECONDARY, "direction": Direction.INCREASE}
REFERENCE = Path(__file__).parent.parent.parent / "docs" / "plan.md"


def read(text: str | bytes) -> Experiment:
    return plan_reader.read(io.BytesIO(text) if isinstance(text, bytes) else io.StringIO(text))


def problems(text: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(PlanError) as caught:
        read(text)
    return caught.value.problems


def metric(fields: str) -> Any:
    return read(f"{SMALL}  - {{name: m, role: secondary, direction: increase, {fields}}}\n").metrics[1]


def reference() -> str:
    (text,) = re.findall(r"<!-- plan -->\n```yaml\n(.*?)```", REFERENCE.read_text(), re.DOTALL)
    return text


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


# --- what is refused --------------------------------------------------------------------------------------------------

# Lines that follow the small plan, and the place and words of the one problem.
REFUSALS: list[tuple[str, int, str, str, str]] = [
    ("layer: {name: l, slots: [5, 5]}", 9, "layer.slots[1]", "5", "a slot after 5"),
    ("layer: {name: l, slots: 5}", 9, "layer.slots", "5", "a list of 2"),
    ("layer: {name: l}", 9, "layer.slots", "nothing", "a list of 2"),
    ("layer: [l]", 9, "layer", "a list of 1", "a mapping"),
    ("holdout: {name: h, share: 2}", 9, "holdout.share", "2", "above 0"),
    ("holdout: {name: h}", 9, "holdout.share", "nothing", "a number"),
    ("columns: {evnt: type}", 9, "columns.evnt", "an unknown field", "did you mean event?"),
    ("columns: {zzz: type}", 9, "columns.zzz", "an unknown field", "one of unit, variant"),
    ("columns: 5", 9, "columns", "5", "a mapping"),
    ("unit: 5", 9, "unit", "5", "a text"),
    ("unit: a\ncolumns: {unit: b}", 10, "columns.unit", "the unit again", "it once"),
    ("audience: [country]", 9, "audience", "a list of 1", "{country: DE"),
    (
        "audience:\n  country: {atleast: 5, below: 9}",
        10,
        "audience.country.atleast",
        "unknown",
        "did you mean at_least?",
    ),
    ("audience: {age: {at_least: 5, below: 5}}", 9, "audience.age.below", "5", "above 5"),
    ("audience: {x: [a, [b]]}", 9, "audience.x[1]", "a list of 1", "a text, a number"),
    ("audience: {x: }", 9, "audience.x", "nothing", "equal, among"),
    ("audience: {x: .nan}", 9, "audience.x", "nan", "a number"),
    ("testers: [a]", 9, "testers", "a list of 1", "a mapping"),
    ("testers:\n  a: one\n  b c: two", 11, 'testers["b c"]', "'two'", "'one' or 'three'"),
    ("phases: {start: 2026-10-05}", 9, "phases", "a mapping of 1", "a list"),
    ("phases: [5]", 9, "phases[0]", "5", "a mapping"),
    ("phases: [{weights: {one: 1, three: 1}}]", 9, "phases[0].start", "nothing", "a date"),
    ("phases: [{start: 2026-10-06}]", 9, "phases[0].start", "2026-10-06", "2026-10-05, the start of the plan"),
    ("phases: [{start: 2026-10-05, traffic: 2}]", 9, "phases[0].traffic", "2", "from 0 to 1"),
    ("traffic: 2\nphases: [{start: 2026-10-05}]", 9, "traffic", "2", "from 0 to 1"),
    ("inference: group_sequential", 9, "inference", "'group_sequential'", "group_sequential comes later"),
    ("alpha: 5%", 9, "alpha", "'5%'", "a number"),
    ("alpha: 0.05\nalpha: 0.1", 10, "alpha", "the key again", "line 9 has it"),
    ("min_days: 1_000", 9, "min_days", "'1_000'", "a whole number"),
    ("horizon_days: long", 9, "horizon_days", "'long'", "a whole number"),
    ("seed: [1]", 9, "seed", "a list of 1", "a text"),
    ("segments: lifecycle", 9, "segments", "'lifecycle'", "a list"),
    ("[a, b]: 5", 9, "", "a key of several values", "a key of text"),
    ("seed: !!python/object:os.system x", 9, "seed", "the tag 'tag:yaml.org,2002:python/object:os.system'", "without"),
]
METRICS: list[tuple[str, str, str, str]] = [
    ("kind: nps", "kind", "'nps'", "nps comes later"),
    ("kind: quantile", "kind", "'quantile'", "quantile comes later"),
    ("kind: retension", "kind", "'retension'", "did you mean retention?"),
    ("column: visit", "kind", "nothing", "rate, mean"),
    ("kind: rate", "", "neither column nor event", "a column"),
    ("kind: rate, colum: visit, event: a", "colum", "an unknown field", "did you mean column?"),
    ("kind: rate, event: a, horizon: 5", "horizon", "an unknown field", "one of name"),
    ("kind: rate, event: a, value: b", "value", "'b'", "kind mean sums values"),
    ("kind: rate, event: a, within_days: 0", "within_days", "0", "from 1"),
    ("kind: rate, event: a, margin: 0.1", "margin", "0.1", "no margin: the role is secondary"),
    ("kind: mean, event: a", "value", "nothing", "kind count counts events"),
    ("kind: ratio, numerator: {event: a}", "denominator", "nothing", "a mapping"),
    ("kind: ratio, numerator: 5, denominator: {event: a}", "numerator", "5", "a mapping"),
    ("kind: ratio, numerator: {event: a}, denominator: {event: b, chanel: c}", "denominator.chanel", "unk", "channel?"),
    ("kind: ratio, numerator: {event: a}, denominator: {}", "denominator", "neither", "a column"),
    ("kind: ratio, numerator: {event: a}, denominator: {event: b}, within_days: 0", "within_days", "0", "from 1"),
    ("kind: reachable, channel: push", "day", "nothing", "a whole number"),
    ("kind: retention, event: a", "", "no days", "on_day, or from_day"),
    ("kind: retention, event: a, on_day: 5, until_day: 9", "", "on_day and until_day", "on_day, or from_day"),
    ("kind: retention, event: a, from_day: 5", "", "from_day", "on_day, or from_day"),
    ("kind: retention, event: a, from_day: 5, until_day: 5", "until_day", "5", "a day after day 5"),
    ("kind: retention, event: a, on_or_after_day: x, until_day: 5", "on_or_after_day", "'x'", "a whole number"),
    ("kind: retention, event: a, on_day: x", "on_day", "'x'", "a whole number"),
    ("kind: retention, event: a, on_day: 5, within_days: 3", "within_days", "3", "none"),
    ("kind: survival, event: dormant_28d", "event", "'dormant_28d'", "inactivity is a state"),
    ("kind: survival, event: a, competing: [b, inactive]", "competing[1]", "'inactive'", "inactivity is a state"),
    ("kind: survival, event: a, horizon: 91", "horizon", "91", "at most 90"),
    ("kind: survival, event: a, horizon: 0", "horizon", "0", "from 1"),
    ("kind: survival", "event", "nothing", "a text"),
    ("kind: value", "", "neither column nor event", "a column"),
    ("kind: value, event: a", "value", "nothing", "the money"),
    ("kind: value, revenue: {event: a}", "revenue.value", "nothing", "the money"),
    ("kind: value, revenue: {column: a}, column: b", "", "revenue beside column", "one of the two"),
    ("kind: value, column: a, loss_of_reach: 5", "loss_of_reach", "5", "who is lost"),
]


@pytest.mark.parametrize(("lines", "line", "path", "found", "expected"), REFUSALS)
def test_what_is_wrong_in_a_plan_has_its_line(lines: str, line: int, path: str, found: str, expected: str) -> None:
    (problem,) = problems(f"{SMALL}{lines}\n")
    assert (problem.line, problem.path) == (line, path)
    assert found in problem.found
    assert expected in problem.expected


@pytest.mark.parametrize(("fields", "path", "found", "expected"), METRICS)
def test_what_is_wrong_in_a_metric_has_its_place(fields: str, path: str, found: str, expected: str) -> None:
    (problem,) = problems(f"{SMALL}  - {{name: m, role: secondary, direction: increase, {fields}}}\n")
    assert (problem.line, problem.path) == (9, f"metrics[1].{path}" if path else "metrics[1]")
    assert found in problem.found
    assert expected in problem.expected


@pytest.mark.parametrize("field", ["key", "variants", "start", "end", "metrics"])
def test_what_a_plan_must_say_is_missed(field: str) -> None:
    data = plan_text.parse(SMALL).data
    assert isinstance(data, dict)
    del data[field]  # pyright: ignore[reportUnknownArgumentType]
    (problem,) = problems(json.dumps(data))
    assert (problem.path, problem.found, problem.line) == (field, "nothing", 1)


@pytest.mark.parametrize(
    ("text", "line", "found", "expected"),
    [
        ("", 1, "null", "a mapping"),
        ("- a\n- b\n", 1, "a list of 2", "a mapping"),
        ("key: [a\nb: c\n", 2, "':'", "YAML"),
        ("key: a\n\tb: c\n", 2, "a", "YAML"),
        ("key: a\n---\nkey: b\n", 2, "", ""),
        ("key: *nobody\n", 1, "undefined alias", "YAML"),
        ("key: \x00\n", 1, "the character U+0000", "printable text"),
        (b"a: b\nkey: \xff\n", 2, "the byte 0xff", "UTF-8"),
        ("[" * 5_000, None, "too many levels", "20"),
        ("key: " + "[" * 30 + "]" * 30, 1, "too many levels", "20"),
        ("key: &a [*a]\n", 1, "", ""),
        ("# " + "x" * 300_000, None, "a text that is longer", "256 KiB"),
        (b"# " + b"x" * 300_000, None, "a text that is longer", "256 KiB"),
    ],
)
def test_what_is_no_yaml_is_said_with_its_line(text: Any, line: int | None, found: str, expected: str) -> None:
    problem = problems(text)[0]
    assert problem.line == line
    assert found in problem.found
    assert expected in problem.expected


def test_aliases_of_aliases_cost_what_is_allowed_and_no_more() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    (problem,) = problems("\n".join(lines))
    assert (problem.found, problem.expected) == ("a longer plan", "at most 20,000 entries, aliases expanded")


def test_all_problems_are_found_at_once_in_the_order_of_the_file() -> None:
    text = """\
key: k
varients: 3
variants:
  - {name: one, weight: -1, control: true}
  - {name: three, dose: 4, policy: {budgets: {push-weekly: {limit: 3}}}}
start: 2026-13-05
end: 2027-01-04
phases: [{start: 2026-10-05, weights: {one: 1}, trafic: 1}]
metrics:
  - {name: m, kind: rat, role: primary, direction: increase}
  - {name: r, kind: rate, event: a, role: guardrail, direction: down, margin: -0.1}
  - {kind: survival, event: dormant, role: secondary, direction: decrease, horizon: 91}
alpha: .inf
"""
    assert [(each.line, each.path) for each in problems(text)] == [
        (2, "varients"),
        (4, "variants[0].weight"),
        (5, "variants[1].dose"),
        (6, "start"),
        (8, "phases[0].trafic"),
        (10, "metrics[0].kind"),
        (11, "metrics[1].direction"),
        (11, "metrics[1].margin"),
        (12, "metrics[2].name"),
        (12, "metrics[2].event"),
        (13, "alpha"),
    ]


def test_a_budget_plan_with_a_primary_per_message_is_refused() -> None:
    text = DESIGN.replace("role: descriptive", "role: primary")
    (problem,) = problems(text)
    assert (problem.line, problem.path) == (18, "metrics[4].role")
    assert "a budget changes how many messages" in problem.expected


def test_data_without_a_text_has_paths_and_no_lines() -> None:
    with pytest.raises(PlanError) as caught:
        plan_reader.read_data({"key": "k", "metrics": [{"kind": "rate", 5: 6}]})
    assert ("metrics[0].5", None) in [(each.path, each.line) for each in caught.value.problems]


# --- whatever the file holds ------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["kind", "event", "column", "from_day", "rate", "ratio", "value", "2026-10-05", "one", "three"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
DATA: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children: list[tuple[Any, Any]] = []
    if isinstance(data, dict | list):
        children = list(data.items() if isinstance(data, dict) else enumerate(data))
    return [path, *(found for key, child in children for found in places(child, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A valid plan of which some places hold other things, hold nothing, or hold something more."""
    data: Any = copy.deepcopy(plan_text.parse(reference()).data)
    for _ in range(draw(st.integers(1, 4))):
        paths = places(data)[1:]
        if not paths:
            return draw(DATA)
        path = draw(st.sampled_from(paths))
        parent = data
        for key in path[:-1]:
            parent = parent[key]
        match draw(st.sampled_from(["replace", "delete", "add", "copy"])):
            case "replace":
                parent[path[-1]] = draw(DATA)
            case "delete":
                del parent[path[-1]]
            case "add" if isinstance(parent, dict):
                parent[draw(WORDS | st.text(max_size=8))] = draw(DATA)
            case "add":
                parent.append(draw(DATA))
            case _:
                source: Any = data
                for key in draw(st.sampled_from(places(data))):
                    source = source[key]
                parent[path[-1]] = copy.deepcopy(source)
    return data


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_a_mutated_plan_is_read_or_refused_with_its_reasons(data: Any) -> None:
    found: tuple[Problem, ...] = ()
    try:
        plan = plan_reader.read_data(data)
        assert plan.control in plan.variants
    except PlanError as error:
        found = error.problems
    assert all(each.found and each.expected and each.line is None for each in found)
    assert len(set(found)) == len(found)


@settings(max_examples=60, deadline=None)
@given(mutated())
def test_a_text_says_of_a_mutated_plan_what_the_data_says(data: Any) -> None:
    def outcome(read_it: Any) -> Any:
        try:
            return read_it()
        except PlanError as error:
            return sorted((each.path, each.found, each.expected) for each in error.problems)

    try:
        text = json.dumps(data, allow_nan=False)
    except ValueError:
        return  # JSON has no such number
    by_text, by_data = outcome(lambda: read(text)), outcome(lambda: plan_reader.read_data(data))
    assert (isinstance(by_text, Experiment)) == (isinstance(by_data, Experiment))
    if isinstance(by_text, Experiment):
        assert by_text == by_data


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_mutated_text_is_read_or_refused_with_lines(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([DESIGN, SMALL]))
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 8))
        text = (
            text[:start]
            + data.draw(st.text(alphabet="{}[]:,-&*!|>'\"%@`#? \n\tax01.~<=\\é\x00", max_size=4))
            + text[start + length :]
        )
    found: tuple[Problem, ...] = ()
    try:
        read(text)
    except PlanError as error:
        found = error.problems
    assert all(each.line is None or 1 <= each.line <= text.count("\n") + 1 for each in found)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_noise_is_refused(noise: str | bytes) -> None:
    assert problems(noise)
