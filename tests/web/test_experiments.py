"""Pages of experiments: what each state shows, what its steps do, and that hostile names stay names."""

import json
import uuid
from collections.abc import Generator

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


def drafted(takt: Caller, hypothesis: str = "Fewer is better.") -> str:
    key = f"w-{uuid.uuid4().hex[:8]}"
    text = f"key: {key}\nhypothesis: {json.dumps(hypothesis)}\n{PLAN.split(chr(10), 2)[2]}"
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


def test_a_draft_is_started_stopped_and_noted_from_its_page(ada: Browser, takt: Caller) -> None:
    key = drafted(takt)
    page = f"/experiments/{key}"
    assert "A draft: nothing runs yet" in words(ada.get(page).text)
    done = ada.send(page, f"{page}/start")
    assert done.headers["location"] == f"{page}?done=start"
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
    assert done.headers["location"] == f"{page}?done=readout"
    found = takt.call("GET", f"/v1/experiments/{key}/readout")
    shown = words(ada.get(page).text)
    readout = Readout.from_json(json.dumps(found["readout"]))
    for heading in ("What changed for customers", "One interval for each metric", "What could make this wrong"):
        assert heading in shown
    for verdict in readout.verdicts:
        assert f"{verdict.variant} against {readout.control}" in shown
    (address,) = {each for each in ada.get(page).text.split('"') if each.startswith(f"{page}/readouts/")}
    assert words(ada.get(address).text).partition("What changed")[0] in shown
    assert "an older readout" not in shown
    as_json = ada.get(f"{address}/readout.json")
    assert as_json.json() == found["readout"]
    assert as_json.headers["content-disposition"].startswith("attachment")
    as_file = ada.get(f"{address}/readout.html")
    assert as_file.text.startswith("<!doctype html>")
    ada.send(page, f"{page}/readout")
    assert "an older readout" in words(ada.get(address).text)
    assert ada.get(f"{page}/readouts/1").status_code == 404
    assert ada.get("/experiments/none").status_code == 404


def test_a_variant_is_shipped_with_a_holdout(ada: Browser, takt: Caller) -> None:
    key = begun(takt, customers=1)
    page = f"/experiments/{key}"
    refused = ada.send(page, f"{page}/ship", variant="three", holdout="50")
    assert refused.status_code == 422
    assert "a share from 0.05 to 0.1" in words(refused.text)
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


def test_a_readout_of_another_version_is_told_by_its_word(ada: Browser, takt: Caller) -> None:
    key = begun(takt)
    page = f"/experiments/{key}"
    ada.send(page, f"{page}/readout")
    with psycopg.connect(ada.service.database_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE snapshots SET readout = jsonb_set(readout, '{readout,schema}', '0'), call = 'inconclusive'"
            " WHERE experiment = (SELECT number FROM experiments WHERE key = %s)",
            (key,),
        )
    shown = ada.get(page)
    assert shown.status_code == 200
    assert "It says inconclusive, and was made by another version of Takt" in words(shown.text)


def test_who_may_only_read_takes_no_step(browser: Browser, takt: Caller) -> None:
    key = drafted(takt)
    browser.sign_in(browser.service.make_key(Scope.READ))
    page = browser.get(f"/experiments/{key}").text
    assert f"/experiments/{key}/start" not in page
    refused = browser.post(f"/experiments/{key}/start", **forms(page)["/sign-out"])
    assert refused.status_code == 403
    assert takt.call("GET", f"/v1/experiments/{key}")["state"] == "draft"
