"""`takt serve` brings a scheduler along, and takes it with it; and every promise holds where there is none."""

import os
import re
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
import pytest

from engine.core.policy import MINUTE_US
from engine.core.tokens import Scope
from tests.api.caller import POLICY, Caller, eventually, make_key
from tests.cli.command import END_S_MAX, TAKT, started
from tests.conftest import set_clock
from tests.scheduler.test_leader import leaders, rows
from tests.service import Service


@contextmanager
def served(url: str, **environment: str) -> Generator[Service]:
    """`takt serve` on a database that a test gives, ended as supervisors do."""
    key = make_key(url, Scope.ADMIN).secret
    told = {**os.environ, "DATABASE_URL": url, **environment}
    with started([TAKT, "serve", "--port", "0"], env=told, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = re.search(r"http://[0-9.:]+", process.stdout.readline())
        assert found is not None
        try:
            yield Service(found[0], key, url)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(END_S_MAX)


def test_a_scheduler_comes_along_and_goes_along(database_url: str) -> None:
    with served(database_url):
        eventually(lambda: leaders(database_url))
        (first,) = leaders(database_url)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: bool(leaders(database_url)) and leaders(database_url) != [first])
    eventually(lambda: not leaders(database_url))


@pytest.mark.parametrize("word", ["off", "false", "0"])
def test_none_comes_along_where_it_is_switched_off(database_url: str, word: str) -> None:
    with served(database_url, TAKT_SCHEDULER=word) as service, Caller(service) as takt:
        assert takt.call("GET", "/livez") == {"status": "ok"}
        assert not leaders(database_url)


def test_without_a_scheduler_budgets_come_back_suppressions_bind_and_pauses_end(database_url: str) -> None:
    with served(database_url, TAKT_SCHEDULER="off") as service, Caller(service) as takt:
        takt.call("POST", "/v1/policies", {"yaml": POLICY})
        assert takt.ask("ada", "m-1")["state"] == "reserved"
        assert takt.ask("ada", "m-2")["verdict"] == "defer"
        set_clock(database_url, 6 * MINUTE_US)
        assert takt.ask("ada", "m-2")["state"] == "reserved", "the lease of five minutes ended by itself"
        takt.call("POST", "/v1/contacts/confirm", {"contacts": [{"customer_id": "ada", "message_id": "m-2"}]})
        set_clock(database_url, 20 * MINUTE_US)
        assert takt.ask("ada", "m-3")["verdict"] == "defer", "and what was confirmed stays"
        assert takt.ask("bea", "m-1", channel="push")["state"] == "reserved"
        assert takt.suppress("bea", channel="push")["revoked"] == 1
        assert takt.ask("bea", "m-2", channel="push")["verdict"] == "deny"
        with psycopg.connect(database_url, autocommit=True) as connection:
            now = connection.execute("SELECT to_timestamp((takt_clock() + 60000000) / 1e6)").fetchone()
        assert now is not None
        takt.call("POST", "/v1/pauses", {"name": "short", "until": now[0].isoformat()})
        assert takt.ask("cid", "m-1")["verdict"] == "defer"
        set_clock(database_url, 22 * MINUTE_US)
        assert takt.ask("cid", "m-1")["state"] == "reserved", "the pause is over"
    assert rows(database_url, "SELECT job FROM job_runs") == []
