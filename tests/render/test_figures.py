"""Charts of doses and of courses hold the readout's numbers; pages with all of them stay within their size."""

import asyncio
import signal
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from engine.operations.plan_file import read_plan
from engine.render import drawing, svg
from engine.render.courses import Weekly, by_week, dates_shown, over_time
from engine.render.doses import dose_chart
from engine.render.experiment import Held, Subject, experiment_file, experiment_page, read
from engine.render.figures import figures, interactive
from engine.render.frame import Frame
from engine.render.style import INK, NARROW, WIDE
from engine.render.svg import ChartError
from engine.store.experiments import Entry, Holdout, Record
from engine.store.snapshots import Reading, Snapshot
from experiments.design import Role
from experiments.readout import Doses, Readout
from experiments.reporting.json_form import document
from experiments.reporting.numbers import PEOPLE
from tests.operations.plans import THREE_ARMS, plan
from tests.render.readouts import a_dose_table, a_full_readout, an_estimate
from tests.render.test_page import Parsed, kept_to, same
from tests.render.test_specs import NASTY, texts, values

_FIRST_DAY = date(1970, 1, 1).toordinal()
DAY_US = 86_400_000_000
NOW_US = 20_700 * DAY_US + 5
FULL = a_full_readout()
PAGE_BYTES_MAX = 300_000


def course(readout: Readout, days: int) -> list[Reading]:
    return [
        Reading(NOW_US - back * DAY_US, metric.name, variant, 0.01 * back / days, -0.02 - back / 1e4, 0.03 + back / 1e4)
        for metric in readout.metrics
        if metric.role in (Role.PRIMARY, Role.GUARDRAIL)
        for variant in readout.treatments
        for back in reversed(range(days))
    ]


def weeks(readout: Readout, number: int = 12) -> list[Weekly]:
    return [
        Weekly("time_to_unsubscribe", variant, week, 0.02 / week, 0.01 / week, 0.03 / week)
        for variant in readout.treatments
        for week in range(1, number + 1)
    ]


def test_each_tested_limit_is_drawn_over_what_was_set_and_over_what_came_of_it() -> None:
    for size in (WIDE, NARROW):
        rows = values(dose_chart(FULL, size), "limit", "effect")
        table = FULL.doses[0].table
        for row in table.rows:
            found = [each for each in rows if each["variant"] == row.variant]
            expected = row.effect.effect if row.effect else 0.0
            assert found
            assert {(each["received"], each["effect"]) for each in found} == {(row.received, expected)}
            assert all((each["low"] is None) == (row.effect is None) for each in found)
        drawn = texts(svg.svg(dose_chart(FULL, size)))
        assert "contacts received a week" in drawn
        assert "net_value" in drawn


def test_a_limit_without_an_end_or_without_an_estimate_is_no_number() -> None:
    table = FULL.doses[0].table
    endless = replace(an_estimate(0.2, 0.1, float("inf")), p_value=None)
    rows = (replace(table.rows[0], dose=None), replace(table.rows[1], effect=endless), table.rows[2])
    found = replace(FULL, doses=(Doses("net_value", replace(table, rows=rows)),))
    shown = values(dose_chart(found), "limit", "effect")
    assert {each["limit"] for each in shown} >= {"no limit"}
    assert {each["low"] for each in shown if each["variant"] == rows[1].variant} == {None}
    svg.svg(dose_chart(found))
    assert "doses" not in figures(
        replace(FULL, doses=(Doses("days_retained", a_dose_table(("one", "three", "five"))),))
    )


def test_effects_over_time_hold_every_reading_and_its_band_on_its_day() -> None:
    metric = FULL.metric("reachable_28")
    own = [each for each in course(FULL, 40) if each.metric == metric.name]
    for size in (WIDE, NARROW):
        spec = over_time(FULL, metric, own, size)
        rows = {(each["variant"], each["day"]): each for each in values(spec, "effect", "x")}
        assert len(rows) == len(own)
        for each in own:
            day = rows[each.variant, date.fromordinal(_FIRST_DAY + each.day).isoformat()]
            assert each.low is not None
            assert day["effect"] == pytest.approx(each.effect * PEOPLE)
            assert day["low"] == pytest.approx(each.low * PEOPLE)
        svg.svg(spec)
    without = [each._replace(low=None, high=None) for each in own]
    assert values(over_time(FULL, metric, without), "low") == []


def test_a_reading_as_of_midnight_is_of_the_day_that_was_over() -> None:
    reading = Reading(20_700 * DAY_US, "m", "v", 0.0, None, None)
    assert (reading.day, reading._replace(as_of_us=20_700 * DAY_US + 1).day) == (20_699, 20_700)


def test_a_table_of_a_long_course_has_its_first_and_its_last_day() -> None:
    found = course(FULL, 100)
    shown = dates_shown(found, 12)
    assert len(shown) == 12
    assert (shown[0], shown[-1]) == (min(each.as_of_us for each in found), NOW_US)
    assert dates_shown(found[:3], 12) == sorted(each.as_of_us for each in found[:3])


def test_effects_by_week_hold_every_week() -> None:
    metric = FULL.metric("time_to_unsubscribe")
    spec = by_week(FULL, metric, weeks(FULL))
    rows = {(each["variant"], each["week"]): each["effect"] for each in values(spec, "week", "effect")}
    assert rows == {(each.variant, each.week): (each.effect or 0) * PEOPLE for each in weeks(FULL)}
    svg.svg(spec)


def test_what_is_left_out_of_a_drawing_is_nothing_that_it_says() -> None:
    name = 'a opacity="1" d="3.14159"'
    readout = a_full_readout(("one", name, "five"))
    assert name in texts(svg.svg(figures(readout)["incidence-5"].wide))


def test_a_chart_that_answers_tells_what_lies_under_the_pointer_and_draws_the_same() -> None:
    drawn = figures(FULL, course(FULL, 40), weeks(FULL))
    assert {"metrics", "others", "doses", "incidence-5", "staying-5", "weeks-5", "time-1", "time-2"} <= drawn.keys()
    for each in drawn.values():
        spec = interactive(each.wide)
        assert '"tooltip"' in svg.as_text(spec), each.name
        assert ('"zoom"' in svg.as_text(spec)) == each.name.startswith("time-")
        assert spec["config"]["text"]["fill"] == INK, "the page's script puts its own ink there"
        assert texts(svg.draw_svg(svg.as_text(spec))) == texts(svg.svg(each.wide)), each.name


def a_subject(readout: Readout, days: int, kept_weeks: list[Any]) -> Subject:
    data = {"schema": 1, "readout": document(readout), "eligible": None, "pauses": None, "concurrent": []}
    snapshot = Snapshot(1, 1, NOW_US, NOW_US, 1, "stop", {**data, "cautions": [], "weeks": kept_weeks})
    made = plan(THREE_ARMS)
    return Subject(
        record=Record(1, "push-more", "running", "alert", 0, NOW_US, None, None, THREE_ARMS, made.data),
        plan=read_plan(made.data),
        treatments={},
        log=[Entry(1, NOW_US, "start", "ada", "", {})],
        holdout=None,
        held=(),
        held_newest_us=None,
        holdout_is_open=False,
        snapshot=snapshot,
        days=[(NOW_US - back * DAY_US, "stop") for back in range(days)],
        readings=course(readout, days),
        is_newest=True,
        shares_held=(0.05, 0.1),
        traffic_now=1.0,
        weights_now={each.name: each.weight for each in made.experiment.variants},
    )


def test_a_page_with_every_chart_and_four_months_of_readouts_is_within_its_size() -> None:
    effects = [{"week": each.week, "effect": each.effect, "low": each.low, "high": each.high} for each in weeks(FULL)]
    own = [
        {"metric": "time_to_unsubscribe", "variant": each, "cohort": {"one": 7, each: 8}, "effects": effects[:12]}
        for each in FULL.treatments
    ]
    subject = a_subject(FULL, 120, own)
    frame = Frame("push-more", NOW_US, "1", who="ada", csrf="x" * 43, may_manage=True)
    found = read(subject.snapshot, subject.readings)
    page = experiment_page(frame, subject, found, "/static/vega.js")
    assert {"time-1", "weeks-5", "doses", "incidence-5"} <= found.figures.keys()
    assert page.count('class="chart wide"') == len(found.figures) - 1  # the others have a table, and files
    assert len(page.encode()) < PAGE_BYTES_MAX
    assert len(experiment_file(subject, found).encode()) < PAGE_BYTES_MAX


@pytest.mark.parametrize("name", NASTY)
def test_any_name_stays_a_name_on_the_whole_page_and_in_every_chart(name: str) -> None:
    readout = a_full_readout(("one", name, "five"))
    effects = [{"week": each.week, "effect": each.effect, "low": None, "high": 0.5} for each in weeks(FULL)[:3]]
    own = [
        {"metric": "time_to_unsubscribe", "variant": each, "cohort": {"one": 7, each: 8}, "effects": effects}
        for each in readout.treatments
    ]
    subject = a_subject(readout, 3, own)
    found = read(subject.snapshot, subject.readings)
    page = experiment_page(Frame(name, NOW_US, "1", who=name), subject, found, "/static/vega.js")
    assert page.count("<script") == 1, "the frame's own"
    assert "\u202e" not in page
    for heading in ("By week since entry", "Over time, as it was read", "At each tested limit", "Keep this readout"):
        assert heading in page
    for each in found.figures.values():
        if each.name != "others":
            drawn = svg.svg(each.narrow)
            assert "<script" not in drawn
            assert "\u202e" not in drawn
            texts(drawn)


@pytest.mark.parametrize("broken", [{}, {"readout": None}, {"readout": {"schema": 0}}, {"readout": {"schema": 1}}])
def test_a_snapshot_that_cannot_be_read_is_told_and_has_no_chart(broken: dict[str, Any]) -> None:
    subject = replace(a_subject(FULL, 3, []), snapshot=Snapshot(1, 1, NOW_US, NOW_US, 1, "stop", broken))
    found = read(subject.snapshot, subject.readings)
    assert found.readout is None
    assert found.unreadable
    page = experiment_page(Frame("x", NOW_US, "1", who="ada"), subject, found, "/static/vega.js")
    assert "made by another version of Takt" in page


def test_charts_drawn_elsewhere_are_those_drawn_here_and_a_process_that_died_is_replaced() -> None:
    spec = dose_chart(FULL)
    text = svg.as_text({**spec, "description": "drawn elsewhere"})
    here = svg.draw_svg(text)
    asyncio.run(drawing.drawn([{**spec, "description": "drawn elsewhere"}]))
    assert svg.kept(text) == here
    process = drawing._drawer._process  # pyright: ignore[reportPrivateUsage]
    assert process
    process.kill()
    process.wait()
    asyncio.run(drawing.drawn([{**spec, "description": "drawn by another"}]))
    assert svg.kept(svg.as_text({**spec, "description": "drawn by another"}))
    with pytest.raises(ChartError, match="cannot be drawn"):
        asyncio.run(drawing.png({"mark": "nonsense"}))
    assert asyncio.run(drawing.png(spec)).startswith(b"\x89PNG")


def test_a_page_does_not_wait_again_for_a_process_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [{**dose_chart(FULL), "description": f"drawn by one that hangs, {number}"} for number in range(3)]
    asyncio.run(drawing.png(specs[0]))
    process = drawing._drawer._process  # pyright: ignore[reportPrivateUsage]
    assert process
    process.send_signal(signal.SIGSTOP)
    with monkeypatch.context() as hurried:
        hurried.setattr(drawing, "_PATIENCE_S", 0.1)
        assert asyncio.run(drawing.drawn(specs)) == {svg.as_text(each) for each in specs}
    assert process.wait() == -signal.SIGKILL
    assert asyncio.run(drawing.drawn(specs)) == frozenset()


def test_a_chart_that_cannot_be_drawn_keeps_no_other_from_being_drawn() -> None:
    bad, none = {"mark": "nonsense"}, {**dose_chart(FULL), "padding": float("nan")}
    good = {**dose_chart(FULL), "description": "beside one that is none"}
    assert asyncio.run(drawing.drawn([bad, none, good])) == {svg.as_text(bad)}
    assert svg.kept(svg.as_text(good))


def test_a_page_is_whole_without_a_chart_that_could_not_be_drawn() -> None:
    subject = a_subject(FULL, 3, [])
    found = read(subject.snapshot, subject.readings)
    broken = found.figures["doses"]
    nowhere = replace(broken, wide={**broken.wide, "padding": float("nan")})
    frame, missing = Frame("x", NOW_US, "1", who="ada"), "The chart is missing: it could not be drawn."
    whole = experiment_page(frame, subject, found, "/static/vega.js")
    assert missing not in whole
    for lacking in (
        found._replace(undrawn={svg.as_text(broken.narrow)}),
        found._replace(figures={**found.figures, "doses": nowhere}),
    ):
        page = experiment_page(frame, subject, lacking, "/static/vega.js")
        part = page.partition('<h2 id="doses">')[2].partition("</section>")[0]
        assert missing in part
        assert "These effects as a table" in part
        assert "charts/doses.csv" in part
        assert "charts/doses.png" not in part
        assert page.count(missing) == 1
        assert page.count('class="chart wide"') == whole.count('class="chart wide"') - 1
        assert missing in experiment_file(subject, lacking)


def test_a_file_holds_what_the_page_shows_and_leads_nowhere() -> None:
    effects = [{"week": each.week, "effect": each.effect, "low": each.low, "high": each.high} for each in weeks(FULL)]
    own = [
        {"metric": "time_to_unsubscribe", "variant": each, "cohort": {"one": 7, each: 8}, "effects": effects[:3]}
        for each in FULL.treatments
    ]
    subject = replace(a_subject(FULL, 3, own), treatments={"three": "3 a week instead of 1"})
    assert subject.snapshot is not None
    beside = {
        "cautions": ["Refusals are not read."],
        "concurrent": [{"experiment": "other", "customers": [{"variant": "one", "other": "a", "customers": 41}]}],
        "pauses": {
            "stretches": [{"name": "outage", "from_us": NOW_US - DAY_US, "until_us": NOW_US, "is_breaker": True}],
            "customers_without": 1,
            "effects_without": [],
        },
        "refusals": {
            "from_us": NOW_US - 28 * DAY_US,
            "until_us": NOW_US,
            "by_variant": [
                {"variant": "one", "customers": 2, "weeks": 8.0, "messages": 54},
                {"variant": "three", "customers": 0, "weeks": 0.0, "messages": 0},
            ],
        },
        "eligible": {
            "customers": {"one": 100, "three": 100, "five": 100},
            "share_diverged": 0.5,
            "effects": [{"metric": "reachable_28", "variant": "three", "effect": 0.0321, "low": 0.03, "high": None}],
        },
    }
    holdout = Holdout("h", "h", 0.05, 3, 1, NOW_US - 30 * DAY_US, NOW_US + 90 * DAY_US, None)
    held = [Held(28, NOW_US - DAY_US, True, "ship"), Held(90, NOW_US + DAY_US, False, None)]
    log = [*subject.log, Entry(2, NOW_US, "note", "ben", "Three of five testers did not notice.", {})]
    snapshot = subject.snapshot._replace(readout={**subject.snapshot.readout, **beside})
    subject = replace(subject, snapshot=snapshot, log=log, holdout=holdout, held=held, held_newest_us=NOW_US)
    found = read(snapshot, subject.readings)
    file = kept_to(experiment_file(subject, found))
    page = Parsed(experiment_page(Frame("x", NOW_US, "1", who="ada"), subject, found, "/static/vega.js"))
    elsewhere = {"Keep this readout"}
    assert file.said["h2"] == [each for each in page.said["h2"] if each not in elsewhere]
    for said in (
        "3 a week instead of 1: ",
        "Refusals are not read.",
        "41 customers were in other too.",
        "Contacts were paused (outage, the complaint breaker) from",
        "+321 in 10,000 customers (at least +300)",
        "Messages refused a week",
        "Refused: from 7 Aug 2026 to 4 Sep 2026, as customers' own refusals are kept for 30 days;",
        "Three of five testers did not notice.",
        "By week since entry",
        "Over time, as it was read",
        "6 things could make it wrong",
        "5 % of all customers stay under the budgets of version 3",
        "Day 28 ship",
    ):
        assert same(said) in file.text, said
        assert same(said) in page.text, said
    for told in (file, page):
        assert told.said["td"].count("6.75") == 1, "who was there for no time, or is not told of, has no figure"
    assert file.text.count("Explore") == 0
    assert "The newest readout of it" in page.text
    assert "The newest readout of it" not in file.text
    assert len([each for _, each in file.tags if each.get("role") == "img"]) == 2 * (len(found.figures) - 1)
