"""The programme's page: every result in words, a table to keep, and what it says while there is nothing."""

import csv
import io
import json
import uuid
from collections.abc import Generator

import psycopg
import pytest

from engine.core.policy import DAY_US
from engine.core.tokens import Scope
from engine.store.embedded import Server
from experiments.reporting.json_form import document
from tests.conftest import clean_database
from tests.operations.ended import START_US, a_result, ended, renamed
from tests.service import Service, serving
from tests.web.browser import Browser, words

HOSTILE = "<script>alert(1)</script> \u202eevil\u202c 😀 " + "x" * 150


@pytest.fixture(scope="module")
def empty(server: Server, template: str) -> Generator[Service]:
    """One in which nothing was ever tried."""
    with clean_database(server, template) as url, serving(url) as service:
        yield service


@pytest.fixture
def key() -> str:
    return f"p-{uuid.uuid4().hex[:8]}"


def url_of(browser: Browser) -> str:
    return browser.service.database_url


def table(browser: Browser, query: str = "") -> list[dict[str, str]]:
    response = browser.get(f"/programme.csv{query}")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(response.text)))


def row_of(browser: Browser, key: str) -> str:
    """What the page says of one experiment."""
    text = browser.get("/programme").text
    (row,) = [each for each in text.split('<tr role="row">') if f'href="/experiments/{key}"' in each]
    return words(row.partition("</tr>")[0])


def test_where_nothing_has_ended_it_says_what_to_do(empty: Service) -> None:
    with Browser(empty) as browser:
        browser.sign_in()
        shown = words(browser.get("/programme").text)
        assert "No experiment has ended yet." in shown
        assert "takt experiments create plan.yaml" in shown
        assert "programme.csv" not in shown
        assert table(browser) == []
        assert browser.get("/programme?kind=harmful").status_code == 200


def test_each_result_is_told_with_its_interval_and_who_decided(ada: Browser, key: str) -> None:
    ended(url_of(ada), key, a_result(0.05, 0.01), state="shipped", note="It keeps them.", hypothesis="More is better.")
    ended(url_of(ada), f"{key}-h", a_result(0.05, 0.01, 0.06))
    ended(url_of(ada), f"{key}-n", a_result(0.0, 0.01))
    ended(url_of(ada), f"{key}-r", a_result(-0.05, 0.01), state="shipped")
    ended(url_of(ada), f"{key}-w", a_result(0.05, 0.01), state="running")
    shipped = row_of(ada, key)
    assert "More is better." in shipped
    assert "shipped three ship customers kept +500 in 10,000 customers (+400 to +600)" in shipped
    assert "42,617" in shipped
    assert "three shipped 22 Feb 2024 by ann It keeps them." in shipped
    harmful = row_of(ada, f"{key}-h")
    assert "harmful three stop" in harmful
    assert "left +600 in 10,000 customers (+500 to +700)" in harmful
    assert "no effect shown three inconclusive" in row_of(ada, f"{key}-n")
    assert "Its readout does not say to ship three." in row_of(ada, f"{key}-r")
    assert "waits for a decision" in row_of(ada, f"{key}-w")
    lead = words(ada.get("/programme").text)
    assert "experiments have ended:" in lead
    assert "No budget was shipped yet." in lead


def test_what_another_version_read_counts_by_its_word_and_against_no_ship(ada: Browser, key: str) -> None:
    other = {"schema": 0, "verdicts": "who knows"}
    ended(url_of(ada), f"{key}-s", a_result(0.05, 0.01, 0.06), told=other)
    ended(url_of(ada), f"{key}-o", a_result(0.05, 0.01), told=other, state="shipped")
    ended(url_of(ada), f"{key}-u", None, state="shipped")
    assert "harmful Another version of Takt read it: stop." in row_of(ada, f"{key}-s")
    assert f"{key}-s" in {each["experiment"] for each in table(ada, "?kind=harmful")}
    for shipped in (f"{key}-o", f"{key}-u"):
        assert "three shipped" in row_of(ada, shipped)
        assert "does not say to ship" not in row_of(ada, shipped)


def test_the_table_holds_what_the_page_shows_and_no_formula(ada: Browser, key: str) -> None:
    ended(url_of(ada), key, a_result(0.05, 0.01), note="=HYPERLINK(1)", hypothesis="@SUM(1)")
    ended(url_of(ada), f"{key}-u", None)
    rows = [each for each in table(ada) if each["experiment"] == key]
    assert [(each["metric"], each["title"], each["role"], each["unit"]) for each in rows] == [
        ("kept", "customers kept", "primary", "in 10,000 customers"),
        ("left", "", "guardrail", "in 10,000 customers"),
    ]
    assert [float(rows[0][each]) for each in ("effect", "low", "high")] == pytest.approx([500, 400, 600])
    assert (rows[0]["result"], rows[0]["verdict"], rows[0]["customers"]) == ("better", "ship", "42617")
    assert (rows[0]["note"], rows[0]["hypothesis"]) == ("'=HYPERLINK(1)", "'@SUM(1)")
    assert rows[0]["ended"] == "2024-02-22T22:13:20Z"
    (unread,) = [each for each in table(ada, "?kind=undecided") if each["experiment"] == f"{key}-u"]
    assert (unread["verdict"], unread["effect"], unread["started"]) == ("", "", "2023-11-14T22:13:20Z")
    assert key not in {each["experiment"] for each in table(ada, "?kind=harmful")}


def test_one_kind_is_listed_alone_and_the_sums_stay(ada: Browser, key: str) -> None:
    ended(url_of(ada), key, a_result(0.0, 0.01, 0.06))
    every, harmful = (words(ada.get(f"/programme{query}").text) for query in ("", "?kind=harmful"))
    assert every.partition("Everything")[0] == harmful.partition("Everything")[0]
    assert key in harmful
    assert key not in ada.get("/programme?kind=null").text
    assert ada.get("/programme?kind=nonsense").status_code == 404


def test_a_holdout_is_told_first_and_nothing_is_added_up(ada: Browser, key: str) -> None:
    number = ended(url_of(ada), key, a_result(0.05, 0.01), state="shipped")
    begun_us = START_US + 100 * DAY_US
    with psycopg.connect(url_of(ada), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO holdouts (name, seed, share, policy_version, experiment, from_us, until_us)"
            " VALUES (%s, %s, 0.05, 1, %s, %s, takt_clock() + %s)",
            (key, key, number, begun_us, 40 * DAY_US),
        )
        waiting = words(ada.get("/programme").text)
        assert "left 5 % of all customers under the budgets as they were" in waiting
        connection.execute(
            "INSERT INTO holdout_readouts (experiment, number, computed_us, as_of_us, took_us, day, call, readout)"
            " VALUES (%s, 1, %s, %s, 1, 28, 'ship', jsonb_build_object('readout', %s::text::jsonb))",
            (number, begun_us + 29 * DAY_US, begun_us + 28 * DAY_US, json.dumps(document(a_result(0.03, 0.01)))),
        )
        told = words(ada.get("/programme").text)
        assert "better after 28 days" in told
        assert (
            "Against the 5 % of customers who stayed under the budgets of 22 Feb 2024: customers kept +300 in 10,000"
            in told
        )
        assert f"It is about {key} (three, 22 Feb 2024)" in told
        assert "Effects below are not added up." in told
        connection.execute("DELETE FROM holdout_readouts WHERE experiment = %s", (number,))
        connection.execute("DELETE FROM holdouts WHERE experiment = %s", (number,))


def test_hostile_names_stay_names(ada: Browser, key: str) -> None:
    ended(url_of(ada), key, renamed(a_result(0.05, 0.01), HOSTILE), hypothesis=HOSTILE, note=HOSTILE)
    text = ada.get("/programme").text
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 3


def test_whoever_may_read_sees_it_and_nobody_else(browser: Browser) -> None:
    assert browser.get("/programme").headers["location"] == "/sign-in?next=%2Fprogramme"
    assert browser.get("/programme.csv").status_code == 303
    browser.sign_in(browser.service.make_key(Scope.DECIDE))
    assert browser.get("/programme").status_code == 403
    browser.sign_in(browser.service.make_key(Scope.READ))
    assert browser.get("/programme").status_code == 200
