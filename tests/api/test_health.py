"""Health and metrics, as a load balancer and Prometheus see them."""

import asyncio
import re
from collections.abc import Generator

import pytest

from engine.operations import jobs
from engine.settings import Settings
from engine.store.database import Database
from tests.api.caller import Caller, ask
from tests.service import Service


@pytest.fixture
def takt(shared_service: Service) -> Generator[Caller]:
    shared_service.activate("schema: 1\nbudgets:\n  - {name: any-weekly, limit: 1, window: {rolling: 7d}}\n")
    with Caller(shared_service) as caller:
        yield caller


def metrics(takt: Caller) -> dict[str, float]:
    text = takt.http.get("/metrics").text
    return {name: float(value) for name, value in re.findall(r"^([^#\s]+) (\S+)$", text, re.MULTILINE)}


def test_a_process_that_lives_and_can_decide_says_so(takt: Caller) -> None:
    assert takt.call("GET", "/livez") == {"status": "ok"}
    ready = takt.call("GET", "/readyz")
    assert (ready["status"], ready["checks"]) == ("ok", {"lanes": "ok", "database": "ok", "policy": "ok"})
    assert ready["deployment"] == "test"


def test_metrics_count_asks_reasons_errors_latency_batches_and_queues(takt: Caller, ada: str) -> None:
    before = metrics(takt)
    takt.ask(ada, "m-1")
    takt.ask_all(ask(ada, "m-2"), ask(ada, "m-3"), ask(ada, "m-1", weight=2))
    takt.send("POST", "/v1/decisions", {"nonsense": True})
    takt.http.get("/v1/policies", headers={"X-API-Key": "wrong"})
    after = metrics(takt)

    def grew(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    assert grew('takt_asks_total{verdict="allow"}') == 1
    assert grew('takt_asks_total{verdict="defer"}') == 2
    assert grew('takt_refusals_total{code="limit",rule="any-weekly"}') == 2
    assert grew('takt_errors_total{code="message_reused"}') == 1
    assert grew('takt_errors_total{code="invalid"}') == 1
    assert grew('takt_errors_total{code="unauthenticated"}') == 1
    assert grew('takt_request_seconds_count{route="/v1/decisions"}') == 2
    assert grew('takt_request_seconds_count{route="/v1/decisions/batch"}') == 1
    assert grew("takt_chunk_seconds_count") == grew("takt_chunk_commands_count") == 2
    assert grew("takt_chunk_commands_sum") == 4
    assert after['takt_queued{queue="asks"}'] == after['takt_queued{queue="batches"}'] == 0


def test_metrics_say_how_the_scheduler_stands(takt: Caller) -> None:
    found = metrics(takt)
    assert (found["takt_scheduler_leader"], found["takt_alarms_waiting"]) == (0, 0)
    assert not any(name.startswith("takt_job_age_seconds") for name in found)
    at_once = jobs.job("holdouts")
    asyncio.run(_ran(takt.service.database_url, at_once))
    assert 0 <= metrics(takt)['takt_job_age_seconds{job="holdouts"}'] < 60


async def _ran(url: str, job: jobs.Job) -> None:
    database = Database(url, size=2)
    await database.open()
    await jobs.run_slot(database, Settings(), job)
    await database.close()


def test_metrics_name_nobody(takt: Caller, ada: str) -> None:
    takt.ask(ada, "message-of-somebody", campaign="campaign-of-somebody")
    takt.send("GET", f"/v1/customers/{ada}")
    takt.http.get(f"/{ada}")
    text = takt.http.get("/metrics").text
    assert ada not in text
    assert "of-somebody" not in text


def test_routes_of_no_thing_are_not_found_and_counted_as_one(takt: Caller) -> None:
    for path in ("/v2", "/v2/decisions", "/v1/decisions/", "/%00", "/v1/customers//decisions"):
        response = takt.http.get(path)
        assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json"), path
    for path, methods in (
        ("/v1/decisions", "POST"),
        ("/v1/policies", "GET, POST"),
        ("/v1/customers/ada", "DELETE, GET, PUT"),
    ):
        response = takt.http.patch(path)
        assert (response.status_code, response.headers["allow"]) == (405, methods)
        assert response.headers["content-type"] == "application/problem+json"
    assert {name for name in metrics(takt) if "v2" in name or "%00" in name} == set()
