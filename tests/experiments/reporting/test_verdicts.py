"""The verdict rules as a table of cases, and what must hold of any intervals and dates."""

from dataclasses import replace
from datetime import date, timedelta
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.design import Direction, Inference, Role
from experiments.reporting.verdicts import Calendar, Call, Interval, Result, Standing, standing, verdict

START = date(2026, 10, 5)
END = date(2027, 1, 4)
OVER = Calendar(START, END, 14, Inference.ANYTIME, END)
TWO_WEEKS = Calendar(START, END, 14, Inference.ANYTIME, START + timedelta(days=14))
GOOD, BAD, OPEN = Interval(0.001, 0.02), Interval(-0.02, -0.001), Interval(-0.01, 0.01)


def primary(interval: Interval | None, bound: Interval | None = None, name: str = "visit", **more: bool) -> Result:
    return Result(name, Role.PRIMARY, Direction.INCREASE, interval, bound, **more)


def guardrail(interval: Interval | None, bound: Interval | None = None) -> Result:
    """Unsubscribes, which must not rise by more than 0.005."""
    return Result("unsubscribed", Role.GUARDRAIL, Direction.DECREASE, interval, bound, margin=0.005)


INSIDE, OUTSIDE, ACROSS = Interval(-0.001, 0.004), Interval(0.006, 0.01), Interval(0.0, 0.007)


def call(*results: Result, calendar: Calendar = OVER, problems: tuple[str, ...] = ()) -> Call:
    return verdict("three", results, problems, calendar).call


@pytest.mark.parametrize(
    ("results", "at_the_end", "after_two_weeks"),
    [
        ([primary(GOOD)], Call.SHIP, Call.SHIP),
        ([primary(BAD)], Call.DO_NOT_SHIP, Call.DO_NOT_SHIP),
        ([primary(OPEN)], Call.INCONCLUSIVE, Call.KEEP_RUNNING),
        ([primary(None)], Call.INCONCLUSIVE, Call.KEEP_RUNNING),
        ([], Call.INCONCLUSIVE, Call.KEEP_RUNNING),
        ([primary(GOOD), guardrail(INSIDE)], Call.SHIP, Call.SHIP),
        ([primary(GOOD), guardrail(ACROSS)], Call.INCONCLUSIVE, Call.KEEP_RUNNING),
        ([primary(GOOD), guardrail(None)], Call.INCONCLUSIVE, Call.KEEP_RUNNING),
        ([primary(GOOD), guardrail(OUTSIDE)], Call.DO_NOT_SHIP, Call.DO_NOT_SHIP),
        ([primary(OPEN), guardrail(INSIDE)], Call.INCONCLUSIVE, Call.KEEP_RUNNING),
        ([primary(GOOD), primary(OPEN, name="spend")], Call.SHIP, Call.SHIP),
        ([primary(GOOD), primary(None, name="spend")], Call.SHIP, Call.SHIP),
        ([primary(GOOD), primary(BAD, name="spend")], Call.DO_NOT_SHIP, Call.DO_NOT_SHIP),
        ([primary(GOOD, bound=BAD)], Call.STOP, Call.STOP),
        ([primary(GOOD), guardrail(INSIDE, bound=OUTSIDE)], Call.STOP, Call.STOP),
        ([primary(GOOD), guardrail(INSIDE, bound=ACROSS)], Call.SHIP, Call.SHIP),
        ([primary(GOOD, at_end_only=True)], Call.SHIP, Call.KEEP_RUNNING),
        ([primary(BAD, at_end_only=True)], Call.DO_NOT_SHIP, Call.KEEP_RUNNING),
    ],
)
def test_each_case_has_the_verdict_of_the_rules(results: list[Result], at_the_end: Call, after_two_weeks: Call) -> None:
    assert call(*results) is at_the_end
    assert call(*results, calendar=TWO_WEEKS) is after_two_weeks
    assert call(*results, problems=("the shares are not those planned",)) is Call.INVALID


def test_secondary_and_descriptive_metrics_decide_nothing() -> None:
    for role in (Role.SECONDARY, Role.DESCRIPTIVE):
        assert call(primary(GOOD), Result("spend", role, Direction.INCREASE, BAD, BAD)) is Call.SHIP


def test_an_end_that_touches_its_line_is_across_it() -> None:
    assert standing(primary(None), Interval(0.0, 1.0)) is Standing.OPEN
    assert standing(primary(None), Interval(-1.0, 0.0)) is Standing.OPEN
    assert standing(guardrail(None), Interval(-1.0, 0.005)) is Standing.OPEN
    assert standing(guardrail(None), Interval(0.005, 1.0)) is Standing.OPEN
    assert standing(guardrail(None), Interval(-inf, 0.0049)) is Standing.GOOD


def test_a_decrease_that_is_wanted_is_good() -> None:
    fewer = Result("complaints", Role.PRIMARY, Direction.DECREASE, BAD)
    assert call(fewer) is Call.SHIP
    assert call(replace(fewer, interval=GOOD)) is Call.DO_NOT_SHIP


def test_a_guardrail_that_should_rise_may_fall_by_its_margin() -> None:
    revenue = Result("revenue", Role.GUARDRAIL, Direction.INCREASE, Interval(-0.4, 0.1), margin=0.5)
    assert standing(revenue, revenue.interval) is Standing.GOOD
    assert standing(revenue, Interval(-0.9, -0.6)) is Standing.BAD


def test_a_guardrail_without_a_margin_above_zero_is_refused() -> None:
    for margin in (None, 0.0, -0.1):
        with pytest.raises(ValueError, match="unsubscribed"):
            Result("unsubscribed", Role.GUARDRAIL, Direction.DECREASE, OPEN, margin=margin)


@pytest.mark.parametrize(
    ("days", "min_days", "decides", "next_decision"),
    [
        (0, 14, False, 14),
        (7, 14, False, 14),
        (13, 14, False, 14),
        (14, 14, True, 21),
        (15, 14, False, 21),
        (14, 10, True, 21),
        (10, 10, False, 14),
        (12, 1, False, 14),
        (90, 14, False, 91),
        (84, 14, True, 91),
    ],
)
def test_anytime_decides_after_whole_weeks_from_the_shortest_run_on(
    days: int, min_days: int, decides: bool, next_decision: int
) -> None:
    calendar = Calendar(START, END, min_days, Inference.ANYTIME, START + timedelta(days=days))
    assert calendar.decides is decides
    assert calendar.next_decision == START + timedelta(days=next_decision)


def test_fixed_decides_at_the_end_only_but_stops_before() -> None:
    early = replace(TWO_WEEKS, inference=Inference.FIXED)
    found = verdict("three", [primary(GOOD)], (), early)
    assert (found.call, found.until, found.next_decision) == (Call.KEEP_RUNNING, END, END)
    assert found.standings == (("visit", Standing.LATER),)
    assert call(primary(GOOD, bound=BAD), calendar=early) is Call.STOP
    assert call(primary(GOOD), calendar=replace(early, as_of=END)) is Call.SHIP


CUT = replace(TWO_WEEKS, as_of=START + timedelta(days=17), ended=START + timedelta(days=17))


@pytest.mark.parametrize(
    ("results", "anytime", "fixed"),
    [
        ([primary(GOOD)], Call.SHIP, Call.INCONCLUSIVE),  # the day was chosen by looking: anytime allows for it
        ([primary(BAD)], Call.DO_NOT_SHIP, Call.INCONCLUSIVE),
        ([primary(OPEN)], Call.INCONCLUSIVE, Call.INCONCLUSIVE),
        ([primary(GOOD, at_end_only=True)], Call.INCONCLUSIVE, Call.INCONCLUSIVE),
        ([primary(GOOD), guardrail(ACROSS)], Call.INCONCLUSIVE, Call.INCONCLUSIVE),
        ([primary(GOOD, bound=BAD)], Call.STOP, Call.STOP),
    ],
)
def test_what_was_ended_before_its_planned_end_keeps_running_no_more(
    results: list[Result], anytime: Call, fixed: Call
) -> None:
    for calendar, expected in ((CUT, anytime), (replace(CUT, inference=Inference.FIXED), fixed)):
        found = verdict("three", results, (), calendar)
        assert (found.call, found.until, found.next_decision) == (expected, None, None)
    early = replace(CUT, min_days=18)
    assert call(*results, calendar=early) is (fixed if fixed is Call.STOP else Call.INCONCLUSIVE)


def test_what_was_cut_short_excludes_only_what_may_be_read_then() -> None:
    for inference, excluded in ((Inference.ANYTIME, (("visit", OPEN),)), (Inference.FIXED, ())):
        calendar = replace(CUT, inference=inference)
        results = [primary(OPEN), primary(OPEN, name="stayed", at_end_only=True)]
        assert verdict("three", results, (), calendar).excluded == excluded


def test_a_table_without_dates_is_read_as_the_end() -> None:
    assert call(primary(GOOD), calendar=replace(TWO_WEEKS, as_of=None)) is Call.SHIP


def test_an_inconclusive_verdict_says_what_it_excludes() -> None:
    found = verdict("three", [primary(OPEN), primary(None, name="spend"), guardrail(INSIDE)], (), OVER)
    assert found.excluded == (("visit", OPEN),)
    assert found.because == ("visit", "spend")


ends = st.floats(-1, 1) | st.sampled_from([0.0, 0.005, -0.005, inf, -inf])
intervals = st.none() | st.tuples(ends, ends).map(sorted).map(lambda pair: Interval(*pair))
calendars = st.builds(
    Calendar,
    st.just(START),
    st.just(END),
    st.integers(1, 40),
    st.sampled_from(Inference),
    st.none() | st.integers(-3, 120).map(lambda days: START + timedelta(days=days)),
    st.none() | st.integers(0, 90).map(lambda days: START + timedelta(days=days)),
)


@st.composite
def results(draw: st.DrawFn, least: int = 0) -> list[Result]:
    roles = draw(st.lists(st.sampled_from(Role), min_size=least, max_size=5))
    return [
        Result(
            f"metric_{number}",
            role,
            draw(st.sampled_from(Direction)),
            draw(intervals),
            draw(intervals),
            draw(st.floats(0.001, 0.5)) if role is Role.GUARDRAIL else None,
            draw(st.booleans()),
        )
        for number, role in enumerate(roles)
    ]


def shifted(interval: Interval | None, by: float) -> Interval | None:
    return interval and Interval(interval.low + by, interval.high + by)


def better(result: Result, by: float) -> Result:
    signed = by if result.direction is Direction.INCREASE else -by
    return replace(result, interval=shifted(result.interval, signed), bound=shifted(result.bound, signed))


RANK = {
    Call.STOP: 0,
    Call.DO_NOT_SHIP: 1,
    Call.INCONCLUSIVE: 2,
    Call.KEEP_RUNNING: 2,
    Call.SHIP: 3,
}


@given(results(least=1), calendars, st.floats(0, 2), st.data())
def test_a_metric_that_gets_better_never_makes_the_verdict_worse(
    before: list[Result], calendar: Calendar, by: float, data: st.DataObject
) -> None:
    which = data.draw(st.integers(0, len(before) - 1))
    after = [better(each, by) if number == which else each for number, each in enumerate(before)]
    assert RANK[call(*after, calendar=calendar)] >= RANK[call(*before, calendar=calendar)]


@given(results(least=1), calendars, st.data())
def test_what_becomes_unknown_never_makes_a_variant_ship(
    before: list[Result], calendar: Calendar, data: st.DataObject
) -> None:
    which = data.draw(st.integers(0, len(before) - 1))
    lost = replace(before[which], interval=None, bound=None)
    after = [lost if number == which else each for number, each in enumerate(before)]
    if call(*after, calendar=calendar) is Call.SHIP:
        bad_was_lost = standing(before[which], before[which].interval) is Standing.BAD
        stop_was_lost = standing(before[which], before[which].bound) is Standing.BAD
        assert before[which].role is not Role.GUARDRAIL
        assert call(*before, calendar=calendar) is Call.SHIP or bad_was_lost or stop_was_lost


@given(results(), calendars)
def test_a_guardrail_more_never_makes_the_verdict_better(before: list[Result], calendar: Calendar) -> None:
    for interval in (INSIDE, ACROSS, OUTSIDE, None):
        after = call(*before, guardrail(interval), calendar=calendar)
        assert RANK[after] <= RANK[call(*before, calendar=calendar)]


@given(results(), calendars)
def test_order_of_metrics_changes_no_call(found: list[Result], calendar: Calendar) -> None:
    assert call(*found, calendar=calendar) is call(*reversed(found), calendar=calendar)


@given(results(), calendars)
def test_before_an_end_nothing_is_inconclusive_and_at_it_nothing_keeps_running(
    found: list[Result], calendar: Calendar
) -> None:
    reached = call(*found, calendar=calendar)
    has_ended = calendar.is_over or calendar.ended is not None
    assert reached is not (Call.KEEP_RUNNING if has_ended else Call.INCONCLUSIVE)
    if not calendar.decides:
        assert reached in (Call.STOP, Call.INCONCLUSIVE if has_ended else Call.KEEP_RUNNING)


@given(results(), calendars)
def test_the_date_that_is_promised_decides_and_is_the_first(found: list[Result], calendar: Calendar) -> None:
    reached = verdict("three", found, (), calendar)
    if reached.call is not Call.KEEP_RUNNING or calendar.as_of is None:
        return
    assert reached.next_decision is not None
    day = calendar.as_of + timedelta(days=1)
    while not replace(calendar, as_of=day).decides:
        day += timedelta(days=1)
    assert day == reached.next_decision
