"""Assignment never reshuffles, says why, and is the same for one customer and for many (invariant 17)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from experiments.assigning.draws import Draw
from experiments.assignment import Allocation, AssignmentError, Reason, assign, assign_many
from experiments.design import Condition, Experiment, Holdout, Layer, Phase
from experiments.plans.variants import SLOTS
from tests.experiments.assignment_oracle import numbers
from tests.experiments.assignment_plans import END, LATER, MANY, START, everything_at_once, plan, rows, same

RARE = 1e-6  # the inputs are fixed, and so is the answer: a fault, and no bad luck
ids = st.text(max_size=40).filter(lambda each: "\0" not in each and each.isprintable())
shares = st.floats(0, 1, exclude_min=True)


# --- never reshuffles -------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.lists(ids, min_size=1, max_size=50), shares, shares)
def test_widening_traffic_moves_nobody_who_is_in(units: list[str], one: float, other: float) -> None:
    narrow, wide = (Allocation(plan(traffic=each)) for each in sorted((one, other)))
    for unit in units:
        before = narrow.assign(unit)
        assert before.variant is None or wide.assign(unit) == before


def test_widening_traffic_takes_in_the_share_it_names() -> None:
    before = np.zeros(len(MANY), dtype=np.bool_)
    for share in (0.001, 0.1, 0.5, 0.999, 1):
        inside = assign_many(plan(traffic=share), MANY).is_analysed
        assert not (before & ~inside).any()
        assert abs(inside.mean() - share) < 0.005
        before = inside


@settings(max_examples=50)
@given(st.lists(ids, unique=True, min_size=1, max_size=50), st.floats(0.01, 100), st.data())
def test_a_new_variant_moves_nobody_whose_variant_is_stored(
    units: list[str], weight: float, data: st.DataObject
) -> None:
    before = assign_many(plan(traffic=0.7), units)
    stored = {unit: name for unit, name in zip(units, before.variants, strict=True) if name}
    now = plan(("one", 1), ("three", 1), (data.draw(st.sampled_from(["aaa", "two", "zzz"])), weight), traffic=0.9)
    for after in (assign_many(now, units, stored), assign_many(now, units, before.variants)):
        for i, unit in enumerate(units):
            if unit in stored:
                assert (after[i].variant, after[i].reason) == (stored[unit], Reason.STORED)
            assert after[i] == assign(now, unit, stored)


def test_the_order_of_a_plan_means_nothing() -> None:
    found = [assign_many(plan(*each), MANY[:1000]) for each in permutations((("a", 1), ("b", 2), ("c", 3)))]
    assert all(same(each, found[0]) for each in found)


def test_a_variant_of_weight_0_gets_nobody_and_moves_nobody() -> None:
    before = assign_many(plan(), MANY)
    for name in ("a", "or", "zzz"):
        after = assign_many(plan(("one", 1), ("three", 1), (name, 0)), MANY)
        assert list(before.variants) == list(after.variants)


def test_customers_keep_the_weights_and_the_traffic_of_the_phase_they_entered() -> None:
    phases = (Phase(START, {"one": 1, "three": 1}, 0.2), Phase(LATER, {"one": 1, "three": 9}, 0.8))
    phased = plan(phases=phases)
    early, late = assign_many(phased, MANY, entered=START), assign_many(phased, MANY, entered=END)
    assert same(early, assign_many(plan(traffic=0.2), MANY))
    assert same(late, assign_many(plan(("one", 1), ("three", 9), traffic=0.8), MANY))
    assert same(early, assign_many(phased, MANY, entered=LATER - timedelta(days=1)))
    assert same(late, assign_many(phased, MANY, entered=LATER))
    assert same(early, assign_many(phased, MANY, entered=date(2020, 1, 1)))


def test_a_phase_without_traffic_takes_nobody_in() -> None:
    paused = plan(phases=(Phase(START, {"one": 1, "three": 1}), Phase(LATER, {"one": 1, "three": 1}, 0)))
    assert assign(paused, "ada", entered=START).reason is Reason.ASSIGNED
    assert assign(paused, "ada", entered=LATER).reason is Reason.NOT_IN_TRAFFIC
    assert set(assign_many(paused, MANY[:99], entered=LATER).reasons) == {Reason.NOT_IN_TRAFFIC}


def test_dates_of_entry_come_as_a_column_too_and_some_may_be_missing() -> None:
    first, second = {"one": 1, "three": 1e-6}, {"one": 1e-6, "three": 1}
    phased = plan(phases=(Phase(START, first), Phase(LATER, second)))
    days = [START, LATER, None, END]
    forms: list[Any] = [days, np.array(days, dtype="datetime64[D]"), pd.Series(pd.to_datetime(pd.Series(days)))]
    for entered in forms:
        found = assign_many(phased, ["a", "b", "c", "d"], entered=entered)
        assert list(found.variants) == ["one", "three", None, "three"]
        assert found[2].reason is Reason.ENTRY_UNKNOWN
    assert assign(phased, "a").reason is Reason.ENTRY_UNKNOWN
    with pytest.raises(AssignmentError, match="dates of entry have a length of 3, expected 4, one a unit"):
        assign_many(phased, ["a", "b", "c", "d"], entered=days[:3])
    with pytest.raises(AssignmentError, match="no dates"):
        assign_many(phased, ["a"], entered=["soon"])  # pyright: ignore[reportArgumentType]  # that is the mistake


# --- layers, holdouts, testers, audiences -----------------------------------------------------------------------------


@given(st.lists(ids, min_size=1, max_size=50), st.lists(st.integers(1, SLOTS - 1), unique=True, min_size=1, max_size=5))
def test_slots_of_a_layer_are_disjoint_and_cover_it(units: list[str], cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), SLOTS]
    layers = [Layer("push", first, after) for first, after in pairwise(edges)]
    found = [assign_many(plan(key=f"e{i}", layer=layer), units).is_analysed for i, layer in enumerate(layers)]
    assert (np.sum(found, axis=0) == 1).all()


def test_a_slot_is_a_ten_thousandth() -> None:
    slots = Draw("layer", "push").pairs([str(i).encode() for i in range(1_000_000)])[0] % SLOTS
    assert chisquare(np.bincount(slots, minlength=SLOTS)).pvalue > RARE


def test_a_holdout_is_out_of_all_experiments_and_always_the_same() -> None:
    holdout = Holdout("always-on", 0.05)
    held = [
        assign_many(plan(key=key, holdout=holdout, layer=layer), MANY).reasons == Reason.HOLDOUT
        for key, layer in (("a", None), ("b", Layer("push", 0, 10)), ("c", Layer("email", 0, 5000)))
    ]
    assert abs(held[0].mean() - 0.05) < 0.003
    assert all((each == held[0]).all() for each in held)


@given(st.lists(ids, min_size=1, max_size=30), st.floats(0.01, 0.9), st.floats(0.01, 0.9))
def test_a_wider_holdout_lets_nobody_out(units: list[str], one: float, other: float) -> None:
    narrow, wide = (Allocation(plan(holdout=Holdout("h", each))) for each in sorted((one, other)))
    for unit in units:
        if narrow.assign(unit).reason is Reason.HOLDOUT:
            assert wide.assign(unit).reason is Reason.HOLDOUT


def test_testers_are_forced_whatever_else_holds_and_never_analysed() -> None:
    held = plan(holdout=Holdout("h", 0.999), traffic=1e-9, testers={"ada": "three", "0815": "one"})
    found = assign_many(held, ["ada", "bob", "0815"], {"ada": "one"})
    assert list(found.variants) == ["three", None, "one"]
    assert list(found.is_analysed) == [False] * 3
    assert [found[i].is_analysed for i in range(3)] == [False] * 3
    assert assign(held, "ada", {"ada": "one"}) == found[0]
    assert found[0].reason is Reason.TESTER


def test_a_tester_may_be_named_by_a_number() -> None:
    assert assign_many(plan(testers={"7": "three"}), [6, 7])[1].reason is Reason.TESTER
    assert assign(plan(testers={"7": "three"}), 7).reason is Reason.TESTER


def columned(arguments: dict[str, Any]) -> dict[str, Any]:
    """The attributes of one unit as columns."""
    return {"attributes": {name: [value] for name, value in arguments.get("attributes", {}).items()}}


def test_the_reason_is_the_first_that_applies() -> None:
    unit = next(each for each in MANY if assign(plan(holdout=Holdout("h", 0.01)), each).reason is Reason.HOLDOUT)
    slot = numbers("layer", "l", unit)[0] % SLOTS
    other = Layer("l", slot + 1, SLOTS) if slot < SLOTS - 1 else Layer("l", 0, 1)
    phases = (Phase(START, {"one": 1, "three": 1}, 1e-9), Phase(LATER, {"one": 1, "three": 1}))
    audience = (Condition("country", equal="DE"),)
    everything = plan(holdout=Holdout("h", 0.01), layer=other, audience=audience, phases=phases, testers={unit: "one"})
    steps: list[tuple[Reason, Callable[[Experiment], Experiment], dict[str, Any]]] = [
        (Reason.TESTER, lambda each: replace(each, testers={}), {}),
        (Reason.STORED, lambda each: each, {"stored": {unit: "one"}}),
        (Reason.HOLDOUT, lambda each: replace(each, holdout=None), {}),
        (Reason.OTHER_SLOT, lambda each: replace(each, layer=None), {}),
        (Reason.NOT_IN_AUDIENCE, lambda each: each, {"attributes": {"country": "AT"}}),
        (Reason.AUDIENCE_UNKNOWN, lambda each: replace(each, audience=()), {}),
        (Reason.ENTRY_UNKNOWN, lambda each: each, {}),
        (Reason.NOT_IN_TRAFFIC, lambda each: replace(each, phases=()), {"entered": START}),
        (Reason.ASSIGNED, lambda each: each, {}),
    ]
    assert [reason for reason, _, _ in steps] == list(Reason)
    for reason, without, arguments in steps:
        assert assign(everything, unit, **arguments).reason is reason
        many = assign_many(everything, [unit], **arguments | columned(arguments))
        assert many[0] == assign(everything, unit, **arguments)
        everything = without(everything)


def test_reasons_say_what_they_mean() -> None:
    assert len({each.sentence for each in Reason}) == len(Reason)
    assert all(each.sentence.endswith(".") for each in Reason)


AUDIENCE = (Condition("country", among=("DE", "AT")), Condition("age", at_least=18, below=65))


@pytest.mark.parametrize(
    ("country", "age", "reason"),
    [
        ("DE", 18, Reason.ASSIGNED),
        ("AT", 64.5, Reason.ASSIGNED),
        ("DE", 65, Reason.NOT_IN_AUDIENCE),
        ("DE", 17.999, Reason.NOT_IN_AUDIENCE),
        ("de", 30, Reason.NOT_IN_AUDIENCE),
        (None, 30, Reason.AUDIENCE_UNKNOWN),
        ("DE", None, Reason.AUDIENCE_UNKNOWN),
        ("DE", float("nan"), Reason.AUDIENCE_UNKNOWN),
        (float("nan"), 30, Reason.AUDIENCE_UNKNOWN),
        ("FR", float("nan"), Reason.NOT_IN_AUDIENCE),
        ("DE", pd.NA, Reason.AUDIENCE_UNKNOWN),
        (pd.NA, 30, Reason.AUDIENCE_UNKNOWN),
        ("DE", "30", Reason.AUDIENCE_UNKNOWN),
        ("DE", True, Reason.AUDIENCE_UNKNOWN),
        ("FR", None, Reason.NOT_IN_AUDIENCE),
        (None, 90, Reason.NOT_IN_AUDIENCE),
    ],
)
def test_an_audience_is_met_missed_or_unknown(country: Any, age: Any, reason: Reason) -> None:
    meant = plan(audience=AUDIENCE)
    assert assign(meant, "ada", attributes={"country": country, "age": age}).reason is reason
    assert assign_many(meant, ["ada"], attributes={"country": [country], "age": [age]})[0].reason is reason


def test_a_truth_value_is_no_number() -> None:
    meant = plan(audience=(Condition("vip", equal=True),))
    found = assign_many(meant, ["a", "b", "c"], attributes={"vip": [True, 1, False]})
    assert list(found.reasons) == [Reason.ASSIGNED, Reason.NOT_IN_AUDIENCE, Reason.NOT_IN_AUDIENCE]


def test_an_audience_that_nobody_told_is_unknown() -> None:
    assert assign(plan(audience=AUDIENCE), "ada").reason is Reason.AUDIENCE_UNKNOWN
    assert set(assign_many(plan(audience=AUDIENCE), MANY[:10]).reasons) == {Reason.AUDIENCE_UNKNOWN}


# --- one and many -----------------------------------------------------------------------------------------------------


def test_many_at_once_are_the_same_as_one_at_a_time() -> None:
    meant, given_rows = everything_at_once(), rows()
    units, stored, entered, country, vip, age = map(list, zip(*given_rows, strict=True))
    found = assign_many(meant, units, stored, attributes={"country": country, "vip": vip, "age": age}, entered=entered)
    ready = Allocation(meant)
    for i, (unit, before, day, *more) in enumerate(given_rows):
        attributes: Any = dict(zip(("country", "vip", "age"), more, strict=True))
        kept = {} if before is None else {unit: before}
        assert found[i] == ready.assign(unit, kept, attributes=attributes, entered=day)
    assert len(found) == len(units)
    assert set(found.reasons) == set(Reason)


def test_units_come_in_any_form_and_beyond_one_chunk() -> None:
    numbers_in_a_row = range(70_000)
    texts = [str(each) for each in numbers_in_a_row]
    expected = assign_many(plan(), texts)
    forms: list[Any] = [
        numbers_in_a_row,
        np.array(texts),
        np.arange(70_000, dtype=np.int32),
        pd.Series(texts),
        iter(texts),
    ]
    forms += [
        [np.int64(each) for each in numbers_in_a_row],
        pd.Series(numbers_in_a_row),
        [*numbers_in_a_row[:-1], "69999"],
    ]
    for units in forms:
        assert same(assign_many(plan(), units), expected)
    assert expected[69_999] == assign(plan(), 69_999) == assign(plan(), "69999")


def test_nobody_is_nothing_to_assign() -> None:
    found = assign_many(plan(holdout=Holdout("h", 0.1), audience=AUDIENCE, testers={"a": "one"}), [], [])
    assert len(found) == 0
    assert list(found.variants) == []


@pytest.mark.parametrize("unit", [None, float("nan"), 1.0, True, b"ada", ("ada",)])
def test_what_is_no_unit_is_named(unit: Any) -> None:
    with pytest.raises(AssignmentError, match=r"unit 1 is .*, expected a text or an integer"):
        assign_many(plan(), ["ada", unit])
    with pytest.raises(AssignmentError, match=r"the unit is .*, expected a text or an integer"):
        assign(plan(), unit)


def test_half_a_character_is_named() -> None:
    with pytest.raises(AssignmentError, match=r"the unit is .*half a character"):
        assign(plan(), "\udc80")
    with pytest.raises(AssignmentError, match=r"unit 1 is .*half a character"):
        assign_many(plan(), ["a", "\udc80"])


def test_a_stored_variant_that_the_plan_lacks_is_named() -> None:
    sentence = "'ada' is stored as 'nine', which is no variant of push-budget-2026q4: expected one, three"
    for attempt in (
        partial(assign, plan(), "ada", {"ada": "nine"}),
        partial(assign_many, plan(), ["ada"], {"ada": "nine"}),
        partial(assign_many, plan(), ["ada"], ["nine"]),
    ):
        with pytest.raises(AssignmentError, match=sentence):
            attempt()
    with pytest.raises(AssignmentError, match="stored as 3"):
        assign_many(plan(), ["ada"], [3])  # pyright: ignore[reportArgumentType]  # that is the mistake


def test_what_is_shown_of_a_unit_is_short() -> None:
    with pytest.raises(AssignmentError) as caught:
        assign(plan(), "x" * 10_000, {"x" * 10_000: "y" * 10_000})
    assert len(str(caught.value)) < 300


def test_stored_assignments_of_another_length_are_refused() -> None:
    with pytest.raises(AssignmentError, match="stored assignments have a length of 1, expected 2, one a unit"):
        assign_many(plan(), ["a", "b"], ["one"])
    with pytest.raises(AssignmentError, match="country has a length of 1, expected 2, one a unit"):
        assign_many(plan(audience=AUDIENCE), ["a", "b"], attributes={"country": ["DE"]})


def test_a_missing_text_of_a_data_frame_is_nothing_stored() -> None:
    stored: Any = np.array(["three", None, float("nan"), pd.NA], dtype=object)
    units = ["a", "b", "c", "d"]
    kept = dict(zip(units, stored, strict=True))
    for found in (assign_many(plan(), units, stored), [assign(plan(), each, kept) for each in units]):
        assert [each.reason is Reason.STORED for each in found] == [True, False, False, False]
