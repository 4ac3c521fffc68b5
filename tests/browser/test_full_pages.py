"""Pages with all that they can hold, in a real browser: a readout with every chart and a course of weeks, a holdout's,
the counts of weeks with names that run on and on. They keep nobody out, and fit on the smallest phone; each is
photographed.
"""

from collections.abc import Mapping
from typing import Any

import psycopg
import pytest
from playwright.sync_api import ViewportSize
from psycopg.types.json import Jsonb

from engine.core.policy import DAY_US
from experiments.reporting.json_form import document
from tests.api.caller import Caller
from tests.browser.conftest import PHONE, SCREENSHOTS, WIDE, Open
from tests.browser.test_pages import PAGES, overflows, serious
from tests.operations.plans import EMAIL, PLAN, THREE_ARMS
from tests.render.readouts import a_full_readout
from tests.web.test_budgets import HOSTILE, count

pytestmark = pytest.mark.xdist_group("browser")
FULL = {
    "experiment-full": "/experiments/push-more",
    "experiment-shipped": "/experiments/email-more",
    "experiment-draft": "/experiments/next",
    "holdout": "/experiments/email-more/holdout/28",
    "budgets-full": "/budgets?days=84",
    "overview-counted": "/",
}
NARROWEST = ViewportSize(width=320, height=640)
LONG = "reactivation-of-customers-who-have-not-been-seen-for-long-" * 2
DAYS = 40


@pytest.fixture(scope="module")
def experiment(takt: Caller) -> str:
    """The key of one that was read every day for weeks; beside it one that was shipped, and one that waits."""
    for text in (THREE_ARMS, EMAIL, PLAN.replace("push-more", "next")):
        takt.call("POST", "/v1/experiments", {"yaml": text})
    for key in ("push-more", "email-more"):
        takt.call("POST", f"/v1/experiments/{key}/start")
    for number in range(24):
        for message in ("m1", "m2"):
            team = (LONG, HOSTILE, "crm")[number % 3]
            takt.ask(f"c{number}", message, channel="push", team=team, campaign=LONG)
            takt.ask(f"c{number}", f"{message}-n", channel="email", topic="newsletter", team=team)
    takt.call("POST", "/v1/experiments/push-more/notes", {"note": "Three of five testers did not notice."})
    takt.call("POST", "/v1/experiments/email-more/ship", {"variant": "three", "holdout": 0.05})
    with psycopg.connect(takt.service.database_url, autocommit=True) as connection:
        _read_for_weeks(connection)
    count(takt.service.database_url)
    return "push-more"


def _read_for_weeks(connection: psycopg.Connection[Any]) -> None:
    """Snapshots of the experiment, one a day, and the holdout's readout of day 28."""
    numbers: dict[str, int] = dict(connection.execute("SELECT key, number FROM experiments").fetchall())
    now = connection.execute("SELECT takt_clock()").fetchone()
    assert now
    connection.execute("UPDATE experiments SET started_us = started_us - %s", (DAYS * DAY_US,))
    for back in reversed(range(DAYS)):
        at_us = now[0] - back * DAY_US
        connection.execute(
            "INSERT INTO snapshots (experiment, number, computed_us, as_of_us, took_us, call, readout)"
            " VALUES (%s, %s, %s, %s, 1, 'stop', %s)",
            (numbers["push-more"], -back, at_us, at_us, Jsonb(_kept(at_us, back / DAYS))),
        )
    cohort = {"cautions": ["Left out are 7 customers of older holdouts, who are under neither of the two policies."]}
    connection.execute(
        "INSERT INTO holdout_readouts (experiment, number, computed_us, as_of_us, took_us, day, call, readout)"
        " VALUES (%s, 1, %s, %s, 1, 28, 'ship', %s)",
        (numbers["email-more"], now[0], now[0], Jsonb({**_kept(now[0], 0.0), **cohort})),
    )


def _kept(at_us: int, early: float) -> dict[str, Any]:
    """A readout as it is kept; the earlier, the farther its effects lie from where they end."""
    readout = document(a_full_readout())
    for metric in readout["metrics"]:
        for each in metric["comparisons"]:
            for found in filter(None, (each["estimate"], each["bound"])):
                moved = {end: found[end] for end in ("effect", "low", "high") if isinstance(found[end], float)}
                found.update({end: value + early / 40 for end, value in moved.items()})
    effects = [{"week": week, "effect": 0.03 / week, "low": 0.01 / week, "high": 0.05 / week} for week in range(1, 9)]
    variants = [each["variant"] for each in readout["groups"]]
    watched: Mapping[str, int] = dict.fromkeys(variants, 6_400)
    refused = [
        {"variant": each, "customers": 640, "weeks": 2_560.0, "messages": 5_000 - 1_200 * place}
        for place, each in enumerate(variants)
    ]
    return {
        "schema": 1,
        "readout": readout,
        "eligible": {"customers": watched, "share_diverged": 0.5, "effects": []},
        "pauses": None,
        "concurrent": [{"experiment": "next", "customers": [{"variant": "one", "other": "a", "customers": 41}]}],
        "refusals": {"from_us": at_us - 28 * DAY_US, "until_us": at_us, "by_variant": refused},
        "weeks": [
            {"metric": "time_to_unsubscribe", "variant": each, "cohort": watched, "effects": effects}
            for each in variants[1:]
        ],
        "cautions": ["Metrics of refusals are not read: customers' own are kept for 30 days."],
    }


@pytest.mark.parametrize("name", FULL)
def test_a_full_page_keeps_nobody_out(signed_in: Open, experiment: str, name: str) -> None:
    page = signed_in()
    page.goto(FULL[name])
    faults: dict[str, list[str]] = {}
    for look, size in {"light": WIDE, "dark": WIDE, "phone-dark": PHONE, "phone": PHONE}.items():
        page.set_viewport_size(size)
        page.emulate_media(color_scheme="dark" if "dark" in look else "light")
        page.screenshot(path=SCREENSHOTS / f"{name}-{look}.png", full_page=True)
        # Both colours, and both sizes: what keeps somebody out of another look keeps them out of one of these.
        found = serious(page) if look in ("light", "phone-dark") else []
        faults[look] = found + ["it has to be pushed sideways"] * overflows(page)
    assert {look: found for look, found in faults.items() if found} == {}


def test_a_full_readout_has_every_chart(signed_in: Open, experiment: str) -> None:
    page = signed_in()
    page.goto(f"/experiments/{experiment}")
    for heading in ("What changed for customers", "By week since entry", "Over time, as it was read"):
        assert page.get_by_role("heading", name=heading).count() == 1, heading
    assert page.get_by_role("columnheader", name="Messages refused a week").is_visible()
    assert page.locator("figure").filter(has=page.get_by_role("img")).count() >= 6


@pytest.mark.parametrize("opened_up", [False, True])
def test_every_page_fits_on_the_smallest_phone(signed_in: Open, experiment: str, opened_up: bool) -> None:
    """Also with all that is folded away unfolded."""
    page = signed_in(phone=True)
    page.set_viewport_size(NARROWEST)
    wide: list[str] = []
    for name, path in {**PAGES, **FULL}.items():
        page.goto(path)
        if opened_up:
            page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        if overflows(page):
            wide.append(name)
            page.screenshot(path=SCREENSHOTS / f"{name}-too-wide.png", full_page=True)
    assert wide == []
