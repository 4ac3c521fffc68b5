"""What is wrong in a plan's file is refused with its line, its field and the reason, all of it at once."""

import json
from typing import Any

import pytest

from experiments.errors import PlanError, Problem
from experiments.plans import reader as plan_reader
from experiments.plans import text as plan_text
from tests.experiments.plan_texts import DESIGN, SMALL, read


def problems(text: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(PlanError) as caught:
        read(text)
    return caught.value.problems


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
    ("kind: rate, event: a, title: ' a'", "title", "' a'", "without blanks around them"),
    ("kind: rate, event: a, title: 3", "title", "3", "a text"),
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
    ("kind: value, column: a, contacts: {event: sent}", "cost_per_contact", "nothing", "what a contact costs"),
    ("kind: value, column: a, cost_per_contact: 0", "cost_per_contact", "0", "contacts does not say"),
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


@pytest.mark.parametrize("unit", ["message_id", "session_id", "user_id", "device"])
def test_a_budget_experiment_has_the_customer_as_its_unit_and_nothing_else(unit: str) -> None:
    budget = SMALL.replace("{name: three}", "{name: three, policy: {budgets: {push-weekly: {limit: 3}}}}")
    (problem,) = problems(f"{budget}unit: {unit}\n")
    assert (problem.line, problem.path, problem.found) == (9, "unit", repr(unit))
    assert "customer_id: a budget is a customer's" in problem.expected
    assert read(f"{SMALL}unit: {unit}\n").columns.unit == unit


def test_a_message_is_no_unit_of_a_budget_experiment_by_way_of_its_column_either() -> None:
    budget = SMALL.replace("{name: three}", "{name: three, dose: 3}")
    (problem,) = problems(f"{budget}unit: customer_id\ncolumns: {{unit: message_id}}\n")
    assert (problem.line, problem.path, problem.found) == (10, "columns.unit", "'message_id'")


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
