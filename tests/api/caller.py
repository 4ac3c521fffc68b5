"""Calls a service over HTTP, and looks into its database from outside."""

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

import httpx
import psycopg

from engine.core.tokens import Scope
from engine.operations import keys
from engine.store.database import Database
from tests.service import Service

T = TypeVar("T")

PROBLEM_JSON = "application/problem+json"
DAY_S = 86_400
POLICY = """
schema: 1
unknown_timezone: UTC
topics:
  promotions: {purpose: sell}
  newsletter: {purpose: sell}
  account: {purpose: serve, exempt: true, counts: false, ceiling: {limit: 3, window: {rolling: 1d}}}
budgets:
  - {name: email-weekly, channels: [email], limit: 1, window: {rolling: 7d}}
  - {name: push-weekly, channels: [push], limit: 3, window: {rolling: 7d}, hold_back: {keep: 1, for_priority: 70}}
quiet_hours:
  - {channels: [sms], from: "21:00", to: "08:00"}
lease: 5m
max_lease: 24h
"""


class Caller:
    """A sender. Every method but `send` insists on a 2xx and returns what came."""

    def __init__(self, service: Service, key: str | None = None, timeout_s: float = 120.0) -> None:
        self.service = service
        self.http = httpx.Client(
            base_url=service.url,
            headers={"X-API-Key": key or service.key},
            timeout=timeout_s,
            # none is kept: httpx may close an idle one under the thread that has just been given it
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=0),
        )

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def send(self, method: str, path: str, document: object = None) -> httpx.Response:
        return self.http.request(method, path, json=document)

    def call(self, method: str, path: str, document: object = None) -> Any:
        response = self.send(method, path, document)
        assert response.is_success, response.text
        return response.json()

    def ask(self, customer_id: str, message_id: str | None, **more: object) -> Any:
        return self.call("POST", "/v1/decisions", ask(customer_id, message_id, **more))

    def ask_all(self, *asks: dict[str, object]) -> Any:
        return self.call("POST", "/v1/decisions/batch", {"asks": asks})["answers"]

    def confirm(self, customer_id: str, message_id: str, **more: object) -> Any:
        return self._resolve("confirm", customer_id, message_id, **more)

    def release(self, customer_id: str, message_id: str, **more: object) -> Any:
        return self._resolve("release", customer_id, message_id, **more)

    def record(self, customer_id: str, message_id: str, at: datetime, **more: object) -> Any:
        contact = {"channel": "email", "topic": "promotions", "at": at.isoformat(), **more}
        return self._resolve("record", customer_id, message_id, **contact)

    def suppress(self, customer_id: str, **more: object) -> Any:
        return self.call("POST", "/v1/suppressions", {"customer_id": customer_id, "reason": "unsubscribe", **more})

    def customer(self, customer_id: str) -> Any:
        return self.call("GET", f"/v1/customers/{customer_id}")

    def used(self, customer_id: str, budget: str = "email-weekly") -> int:
        return next(each["used"] for each in self.customer(customer_id)["budgets"] if each["budget"] == budget)

    def journal(self, customer_id: str, query: str = "") -> Any:
        return self.call("GET", f"/v1/customers/{customer_id}/decisions{query}")

    def _resolve(self, what: str, customer_id: str, message_id: str, **more: object) -> Any:
        contact = {"customer_id": customer_id, "message_id": message_id, **more}
        (result,) = self.call("POST", f"/v1/contacts/{what}", {"contacts": [contact]})["results"]
        return result


def ask(customer_id: str, message_id: str | None, **more: object) -> dict[str, object]:
    given = {"customer_id": customer_id, "channel": "email", "topic": "promotions", **more}
    return given if message_id is None else {"message_id": message_id, **given}


def make_key(
    database_url: str,
    *scopes: Scope,
    teams: Iterable[str] | None = None,
    expires_in_s: int | None = None,
    secret: str | None = None,
) -> keys.NewKey:
    return in_database(database_url, lambda database: keys.create(database, "crm", scopes, teams, expires_in_s, secret))


def revoke_key(database_url: str, key_id: str) -> None:
    in_database(database_url, lambda database: keys.revoke(database, key_id))


def in_database(database_url: str, run: Callable[[Database], Any]) -> Any:
    async def opened() -> Any:
        database = Database(database_url, size=1)
        await database.open()
        try:
            return await run(database)
        finally:
            await database.close()

    return asyncio.run(opened())


def advance_clock(database_url: str, seconds: float) -> None:
    """Let time pass for a test database (or, negative, let its clock step back)."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE deployment SET clock_offset_us = clock_offset_us + %s", (int(seconds * 1e6),))


def row_counts(database_url: str) -> dict[str, int]:
    """How many rows each table has; partitions count for their table."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition ORDER BY relname"
        ).fetchall()
        return {name: _count(connection, name) for (name,) in tables}


def _count(connection: psycopg.Connection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    return row[0] if row else 0


def at_once(calls: Iterable[Callable[[], T]]) -> list[T]:
    """The results of calls made by as many threads at the same time."""
    listed = list(calls)
    with ThreadPoolExecutor(max_workers=len(listed)) as pool:
        return [future.result() for future in [pool.submit(call) for call in listed]]


def eventually(holds: Callable[[], T], within_s: float = 60.0) -> T:
    """What `holds` returns once it is true; fails where it does not become so."""
    give_up = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < give_up, f"it did not come true within {within_s} s"
        time.sleep(0.01)
    return found


def is_problem(response: httpx.Response, status: int, code: str | None = None) -> bool:
    """Whether a response is a problem document of this status and code, with nothing of Takt's inside in it."""
    assert response.headers["content-type"] == PROBLEM_JSON, response.text
    problem = response.json()
    assert (response.status_code, problem["status"]) == (status, status), response.text
    assert code is None or problem["code"] == code, response.text
    assert problem["type"]
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in response.text
    return True
