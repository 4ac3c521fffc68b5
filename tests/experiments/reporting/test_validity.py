"""Which looks at the shares of variants are taken, and which of them void a readout."""

from dataclasses import replace
from datetime import date, timedelta
from math import sqrt

import pytest

import experiments as ex
from experiments.aggregates import Aggregates, Cell, Segment
from experiments.design import (
    Phase,
    Variant,
)
from experiments.moments import Moments
from experiments.readout import CautionCode, CheckCode, Readout
from experiments.reporting.numbers import plain
from experiments.reporting.verdicts import Call
from tests.experiments.planned import ALL, START, TWO, VISIT, a_plan, codes


def test_shares_that_are_not_those_planned_make_it_invalid() -> None:
    skewed = replace(ALL, units={Cell("one"): 10_000, Cell("three"): 9_400, Cell("five"): 9_950})
    found = ex.readout_of(a_plan(), skewed)
    assert {each.call for each in found.verdicts} == {Call.INVALID}
    assert "three has 9,400 customers where 9,783 were expected" in " ".join(str(found).split())
    assert CautionCode.CHECK in codes(found)


def test_a_variant_of_weight_zero_with_customers_is_a_leak() -> None:
    plan = a_plan(variants=(Variant("one", control=True), Variant("three"), Variant("five", weight=0)))
    leaking = replace(ALL, units={Cell("one"): 10_000, Cell("three"): 10_050, Cell("five"): 3})
    found = ex.readout_of(plan, leaking)
    assert [each.code for each in found.checks if each.is_alarm] == [CheckCode.LEAK]
    assert found.verdicts[0].call is Call.INVALID


def test_shares_are_tested_day_by_day_where_there_are_days() -> None:
    days = {Cell(name, 0, day): 400 for name in ("one", "three", "five") for day in range(20)}
    found = ex.readout_of(a_plan(), replace(ALL, units=days, as_of=START + timedelta(days=20)))
    assert [(each.code, each.is_alarm) for each in found.checks] == [
        (CheckCode.SRM, False),
        (CheckCode.SRM_SEQUENTIAL, False),
    ]
    broken = {**days, **{Cell("three", 0, day): 250 for day in range(10, 20)}}
    found = ex.readout_of(a_plan(), replace(ALL, units=broken, as_of=START + timedelta(days=20)))
    assert {each.code for each in found.checks if each.is_alarm} == {CheckCode.SRM, CheckCode.SRM_SEQUENTIAL}
    alarm = next(each.sentence for each in found.checks if each.code is CheckCode.SRM_SEQUENTIAL)
    assert alarm.endswith("not those planned, first with the entries of 2026-10-17.")


def test_a_variant_in_which_nobody_is_leaves_the_test_day_by_day_in_place() -> None:
    """The totals are as planned, and three came three days after the others: only the test by day can see it."""
    variants = (Variant("one", control=True), Variant("three"), Variant("five", weight=0))
    days = {Cell("one", 0, day): 400 for day in range(10)} | {Cell("three", 0, 3 + day): 400 for day in range(10)}
    for units in (days, {**days, Cell("five"): 0}):
        aggregates = replace(ALL, units=units, as_of=START + timedelta(days=14))
        found = ex.readout_of(a_plan(variants=variants if len(units) > len(days) else TWO), aggregates)
        assert [(each.code, each.is_alarm) for each in found.checks] == [
            (CheckCode.SRM, False),
            (CheckCode.SRM_SEQUENTIAL, True),
        ]


def test_how_far_the_shares_are_off_is_a_number_and_is_printed_alarm_or_not() -> None:
    off = {Cell("one"): 10_000, Cell("three"): 9_400, Cell("five"): 9_950}
    for units in (ALL.units, off):
        found = ex.readout_of(a_plan(), replace(ALL, units=units))
        counts = list(units.values())
        even = sum(counts) / 3
        w = sqrt(sum((each - even) ** 2 / even for each in counts) / sum(counts))
        assert found.checks[0].effect_size == pytest.approx(w)
        assert f"effect size {plain(w)}, p " in " ".join(str(found).split("METHODS")[1].split())
        assert Readout.from_json(found.to_json()) == found


def test_segments_and_balance_warn_and_void_nothing() -> None:
    plan = a_plan(segments=("lifecycle",))
    off = replace(
        ALL,
        segments={"lifecycle": {"new": Segment({Cell("one"): 900, Cell("three"): 500, Cell("five"): 900})}},
        before={"spend": {"one": Moments(10_000, 2.0, 250_000.0), "three": Moments(10_050, 2.5, 250_000.0)}},
    )
    found = ex.readout_of(plan, off)
    assert [each.code for each in found.checks if each.is_alarm] == [CheckCode.SRM_SEGMENT, CheckCode.BALANCE]
    assert found.verdicts[0].call is Call.SHIP
    assert "in lifecycle new" in str(found)


def test_segments_are_tested_in_each_phase_against_its_weights() -> None:
    """Together "new" is as planned, 1,400 and 600; in neither phase is it."""
    phases = (Phase(START, {"one": 9.0, "three": 1.0}), Phase(date(2026, 11, 2), {"one": 1.0, "three": 1.0}))
    plan = a_plan(VISIT, variants=TWO, phases=phases, segments=("lifecycle",))
    units = {Cell("one", 0): 9_000, Cell("three", 0): 1_000, Cell("one", 1): 500, Cell("three", 1): 500}
    new = Segment({Cell("one", 0): 800, Cell("three", 0): 200, Cell("one", 1): 600, Cell("three", 1): 400})
    old = Segment({Cell("one", 0): 900, Cell("three", 0): 100, Cell("one", 1): 500, Cell("three", 1): 500})
    found = ex.readout_of(plan, Aggregates(units, {}, segments={"lifecycle": {"new": new, "old": old}}))
    looked = {each.where: each.is_alarm for each in found.checks if each.code is CheckCode.SRM_SEGMENT}
    assert looked == {
        "lifecycle new in the phase from 2026-10-05": True,
        "lifecycle new in the phase from 2026-11-02": True,
        "lifecycle old in the phase from 2026-10-05": False,
        "lifecycle old in the phase from 2026-11-02": False,
    }
    assert "in lifecycle new in the phase from 2026-10-05 do not hold the shares planned" in " ".join(
        str(found).split()
    )


def test_a_segment_of_which_nobody_was_in_a_phase_is_not_tested_in_it() -> None:
    phases = (Phase(START, {"one": 9.0, "three": 1.0}), Phase(date(2026, 11, 2), {"one": 1.0, "three": 1.0}))
    plan = a_plan(VISIT, variants=TWO, phases=phases, segments=("lifecycle",))
    units = {Cell("one", 0): 9_000, Cell("three", 0): 1_000, Cell("one", 1): 50, Cell("three", 1): 0}
    late = Segment({Cell("one", 1): 50, Cell("three"): 0})
    found = ex.readout_of(plan, Aggregates(units, {}, segments={"lifecycle": {"late": late}}))
    looked = [(each.where, each.is_alarm) for each in found.checks if each.code is CheckCode.SRM_SEGMENT]
    assert looked == [("lifecycle late in the phase from 2026-11-02", True)]
