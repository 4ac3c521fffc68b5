"""Policies as YAML files: the line of every problem, whatever the file, and back to text."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.core.errors import InvalidPolicy, Problem
from engine.core.policy import DAY_US, Condition, Operator, Policy, Rolling
from engine.core.policy_reader import policy_data, read_policy
from engine.operations.policy_file import load_policy, policy_yaml, render
from tests.core.policies import policies

LARGE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

POLICY = """\
# The policy of the shop.
schema: 1
unknown_timezone: Europe/Berlin
topics:
  promotions: {purpose: sell}
  order updates: {purpose: serve, exempt: true}
budgets:
  - name: push-weekly
    channels: [push]
    limit: 1
    window: {rolling: 7d, tolerance: 30m}
    overrides:
      - when: {country: [NO, DE]}
        limit: 2
  - name: any-daily
    limit: 2
    window:
      calendar: day
quiet_hours:
  - {channels: [push], from: 21:00, to: "08:00"}
"""


def refused(text: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(InvalidPolicy) as error:
        load_policy(text)
    return error.value.problems


def lines(text: str | bytes) -> list[tuple[int | None, str]]:
    return [(problem.line, problem.path) for problem in refused(text)]


# --- what is read ---------------------------------------------------------------------------------------------------


def test_a_policy_is_read_from_yaml_1_2_where_no_is_norway_and_2100_a_time_of_day():
    policy = load_policy(POLICY)
    assert policy.budgets[0].overrides[0].when == (Condition("country", Operator.IN, frozenset({"NO", "DE"})),)
    assert policy.quiet_hours[0].period.from_min == 21 * 60


def test_json_is_read_too():
    assert load_policy('{"schema": 1, "budgets": [{"name": "a", "limit": 1, "window": {"rolling": "1d"}}]}') == (
        read_policy({"schema": 1, "budgets": [{"name": "a", "limit": 1, "window": {"rolling": "1d"}}]})
    )


def test_bytes_are_read_as_utf_8_with_or_without_a_byte_order_mark():
    assert load_policy(POLICY.encode()) == load_policy(b"\xef\xbb\xbf" + POLICY.encode()) == load_policy(POLICY)


def test_windows_line_ends_are_read():
    assert load_policy(POLICY.replace("\n", "\r\n")) == load_policy(POLICY)


def test_an_anchor_saves_writing_a_list_twice():
    policy = load_policy("""\
schema: 1
budgets:
  - {name: a, channels: &loud [push, sms], limit: 1, window: {rolling: 1d}}
  - {name: b, channels: *loud, limit: 1, window: &week {rolling: 7d}}
  - {name: c, per: team, limit: 1, window: *week}
""")
    assert policy.budgets[1].selector.channels == frozenset({"push", "sms"})
    assert policy.budgets[2].window == Rolling(7 * DAY_US)


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("1", 1),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("'1'", "1"),
        ('"a\\nb"', "a\nb"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("yes", "yes"),
        ("2026-10-05", "2026-10-05"),
        ("12:30:45", "12:30:45"),
        ("é", "é"),
    ],
)
def test_a_value_is_what_it_looks_like(scalar: str, value: object):
    overrides = f"[{{when: {{x: {scalar}}}, limit: 2}}]"
    text = f"schema: 1\nbudgets: [{{name: a, limit: 1, window: lifetime, overrides: {overrides}}}]"
    if isinstance(value, str) and not value.isprintable():
        assert [problem.path for problem in refused(text)] == ["budgets[0].overrides[0].when.x"]
        return
    found = load_policy(text).budgets[0].overrides[0].when[0].value
    assert (found, type(found)) == (value, type(value))


# --- what is refused, and on which line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("    limit: 1\n", "    limit: true\n", [(10, "budgets[0].limit")]),
        ("tolerance: 30m", "tolerance: 8d", [(11, "budgets[0].window.tolerance")]),
        (
            "        limit: 2",
            "        limt: 2",
            [(13, "budgets[0].overrides[0].limit"), (14, "budgets[0].overrides[0].limt")],
        ),
        ("calendar: day", "calendar: daily", [(18, "budgets[1].window.calendar")]),
        ("    window:\n      calendar: day\n", "", [(15, "budgets[1].window")]),
        ('to: "08:00"', 'to: "8"', [(20, "quiet_hours[0].to")]),
        ("unknown_timezone: Europe/Berlin\n", "", [(1, "unknown_timezone")]),
        ("schema: 1\n", "", [(1, "schema")]),
        ("{purpose: serve,", "{purpose: help,", [(6, 'topics["order updates"].purpose')]),
        ("[NO, DE]", "[NO, DE, NO]", [(13, "budgets[0].overrides[0].when.country")]),
        ("name: any-daily", "name: push-weekly", [(15, "budgets[1].name")]),
        # what YAML itself has against it
        ("    limit: 1\n", "    limit: 1\n    limit: 2\n", [(11, "budgets[0].limit")]),
        ("  - name: any-daily", "\t- name: any-daily", [(15, "")]),
        ("    channels: [push]", "    channels: [push", [(10, "")]),
        ("    channels: [push]", "    channels: *loud", [(9, "budgets[0].channels"), (9, "budgets[0].channels")]),
        ("    channels: [push]", "    channels: !!set [push]", [(9, "budgets[0].channels")]),
        ("topics:\n", "topics:\n  2026: {}\n", [(5, "topics")]),
        ("topics:\n", "topics:\n  ? [a, b]\n  : {}\n", [(5, "topics")]),
        ("quiet_hours:", "---\nquiet_hours:", [(19, "")]),
        ("# The policy", "# The \x00 policy", [(1, "")]),
        ("name: any-daily", "name: \ud800", [(15, "")]),
        ("    limit: 1\n", "    limit: " + "[" * 50 + "]" * 50 + "\n", [(10, "")]),
    ],
)
def test_a_problem_names_the_line_that_somebody_would_edit(old: str, new: str, expected: list[tuple[int, str]]):
    assert POLICY.count(old) >= 1
    assert lines(POLICY.replace(old, new, 1)) == expected


def test_problems_of_the_yaml_and_of_the_policy_come_together_by_line():
    text = POLICY.replace("    limit: 1\n", "    limit: 1\n    limit: 2\n").replace("Europe/Berlin", "+01:00")
    assert lines(text) == [(3, "unknown_timezone"), (11, "budgets[0].limit")]


def test_text_that_is_not_utf_8_is_a_problem_on_its_line():
    (problem,) = refused(POLICY.encode().replace(b"the shop", b"the shop\nand caf\xe9"))
    assert (problem.line, problem.found) == (2, "the byte 0xe9")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~", "[]", "just words", b""])
def test_a_file_without_a_mapping_is_refused(text: str | bytes):
    assert [(problem.path, problem.expected) for problem in refused(text)] == [("", "a mapping")]


def test_a_file_of_more_than_256_kib_is_not_even_parsed():
    (problem,) = refused("#" * (256 * 1024 + 1))
    assert problem.expected == "at most 256 KiB"
    (problem,) = refused("é" * (128 * 1024 + 1))
    assert problem.expected == "at most 256 KiB"


def test_aliases_of_aliases_cost_no_more_than_their_text():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
    )
    assert len(refused(bomb + "schema: 1\nbudgets: *a29\n")) == 39


def test_an_anchor_cannot_contain_itself():
    assert lines("schema: 1\nbudgets: &all [*all]\n") == [(2, "budgets[0]"), (2, "budgets[0]")]


@pytest.mark.parametrize("text", ["[" * 100_000, "a: " * 50_000, "- " * 100_000, "{a: " * 50_000, "? " * 50_000])
def test_deep_nesting_is_refused_without_descending(text: str):
    assert len(refused(text)) == 1


def test_problems_are_rendered_one_a_line_with_file_and_line():
    text = POLICY.replace("rolling: 7d", "rolling: 7 days").replace("to:", "till:")
    assert render(refused(text), "policy.yaml") == (
        "policy.yaml:11: budgets[0].window.rolling: found '7 days', expected a duration such as 7d, 36h or 1d12h\n"
        'policy.yaml:20: quiet_hours[0].to: found nothing, expected a time of day such as "08:00"\n'
        "policy.yaml:20: quiet_hours[0].till: found unknown field 'till', expected one of channels, topics, campaigns, "
        "teams, from, to, days or when"
    )


def test_a_problem_without_a_line_is_rendered_without_one():
    assert render([Problem("lease", "7", "a duration")], "policy") == "policy: lease: found 7, expected a duration"


def test_the_error_says_which_file_and_line():
    with pytest.raises(InvalidPolicy, match=r"^shop\.yaml is invalid: line 2: schema: found 2, expected 1"):
        load_policy(POLICY.replace("schema: 1", "schema: 2"), "shop.yaml")


def test_core_reads_policies_without_yaml():
    probe = "import sys, engine.core.policy_reader; sys.exit('ruamel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


# --- properties -----------------------------------------------------------------------------------------------------


@LARGE
@given(policies())
def test_a_policy_written_as_yaml_reads_as_the_same_policy(policy: Policy):
    text = policy_yaml(policy)
    assert load_policy(text) == policy
    assert policy_yaml(load_policy(text)) == text


@LARGE
@given(policies())
def test_yaml_1_1_reads_the_same_data(policy: Policy):
    """So that `yq` and other tools, of which most still speak YAML 1.1, see the policy that Takt sees."""
    from ruamel.yaml import YAML

    reader: Any = YAML(typ="safe", pure=True)
    reader.version = (1, 1)
    assert reader.load(policy_yaml(policy)) == policy_data(policy)


@LARGE
@given(st.text(max_size=200) | st.text("abc01 :-[]{}#&*!|>'\"%@`,?\n\t~.", max_size=60) | st.binary(max_size=60))
def test_whatever_the_text_the_only_error_is_that_it_is_no_policy(text: str | bytes):
    problems = refused(text)
    assert all(problem.line for problem in problems)
    assert all(line.isprintable() for line in render(problems, "policy").split("\n"))


@LARGE
@given(st.data())
def test_whatever_is_changed_in_a_file_the_only_error_is_that_it_is_no_policy(data: st.DataObject):
    start = data.draw(st.integers(0, len(POLICY)))
    end = data.draw(st.integers(start, min(len(POLICY), start + 5)))
    text = POLICY[:start] + data.draw(st.text(max_size=3) | st.sampled_from("\t:-[]{}&*!#\"'")) + POLICY[end:]
    try:
        load_policy(text)
    except InvalidPolicy as invalid:
        last = text.count("\n") + 1
        assert all(1 <= (problem.line or 0) <= last for problem in invalid.problems)  # noqa: PT017 - it may be valid
