"""The complaint breaker's rule: exact, blind to small days, and sure before it stops anything."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.core.breaker import (
    ALPHA,
    CALM_HOURS,
    DELIVERED_LEAST,
    HOUR_US,
    STOP_AT,
    WARN_AT,
    WINDOW_HOURS,
    Count,
    Judged,
    Level,
    Scope,
    Stream,
    from_published,
    judge,
    lower_bound,
    rule,
)
from engine.core.policy import DAY_US
from engine.core.rules import Pause

NOW_US = 20_000 * DAY_US
EMAIL = Scope("email")


def exact(successes: int, trials: int) -> float:
    return float(stats.beta.ppf(ALPHA, successes, trials - successes + 1)) if successes else 0.0


@given(st.data(), st.integers(1, 10_000_000))
def test_the_bound_is_the_exact_one(data: st.DataObject, trials: int) -> None:
    successes = data.draw(st.integers(0, min(trials, 50_000)) | st.just(min(trials, 50_000)))
    assert lower_bound(successes, trials) == pytest.approx(exact(successes, trials), rel=1e-6, abs=1e-15)


@given(st.integers(1, 400), st.integers(DELIVERED_LEAST, 100_000))
def test_more_complaints_or_fewer_messages_never_make_it_look_better(complaints: int, delivered: int) -> None:
    bound = lower_bound(complaints, delivered)
    assert lower_bound(complaints + 1, delivered) > bound > lower_bound(complaints, delivered + 1)
    assert bound < complaints / delivered


def test_a_true_rate_above_the_bound_is_as_rare_as_was_said() -> None:
    """How often the bound exceeds the true rate, summed up exactly: never more than alpha."""
    for delivered, rate in ((5_000, 0.003), (20_000, 0.003), (5_000, 0.001), (100_000, 0.0029)):
        fewest = next(k for k in range(delivered) if lower_bound(k, delivered) > rate)
        assert float(stats.binom.sf(fewest - 1, delivered, rate)) <= ALPHA


def test_one_small_day_is_no_rule() -> None:
    """300 mails a day, 0.05 % truly complained about: 0.30 % shows on 14 % of days, and would stop a good sender."""
    random_ = random.Random(7)  # noqa: S311 - the same days every time, and no secret
    days = 20_000
    shown = sum(any(random_.random() < 0.0005 for _ in range(300)) for _ in range(days))  # one complaint is 0.33 %
    assert shown / days == pytest.approx(0.14, abs=0.01)
    assert float(stats.binom.sf(0, 300, 0.0005)) == pytest.approx(0.14, abs=0.001)
    assert judge(1, 300).level is Level.QUIET
    assert judge(7, 2_100).level is Level.QUIET, "not even where every day of a week had one"


def test_a_good_sender_is_stopped_in_hardly_any_week_and_a_bad_one_in_hardly_any_not() -> None:
    fewest = next(k for k in range(5_000) if judge(k, 5_000).level is Level.STOP)
    assert float(stats.binom.sf(fewest - 1, 5_000, 0.001)) < 1e-6
    assert float(stats.binom.sf(fewest - 1, 5_000, 0.008)) > 0.99
    assert fewest / 5_000 > STOP_AT


@pytest.mark.parametrize(
    ("complaints", "delivered", "level"),
    [
        (0, 0, Level.QUIET),
        (4_999, 4_999, Level.QUIET),  # too few to say, however bad
        (0, 5_000, Level.QUIET),
        (9, 5_000, Level.QUIET),
        (10, 5_000, Level.WARN),
        (22, 5_000, Level.WARN),
        (23, 5_000, Level.STOP),
        (9_000, 5_000, Level.STOP),  # more than were delivered: of messages of before
        (3_000, 1_000_000, Level.WARN),
        (3_100, 1_000_000, Level.STOP),
    ],
)
def test_levels(complaints: int, delivered: int, level: Level) -> None:
    assert judge(complaints, delivered).level is level
    if delivered >= DELIVERED_LEAST:
        bound = exact(min(complaints, delivered), delivered)
        assert (bound >= STOP_AT, bound >= WARN_AT) == (level is Level.STOP, level is not Level.QUIET)


def test_seven_days_count_to_the_hour() -> None:
    stream = Stream(EMAIL, {0: Count(5_000, 20), WINDOW_HOURS - 1: Count(1_000, 10), WINDOW_HOURS: Count(9_000, 100)})
    assert stream.judged()[:2] == (6_000, 30)
    assert stream.judged(1)[:2] == (10_000, 110)


def bad(*ages: int) -> Stream:
    return Stream(EMAIL, {age: Count(6_000, 60) for age in ages})


def paused(hours: float, name: str = EMAIL.name, *, is_breaker: bool = True) -> Pause:
    return Pause(name, from_us=NOW_US - int(hours * HOUR_US), is_breaker=is_breaker)


def test_what_is_complained_about_is_stopped_once() -> None:
    ruling = rule([bad(3)], [], {}, NOW_US)
    assert ruling.begin == {EMAIL: Judged(6_000, 60, lower_bound(60, 6_000))}
    pause = EMAIL.pause(NOW_US)
    assert (pause.selector.channels, pause.selector.topics, pause.is_breaker, pause.until_us) == (
        {"email"}, None, True, None,
    )  # fmt: skip
    assert rule([bad(3)], [pause], {}, NOW_US) == ({}, {}, {})


def test_it_goes_on_after_a_day_of_calm() -> None:
    still = [bad(WINDOW_HOURS + CALM_HOURS - 1)]
    assert rule(still, [paused(200)], {}, NOW_US).end == {}, "a day ago it was still too much"
    calm = [bad(WINDOW_HOURS + CALM_HOURS)]
    assert rule(calm, [paused(200)], {}, NOW_US).end == {EMAIL.name: Judged(0, 0, None)}
    assert rule([], [paused(CALM_HOURS)], {}, NOW_US).end == {EMAIL.name: None}
    assert rule([], [paused(CALM_HOURS - 0.1)], {}, NOW_US).end == {}
    assert rule([], [paused(200, is_breaker=False)], {}, NOW_US).end == {}, "a person's pause is a person's to end"


def test_what_a_person_let_go_on_is_judged_by_what_came_since() -> None:
    lifted = {EMAIL.name: NOW_US - 2 * HOUR_US}
    assert rule([bad(3)], [], lifted, NOW_US).begin == {}
    assert rule([bad(2)], [], lifted, NOW_US).begin == {}
    assert rule([bad(1)], [], lifted, NOW_US).begin.keys() == {EMAIL}
    assert rule([bad(1)], [], {EMAIL.name: NOW_US + HOUR_US}, NOW_US).begin == {}, "a clock that stepped back"


def test_a_published_rate_counts_by_how_many_it_is_of() -> None:
    today = NOW_US // DAY_US
    hours = from_published([(today - 1, 0.02, 6_000), (today - 2, 0.0, 1_000), (today - 3, 0.5, None)], NOW_US)
    assert hours == {0: Count(6_000, 120), 24: Count(1_000, 0)}
    scope = Scope("email", provider="yahoo", is_published=True)
    assert rule([Stream(scope, hours)], [], {}, NOW_US).begin.keys() == {scope}
    assert scope.pause(NOW_US).selector.channels == {"email"}, "no ask names a provider"


@given(st.lists(st.text(min_size=1, max_size=80), min_size=2, max_size=2, unique=True))
def test_names_tell_topics_apart_and_are_names_of_pauses(topics: list[str]) -> None:
    names = [Scope("email", topic).name for topic in topics]
    assert names[0] != names[1]
    for name in names:
        assert len(name) <= 100
        assert all(each in "abcdefghijklmnopqrstuvwxyz0123456789._-" for each in name)
