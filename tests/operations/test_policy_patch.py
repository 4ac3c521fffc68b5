"""A shipped limit is written where somebody wrote the old one."""

import difflib
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.policy import Policy
from engine.core.policy_reader import read_patch
from engine.core.presets import PRESETS
from engine.operations.policy_file import load_policy, policy_yaml
from engine.operations.policy_patch import patched_text
from tests.core.policies import policies

REFERENCE = Path(__file__).parent.parent.parent / "docs" / "policy.md"


def reference() -> str:
    return re.findall(r"<!-- policy -->\n```yaml\n(.*?)```", REFERENCE.read_text(), re.DOTALL)[0]


def changed(source: str, patch: object) -> list[str]:
    """The lines that a patch removes and adds; the text says what the patched policy does."""
    policy = read_patch(load_policy(source), {"budgets": patch})
    text = patched_text(source, policy)
    assert load_policy(text) == policy
    lines = difflib.unified_diff(source.splitlines(), text.splitlines(), lineterm="", n=0)
    return [each for each in lines if not each.startswith(("---", "+++", "@@"))]


def test_only_the_lines_of_the_budget_change():
    assert changed(reference(), {"push-weekly": {"limit": 3}}) == [
        "-    limit: 1",
        "+    limit: 3",
        "-    overrides: [{when: {lifecycle: new}, limit: 2}]        # the first that matches wins",
    ]


def test_no_limit_is_written_as_null():
    assert "+    limit: null" in changed(reference(), {"any-daily": {"limit": None}})


def test_overrides_of_the_patch_take_the_place_of_those_that_were_there():
    overrides = [{"when": {"lifecycle": "old"}, "limit": 4}]
    lines = changed(reference(), {"push-weekly": {"limit": 3, "overrides": overrides}})
    assert "+        - when:" in lines or any("lifecycle: old" in each for each in lines)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_keep_all_their_other_lines(name: str):
    budget = next(each for each in load_policy(PRESETS[name]).budgets if not each.is_gap)
    lines = changed(PRESETS[name], {budget.name: {"limit": 77}})
    assert [each for each in lines if each.startswith("+")] == [next(each for each in lines if "77" in each)]


def test_where_two_budgets_share_an_anchor_the_policy_is_written_in_its_one_form():
    source = (
        "schema: 1\nbudgets:\n  - {name: a, channels: [push], limit: &most 2, window: {rolling: 7d}}\n"
        "  - {name: b, channels: [sms], limit: *most, window: {rolling: 7d}}\n"
    )
    assert load_policy(source).budgets[1].limit == 2
    policy = read_patch(load_policy(source), {"budgets": {"a": {"limit": 3}}})
    assert load_policy(patched_text(source, policy)) == policy


def test_json_stays_what_it_means():
    source = '{"schema": 1, "budgets": [{"name": "a", "limit": 1, "window": {"rolling": "7d"}}]}'
    assert changed(source, {"a": {"limit": 2}})


@settings(max_examples=20)
@given(policies(), st.integers(50, 60))
def test_whatever_the_policy_the_text_says_what_the_patch_means(policy: Policy, limit: int):
    source = policy_yaml(policy)
    read = load_policy(source)
    for budget in [each for each in read.budgets if not each.is_gap][:1]:
        patched = read_patch(read, {"budgets": {budget.name: {"limit": limit * 1_000}}})
        assert load_policy(patched_text(source, patched)) == patched
