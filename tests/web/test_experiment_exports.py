"""What a readout's page can be saved as, and how its effects went: whole, within its size, and the same numbers."""

import csv
import gzip
import io
import json
import re
import uuid
from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from engine.core.cells import as_csv
from engine.render.figures import Sheet
from experiments.readout import Readout
from tests.api.caller import Caller
from tests.operations.plans import POLICY, THREE_ARMS
from tests.web.browser import Browser, words

PAGE_BYTES_MAX = 300_000
SURVIVAL = (
    "  - {name: until_gone, kind: survival, event: unsubscribed, horizon: 28, role: secondary, direction: decrease}\n"
)


@pytest.fixture(scope="module")
def readout(shared_service: Any) -> Generator[tuple[str, dict[str, Any]]]:
    """The address of a readout of three variants, and the readout itself."""
    with Caller(shared_service, timeout_s=120) as caller:
        caller.call("POST", "/v1/policies", {"yaml": POLICY})
        key = f"e-{uuid.uuid4().hex[:8]}"
        caller.call("POST", "/v1/experiments", {"yaml": THREE_ARMS.replace("push-more", key) + SURVIVAL})
        caller.call("POST", f"/v1/experiments/{key}/start")
        for number in range(60):
            for message in range(2):
                caller.ask(f"{key}-{number}", f"m{message}", channel="push")
        found = caller.call("POST", f"/v1/experiments/{key}/readout")
        yield key, found["readout"]
        caller.call("POST", f"/v1/experiments/{key}/stop")


@pytest.fixture
def address(ada: Browser, readout: tuple[str, dict[str, Any]]) -> str:
    (found,) = set(
        re.findall(rf'"(/experiments/{readout[0]}/readouts/[0-9]+)"', ada.get(f"/experiments/{readout[0]}").text)
    )
    return found


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_readout_is_saved_as_json_as_a_file_and_as_a_sheet_of_its_intervals(
    ada: Browser, readout: tuple[str, dict[str, Any]], address: str
) -> None:
    as_json = ada.get(f"{address}/readout.json")
    assert as_json.json()["readout"] == readout[1]
    assert as_json.headers["content-disposition"].startswith("attachment")
    with Caller(ada.service) as caller:
        told = caller.call("GET", f"/v1/experiments/{readout[0]}/readout")
    saved = {name: each for name, each in as_json.json().items() if name not in ("age_s", "over_time")}
    assert saved == {name: each for name, each in told.items() if name != "age_s"}
    assert ada.get(f"{address}/readout.html").text.startswith("<!doctype html>")
    found = Readout.from_json(json.dumps(readout[1]))
    sheet = rows(ada.get(f"{address}/intervals.csv").text)
    assert len(sheet) == len(found.metrics) * 2
    for row in sheet:
        estimate = found.metric(row["metric"]).comparison(row["variant"]).estimate
        arm = found.metric(row["metric"]).arm(row["variant"])
        for name in ("effect", "low", "high"):
            number = getattr(estimate, name)
            assert row[name] == ("" if number is None else str(number))
        assert float(row["numerator"]) == arm.numerator
        assert row["control"] == "one"
    missing = address.rpartition("/")[0] + "/1"
    for name in ("readout.json", "readout.html", "intervals.csv", "charts/metrics.png"):
        assert ada.get(f"{missing}/{name}").status_code == 404


def test_each_chart_on_the_page_can_be_had_as_picture_as_sheet_and_as_spec(ada: Browser, address: str) -> None:
    page = ada.get(address).text
    charts = set(re.findall(rf'"{address}/charts/([a-z0-9-]+)\.png"', page))
    assert {"metrics", "others"} <= charts
    assert set(re.findall(rf'data-explore="{address}/charts/([a-z0-9-]+)\.json"', page)) == charts - {"others"}
    for chart in charts:
        sheet = rows(ada.get(f"{address}/charts/{chart}.csv").text)
        assert sheet, chart
        assert {"metric", "variant"} <= sheet[0].keys()
        for narrow in ("", "?narrow=true"):
            spec = ada.get(f"{address}/charts/{chart}.json{narrow}").json()
            assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
            assert '"url"' not in json.dumps(spec)
    picture = ada.get(f"{address}/charts/metrics.png")
    assert picture.content.startswith(b"\x89PNG\r\n")
    assert picture.headers["content-type"] == "image/png"
    for none in ("nothing", "time-1", "metrics-1", "incidence-99"):
        for kind in ("png", "csv", "json"):
            assert ada.get(f"{address}/charts/{none}.{kind}").status_code == 404


def test_a_page_holds_a_chart_with_a_table_and_stays_within_its_size(ada: Browser, address: str) -> None:
    page = ada.get(address)
    assert len(page.content) < PAGE_BYTES_MAX
    assert "One interval for each metric" in words(page.text)
    assert page.text.count('class="chart wide"') == page.text.count('class="chart narrow"')
    assert page.text.count("<table") >= page.text.count('class="chart wide"')


def test_effects_over_time_are_those_of_each_days_newest_readout_up_to_the_one_shown(
    ada: Browser, readout: tuple[str, dict[str, Any]], address: str
) -> None:
    key, day_us = readout[0], 86_400_000_000
    computed_us = int(address.rpartition("/")[2])
    with psycopg.connect(ada.service.database_url, autocommit=True) as connection:
        for back_us, inference, effect, decides, stops, schema in (
            (day_us, "anytime", 0.25, ("-infinity", 0.375), (-1, 1), 1),
            (day_us + 1, "anytime", 0.75, (-1, 1), (-1, 1), 1),  # of the same day, and older
            (2 * day_us, "fixed", -0.125, (-1, 1), (-0.5, 0.0), 1),  # what decides holds at the end alone
            (3 * day_us, "anytime", 0.5, (-1, 1), (-1, 1), 0),  # of a version that nobody can read any more
        ):
            comparison = {"effect": effect, "low": decides[0], "high": decides[1]}
            connection.execute(
                "INSERT INTO snapshots (experiment, number, computed_us, as_of_us, took_us, call, readout)"
                " SELECT experiment, s.number - %s, computed_us - %s, as_of_us - %s, took_us, call,"
                " jsonb_set(jsonb_set(jsonb_set(jsonb_set("
                "readout, '{readout,metrics,0,comparisons,0,estimate}', %s::jsonb),"
                " '{readout,metrics,0,comparisons,0,bound}', %s::jsonb), '{readout,schema}', %s::jsonb),"
                " '{readout,inference}', %s::jsonb)"
                " FROM snapshots s JOIN experiments e ON e.number = s.experiment WHERE e.key = %s AND computed_us = %s",
                (
                    *(3 * [back_us]),
                    json.dumps(comparison),
                    json.dumps({"low": stops[0], "high": stops[1]}),
                    json.dumps(schema),
                    json.dumps(inference),
                    key,
                    computed_us,
                ),
            )
    try:
        sheet = rows(ada.get(f"{address}/charts/time-1.csv").text)
        told = [(row["effect"], row["low"], row["high"]) for row in sheet if row["variant"] == "three"]
        assert told[:2] == [("-0.125", "-0.5", "0.0"), ("0.25", "", "0.375")]
        assert {(row["unit"], row["metric"]) for row in sheet} == {("share", "reachable")}
        days = [datetime.fromisoformat(row["as_of"]) for row in sheet if row["variant"] == "three"]
        assert [each.date() for each in days[1:]] == [each.date() + timedelta(1) for each in days[:-1]]
        shown = words(ada.get(address).text)
        assert "Over time, as it was read" in shown
        assert "+2,500 (at most +3,750)" in shown
        saved = words(ada.get(f"{address}/readout.html").text)
        assert "Over time, as it was read" in saved
        assert "+2,500 (at most +3,750)" in saved
        course = [each for each in ada.get(f"{address}/readout.json").json()["over_time"] if each["variant"] == "three"]
        assert [(each["effect"], each["low"], each["high"]) for each in course if each["metric"] == "reachable"][
            :2
        ] == [
            (-0.125, -0.5, 0.0),
            (0.25, None, 0.375),
        ]
        older = f"/experiments/{key}/readouts/{computed_us - 2 * day_us}"
        assert ada.get(f"{older}/charts/time-1.csv").status_code == 404, "one day is no course"
    finally:
        with psycopg.connect(ada.service.database_url, autocommit=True) as connection:
            connection.execute("DELETE FROM snapshots WHERE computed_us < %s", (computed_us,))


def test_a_page_is_shown_without_a_chart_that_cannot_be_drawn(
    ada: Browser, readout: tuple[str, dict[str, Any]], address: str
) -> None:
    whole, computed_us = ada.get(address).text, int(address.rpartition("/")[2])
    too_large = '{"effect": 1e308, "low": -1, "high": 1}'  # of 10,000 customers it is no number any more
    with psycopg.connect(ada.service.database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO snapshots (experiment, number, computed_us, as_of_us, took_us, call, readout)"
            " SELECT experiment, number - back, computed_us - back, as_of_us - back, took_us, call,"
            " jsonb_set(jsonb_set(readout, '{readout,metrics,0,comparisons,0,estimate}', %s::jsonb),"
            """ '{readout,metrics,1,comparisons,0,estimate}', '{"effect": 0.5, "low": 0, "high": 1}')"""
            " FROM snapshots CROSS JOIN unnest(ARRAY[86400000007, 172800000007]) AS days (back) WHERE computed_us = %s",
            (too_large, computed_us),
        )
        try:
            for path in (address, f"{address}/readout.html"):
                shown = ada.get(path)
                assert shown.status_code == 200, path
                course = shown.text.partition('<h2 id="over-time">')[2].partition("</section>")[0]
                assert words(course).count("The chart is missing: it could not be drawn.") == 1, path
                assert "reachable over time, as a table" in words(course)
                assert course.count('class="chart wide"') == 1, "the other metric's"
            assert shown.text.count('class="chart wide"') == whole.count('class="chart wide"') + 1
            picture = ada.get(f"{address}/charts/time-1.png")
            assert picture.status_code == 404
            assert "cannot be drawn. Its numbers are in the table" in picture.text
            assert rows(ada.get(f"{address}/charts/time-1.csv").text)[0]["effect"] == "1e+308"
        finally:
            connection.execute("DELETE FROM snapshots WHERE computed_us < %s", (computed_us,))


def test_effects_by_week_stand_on_the_page_with_their_cohort(
    ada: Browser, readout: tuple[str, dict[str, Any]], address: str
) -> None:
    effects = [
        {"week": 1, "effect": 0.0625, "low": 0.03125, "high": 0.09375, "method": "m", "why_not": None},
        {"week": 2, "effect": None, "low": None, "high": None, "method": "m", "why_not": "not enough data"},
    ]
    kept = [
        {
            "metric": "until_gone",
            "variant": name,
            "cohort": {"three": 19, "five": 23, "one": 17},
            "alpha": 0.05,
            "effects": effects,
        }
        for name in ("three", "five")
    ]
    with psycopg.connect(ada.service.database_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE snapshots SET readout = readout || jsonb_build_object('weeks', %s::jsonb) WHERE computed_us = %s",
            (json.dumps(kept), int(address.rpartition("/")[2])),
        )
    shown = words(ada.get(address).text)
    assert "By week since entry" in shown
    assert "one 17, three 19, five 23" in shown
    assert "+625 (+312 to +938)" in shown
    assert "+625 (+312 to +938)" in words(ada.get(f"{address}/readout.html").text)
    assert ada.get(f"{address}/readout.json").json()["weeks"] == kept
    sheet = rows(ada.get(f"{address}/charts/weeks-3.csv").text)
    assert [(each["variant"], each["week"], each["effect"]) for each in sheet] == [
        (name, week, effect) for name in ("three", "five") for week, effect in (("1", "0.0625"), ("2", ""))
    ]


def test_what_only_the_service_knows_is_in_every_file_and_counted_among_what_could_make_it_wrong(
    ada: Browser, readout: tuple[str, dict[str, Any]], address: str
) -> None:
    before = words(ada.get(address).text)
    beside = {
        "cautions": ["Refusals are not read."],
        "concurrent": [{"experiment": "other", "customers": [{"variant": "one", "other": "a", "customers": 41}]}],
        "pauses": {
            "stretches": [
                {
                    "name": "outage",
                    "from_us": 1_790_000_000_000_000,
                    "until_us": 1_790_000_060_000_000,
                    "is_breaker": False,
                }
            ],
            "customers_without": 3,
            "effects_without": [],
        },
    }
    with psycopg.connect(ada.service.database_url, autocommit=True) as connection:
        where = "WHERE computed_us = %s"
        kept = connection.execute(
            f"SELECT readout FROM snapshots {where}", (int(address.rpartition("/")[2]),)
        ).fetchone()
        assert kept
        change = f"UPDATE snapshots SET readout = %s::jsonb {where}"
        connection.execute(change, (json.dumps({**kept[0], **beside}), int(address.rpartition("/")[2])))
        shown, saved = (words(ada.get(each).text) for each in (address, f"{address}/readout.html"))
        told = ada.get(f"{address}/readout.json").json()
        connection.execute(change, (json.dumps(kept[0]), int(address.rpartition("/")[2])))
    for each in (
        "Refusals are not read.",
        "41 customers were in other too.",
        "Contacts were paused (outage) from 21 Sep",
    ):
        assert each in shown
        assert each in saved
    assert told["concurrent"] == beside["concurrent"]
    assert told["pauses"]["stretches"][0]["from"] == "2026-09-21T14:13:20Z"
    assert told["eligible"]["customers"]
    assert "What it would mean for everyone" in shown
    assert "What it would mean for everyone" in saved
    own, more = (int(re.findall("([0-9]+) things could make it wrong", each)[0]) for each in (before, shown))
    assert own == len(readout[1]["cautions"]), "what makes a readout invalid is a caution too"
    assert more == own + 3


def test_what_lets_charts_answer_is_kept_by_browsers_and_bears_its_version(ada: Browser, address: str) -> None:
    (script,) = set(re.findall(r'data-script="([^"]+)"', ada.get(address).text))
    answer = ada.get(script)
    assert answer.status_code == 200
    assert answer.headers["content-encoding"] == "gzip"
    assert "immutable" in answer.headers["cache-control"]
    assert "window.vegaEmbed" in answer.text
    plain = ada.http.get(script, headers={"Accept-Encoding": "identity"})
    assert plain.content == answer.content
    assert len(gzip.compress(plain.content)) < 400_000


def test_a_sheet_holds_no_formula_and_any_text() -> None:
    endless = ("low", float("-inf")), ("none", float("nan"))
    text = as_csv(*Sheet(("name", "effect"), [("=1+1", -0.5), ('a "b", c', None), ("-x\n😀", 1e-9), *endless]))
    assert list(csv.reader(io.StringIO(text))) == [
        ["name", "effect"],
        ["'=1+1", "-0.5"],
        ['a "b", c', ""],
        ["'-x\n😀", "1e-09"],
        ["low", ""],
        ["none", ""],
    ]
