"""Pages of experiments: what each state shows, what its steps do, and that hostile names stay names."""

import json
import re
import uuid
from collections.abc import Generator
from html import unescape

import psycopg
import pytest

from engine.core.tokens import Scope
from experiments.readout import Readout
from tests.api.caller import Caller
from tests.operations.plans import PLAN, POLICY
from tests.web.browser import Browser, forms, words

HOSTILE = "<script>alert(1)</script> \u202eevil\u202c 😀 " + "x" * 150


@pytest.fixture
def takt(browser: Browser) -> Generator[Caller]:
    """The same service as the browser's, with no experiment running."""
    with Caller(browser.service, timeout_s=120) as caller:
        caller.call("POST", "/v1/policies", {"yaml": POLICY})
        yield caller
        for each in caller.call("GET", "/v1/experiments?state=running")["experiments"]:
            caller.call("POST", f"/v1/experiments/{each['key']}/stop")


def drafted(takt: Caller, hypothesis: str = "Fewer is better.", more: str = "") -> str:
    key = f"w-{uuid.uuid4().hex[:8]}"
    text = f"key: {key}\nhypothesis: {json.dumps(hypothesis)}\n{PLAN.split(chr(10), 2)[2]}{more}"
    takt.call("POST", "/v1/experiments", {"yaml": text})
    return key


def begun(takt: Caller, customers: int = 30) -> str:
    key = drafted(takt)
    takt.call("POST", f"/v1/experiments/{key}/start")
    for number in range(customers):
        takt.ask(f"{key}-{number}", "m", channel="push")
    return key


def test_the_list_says_what_each_is_and_leads_to_it(ada: Browser, takt: Caller) -> None:
    key = drafted(takt)
    shown = ada.get("/experiments").text
    assert f'href="/experiments/{key}"' in shown
    assert "nothing yet" in words(shown)
    assert key not in ada.get("/experiments?state=running").text
    assert "No experiment is shipped" in words(ada.get("/experiments?state=shipped").text)
    assert ada.get("/experiments?state=nonsense").status_code == 404


def test_the_list_says_how_old_each_is(ada: Browser, takt: Caller) -> None:
    draft, ran = drafted(takt), begun(takt, customers=0)
    takt.call("POST", f"/v1/experiments/{ran}/stop")
    runs = begun(takt, customers=0)
    day_us = 86_400_000_000
    with psycopg.connect(ada.service.database_url, autocommit=True) as connection:
        for key, back in ((draft, 0), (ran, 17), (runs, 1)):
            connection.execute(
                "UPDATE experiments SET created_us = created_us - %s, started_us = started_us - %s,"
                " ended_us = ended_us - %s WHERE key = %s",
                (back * day_us, back * day_us, 5 * day_us, key),
            )
    rows = ada.get("/experiments").text.split('<tr role="row">')
    for key, said in (
        (draft, "draft for less than a day"),
        (ran, "stopped after 12 days"),
        (runs, "running for 1 day"),
    ):
        (row,) = [words(each) for each in rows if f'href="/experiments/{key}"' in each]
        assert said in row


def test_a_draft_is_started_stopped_and_noted_from_its_page(ada: Browser, takt: Caller) -> None:
    key = drafted(takt)
    page = f"/experiments/{key}"
    assert "A draft: nothing runs yet" in words(ada.get(page).text)
    done = ada.send(page, f"{page}/start")
    assert done.headers["location"] == page
    assert "It runs." in words(ada.get(done.headers["location"]).text)
    assert "Nothing to read yet" in words(ada.get(page).text)
    assert f"{page}/start" not in forms(ada.get(page).text)
    ada.send(page, f"{page}/notes", note="Three of five testers did not notice.")
    assert "Three of five testers did not notice." in words(ada.get(page).text)
    assert ada.send(page, f"{page}/stop").status_code == 303
    assert takt.call("GET", f"/v1/experiments/{key}")["state"] == "stopped"
    log = takt.call("GET", f"/v1/experiments/{key}")["log"]
    assert {each["author"] for each in log} == {"test"}


def test_a_readout_stands_on_its_page_and_under_an_address_of_its_own(ada: Browser, takt: Caller) -> None:
    key = begun(takt)
    page = f"/experiments/{key}"
    done = ada.send(page, f"{page}/readout")
    assert done.headers["location"] == page
    assert "Read anew." in words(ada.follow(done).text)
    found = takt.call("GET", f"/v1/experiments/{key}/readout")
    shown = words(ada.get(page).text)
    readout = Readout.from_json(json.dumps(found["readout"]))
    for heading in ("What changed for customers", "One interval for each metric", "What could make this wrong"):
        assert heading in shown
    for verdict in readout.verdicts:
        assert f"{verdict.variant} against {readout.control}" in shown
    (address,) = set(re.findall(rf'"({page}/readouts/[0-9]+)"', ada.get(page).text))
    assert words(ada.get(address).text).partition("What changed")[0] in shown
    assert "an older readout" not in shown
    ada.send(page, f"{page}/readout")
    assert "an older readout" in words(ada.get(address).text)
    for other in ("1", address.rsplit("/", 1)[1] + "0", str(int(address.rsplit("/", 1)[1]) + 1)):
        assert ada.get(f"{page}/readouts/{other}").status_code == 404
        assert ada.get(f"{page}/readouts/{other}/readout.json").status_code == 404
    assert ada.get("/experiments/none").status_code == 404


def test_what_is_wrong_with_a_step_is_told_at_its_form_and_nobody_types_again(ada: Browser, takt: Caller) -> None:
    key = begun(takt, customers=1)
    page = f"/experiments/{key}"
    for step, fields, status, said in (
        ("ramp", {"traffic": "20"}, 409, "can only grow"),
        ("ramp", {"traffic": "most"}, 422, "a number of percent"),
        ("ramp", {"traffic": "nan"}, 422, "a number of percent"),
        ("ramp", {"traffic": "250"}, 422, "a share above 0 and at most 1"),
        ("phase", {"weight-1": "0", "weight-2": "7"}, 422, "weights above 0 of the control"),
        ("phase", {"weight-1": "1"}, 422, "the weight of three"),
        ("phase", {"weight-1": "2", "weight-2": "1"}, 409, "phase began today"),
        ("ship", {"variant": "three", "holdout": "50"}, 422, "a share from 0.05 to 0.1"),
        ("holdout/end", {}, 404, "has left no holdout"),
        ("notes", {"note": " "}, 422, "what was found"),
    ):
        refused = ada.post(f"{page}/{step}", **{**forms(ada.get(page).text)[f"{page}/stop"], **fields})
        assert refused.status_code == status, step
        assert said in words(refused.text), (step, words(refused.text)[:300])
        if status != 404:
            form = refused.text.partition(f'action="{page}/{step}"')[2].partition("</form>")[0]
            assert 'role="alert"' in form
            assert "Nothing was done. See why, at the form" in words(refused.text)
            for value in fields.values():
                assert value.strip() == "" or f'value="{value}"' in form, (step, value)
    assert takt.call("GET", f"/v1/experiments/{key}")["state"] == "running"


def test_more_customers_are_taken_in_from_the_page_and_the_log_says_so(ada: Browser, takt: Caller) -> None:
    key = drafted(takt, more="traffic: 0.25\n")
    page = f"/experiments/{key}"
    ada.send(page, f"{page}/start")
    assert ada.send(page, f"{page}/ramp", traffic="62.5").headers["location"] == page
    shown = words(ada.get(page).text).replace("\xa0", " ")
    assert "ramp from 25 % to 62.50 % of the audience." in shown
    assert 'value="62.5"' in ada.get(page).text
    assert takt.call("GET", f"/v1/experiments/{key}")["plan"]["traffic"] == 0.625


def test_a_draft_can_be_looked_at_ahead_and_keeps_what_its_start_knew(ada: Browser, takt: Caller) -> None:
    key = drafted(takt)
    page = f"/experiments/{key}"
    ahead = ada.send(page, f"{page}/preflight")
    assert ahead.status_code == 200
    assert "How many customers it will have is not known" in words(ahead.text)
    assert takt.call("GET", f"/v1/experiments/{key}")["state"] == "draft"
    ada.send(page, f"{page}/start")
    assert "How many customers it will have is not known" in words(ada.get(page).text)


def test_an_experiment_that_nobody_entered_is_read_and_says_so(ada: Browser, takt: Caller) -> None:
    key = begun(takt, customers=0)
    page = f"/experiments/{key}"
    assert ada.send(page, f"{page}/readout").status_code == 303
    shown = ada.get(page)
    assert shown.status_code == 200
    assert "3 a week instead of 1: run until" in words(shown.text)
    assert "nobody" in words(shown.text)


def test_readouts_of_a_holdout_stand_on_pages_of_their_own(ada: Browser, takt: Caller) -> None:
    key = begun(takt)
    page = f"/experiments/{key}"
    ada.send(page, f"{page}/readout")
    ada.send(page, f"{page}/ship", variant="three", holdout="5")
    assert ada.get(f"{page}/holdout").status_code == 404
    with psycopg.connect(ada.service.database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO holdout_readouts (experiment, number, computed_us, as_of_us, took_us, day, call, readout)"
            " SELECT experiment, number + day, computed_us + day, as_of_us, 1, nullif(day, 1), call,"
            """ readout || '{"cautions": ["Left out are 7 customers of older holdouts."]}'"""
            " FROM snapshots CROSS JOIN unnest(ARRAY[1, 28]) AS days (day)"
            " WHERE experiment = (SELECT number FROM experiments WHERE key = %s)",
            (key,),
        )
    shown = ada.get(page).text
    assert f'href="{page}/holdout/28"' in shown
    assert "3 a week instead of 1: run until" in words(shown), "by the policy of its start: it is 3 for all now"
    assert "Day 90 will be read on" in words(shown)
    of_day = words(ada.get(f"{page}/holdout/28").text)
    assert f"The holdout of {key}, day 28" in of_day
    assert "Left out are 7 customers of older holdouts." in of_day
    assert "An effect to date" not in of_day
    assert ada.get(f"{page}/holdout/28.json").json()["readout"]["key"] == key
    assert ada.get(f"{page}/holdout/90").status_code == 404
    assert ada.get(f"{page}/holdout/90.json").status_code == 404
    assert ada.get(f"{page}/holdout/x").status_code == 404
    with psycopg.connect(ada.service.database_url, autocommit=True) as connection:
        connection.execute("UPDATE holdout_readouts SET number = number + 99 WHERE day IS NULL")
    assert "An effect to date" in words(ada.get(f"{page}/holdout").text)
    newest = ada.get(f"{page}/holdout/newest.json").json()
    assert (newest["experiment"], newest["shipped"], newest["readout"]["key"]) == (key, "three", key)
    assert newest["cautions"] == ["Left out are 7 customers of older holdouts."]
    assert ada.send(page, f"{page}/holdout/end").headers["location"] == page
    assert f"{page}/holdout/end" not in forms(ada.get(page).text)


def test_a_variant_is_shipped_with_a_holdout(ada: Browser, takt: Caller) -> None:
    key = begun(takt, customers=1)
    page = f"/experiments/{key}"
    refused = ada.send(page, f"{page}/ship", variant="three", holdout="50")
    assert refused.status_code == 422
    assert "a share from 0.05 to 0.1" in words(refused.text)
    assert '<option value="three" selected>' in refused.text
    assert forms(refused.text)["/pauses"]["back"] == "/experiments", "a step's own address is for its form alone"
    assert ada.send(page, f"{page}/ship", variant="three", holdout="much").status_code == 422
    assert ada.send(page, f"{page}/ship", variant="none").status_code == 422
    assert ada.send(page, f"{page}/ship", variant="three", holdout="7.5").status_code == 303
    shown = words(ada.get(page).text)
    assert "Shipped: three is the policy" in shown
    assert "The holdout" in shown, shown[-1500:]
    assert "7.50 % of all customers stay under the budgets of version" in shown.replace("\xa0", " ")
    takt.call("POST", f"/v1/experiments/{key}/holdout/end", {"note": "a new law"})
    shown = words(ada.get(page).text)
    assert "7.50 % of all customers stayed under the budgets of version" in shown.replace("\xa0", " ")
    assert "They are read on no day." in shown
    assert "end holdout a new law" in shown


def test_what_is_copied_from_a_page_is_what_was_written(ada: Browser, takt: Caller) -> None:
    shown = ada.get(f"/experiments/{drafted(takt, 'Lose 5 % fewer.')}").text
    assert '"hypothesis">Lose 5\xa0% fewer.<' in shown, "no line breaks before it"
    plan = shown.partition("<pre")[2].partition("</pre>")[0]
    assert "Lose 5 % fewer." in plan
    assert "\xa0" not in plan


def test_a_variant_whose_name_has_signs_is_still_chosen_after_a_refusal(ada: Browser, takt: Caller) -> None:
    key, name = f"w-{uuid.uuid4().hex[:8]}", 'b&b <"5 %">'
    text = PLAN.split("\n", 2)[2].replace("name: three", f"name: {json.dumps(name)}")
    more = "  - {name: four, dose: 4, policy: {budgets: {push-weekly: {limit: 4}}}}\nstart: 2026"
    text = f"key: {key}\nhypothesis: Fewer.\n{text.replace('start: 2026', more, 1)}"
    takt.call("POST", "/v1/experiments", {"yaml": text})
    takt.call("POST", f"/v1/experiments/{key}/start")
    page = f"/experiments/{key}"
    for chosen, other in ((name, "four"), ("four", name)):
        refused = ada.send(page, f"{page}/ship", variant=chosen, holdout="50")
        assert refused.status_code == 422
        select = refused.text.partition('id="ship-variant"')[2].partition("</select>")[0]
        options = re.findall(r'<option value="([^"]*)"( selected)?>', select)
        assert {unescape(each): bool(is_chosen) for each, is_chosen in options} == {chosen: True, other: False}
    assert ada.send(page, f"{page}/ship", variant=name, holdout="5").status_code == 303
    assert takt.call("GET", page.replace("/experiments", "/v1/experiments"))["shipped"] == name


def test_a_hostile_plan_stays_text(ada: Browser, takt: Caller) -> None:
    key = drafted(takt, HOSTILE.replace("\u202e", "").replace("\u202c", ""))
    page = f"/experiments/{key}"
    assert ada.send(page, f"{page}/notes", note=HOSTILE).status_code == 303
    for bad in ("", "  ", "\x00", "a\x00b", "x" * 2_001):
        assert ada.send(page, f"{page}/notes", note=bad).status_code == 422, bad
    for path in ("/experiments", f"/experiments/{key}"):
        shown = ada.get(path).text
        assert "<script>alert" not in shown
        assert "\u202e" not in shown
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown


def of_old(ada: Browser, takt: Caller, change: str) -> str:
    """The page of an experiment whose readout was kept otherwise than this version does."""
    key = begun(takt)
    page = f"/experiments/{key}"
    ada.send(page, f"{page}/readout")
    query = f"UPDATE snapshots SET {change} WHERE experiment = (SELECT number FROM experiments WHERE key = %s)"
    with psycopg.connect(ada.service.database_url, autocommit=True) as connection:
        connection.execute(query.encode(), (key,))
    return page


def test_a_readout_of_another_version_is_told_by_its_word(ada: Browser, takt: Caller) -> None:
    page = of_old(ada, takt, "readout = jsonb_set(readout, '{readout,schema}', '0'), call = 'wait_a_bit'")
    shown = ada.get(page)
    assert shown.status_code == 200
    assert "It says wait a bit, and was made by another version of Takt" in words(shown.text)
    for path in ("/", "/experiments", "/programme"):
        assert ada.get(path).status_code == 200, path
    assert "wait a bit" in words(ada.get("/experiments").text)


def test_a_readout_without_what_newer_ones_have_is_shown(ada: Browser, takt: Caller) -> None:
    page = of_old(ada, takt, "readout = jsonb_build_object('readout', readout -> 'readout')")
    shown = ada.get(page)
    assert shown.status_code == 200
    assert "What could make this wrong" in words(shown.text)


def test_who_may_only_read_takes_no_step(browser: Browser, takt: Caller) -> None:
    key = drafted(takt)
    browser.sign_in(browser.service.make_key(Scope.READ))
    page = browser.get(f"/experiments/{key}").text
    assert f"/experiments/{key}/start" not in page
    refused = browser.post(f"/experiments/{key}/start", **forms(page)["/sign-out"])
    assert refused.status_code == 403
    assert takt.call("GET", f"/v1/experiments/{key}")["state"] == "draft"
