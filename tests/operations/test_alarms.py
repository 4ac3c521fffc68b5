"""Alarms: told until somebody took them, signed so that only Takt can have sent them, raised once."""

import base64
import hashlib
import hmac
import json
import socketserver
import threading
import time
from collections.abc import AsyncGenerator, Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from engine.operations import alarms
from engine.settings import Settings
from engine.store import alarms as store
from engine.store.database import Database
from tests.conftest import set_clock

pytestmark = pytest.mark.anyio
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
HOUR_US = 3_600_000_000


class Receiver:
    """A web server that answers with these statuses, then with 204, and keeps what it was sent."""

    def __init__(self, *statuses: int) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        receiver, left = self, list(statuses)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status = left.pop(0) if left else 204
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("location", "/elsewhere")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/alarms"


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Generator[Receiver]:
    made = Receiver(*getattr(request, "param", ()))
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    opened = Database(database_url, size=4)
    await opened.open()
    yield opened
    await opened.close()


def settings(url: str) -> Settings:
    return Settings(alarm_url=url, alarm_secret=SECRET)  # type: ignore[arg-type]


async def raised(database: Database, kind: str = "experiment.stop", subject: str = "push", **more: Any) -> bool:
    async with database.transaction() as connection:
        return await store.add(connection, kind, subject, {"because": ["x"]}, **more)


async def waiting(database: Database) -> int:
    async with database.connection() as connection:
        return await store.waiting(connection)


@pytest.mark.parametrize("receiver", [(500, 302, 410)], indirect=True)
async def test_an_alarm_is_told_until_somebody_takes_it(database: Database, receiver: Receiver) -> None:
    await raised(database)
    for hours, told in enumerate((False, False, False, True)):
        set_clock(database.url, hours * HOUR_US)
        assert await alarms.tell(database, settings(receiver.url)) == f"{int(told)} of 1 told"
        assert await alarms.tell(database, settings(receiver.url)) == "none", "not again at once"
        assert await waiting(database) == (0 if told else 1)
    set_clock(database.url, 50 * HOUR_US)
    assert await alarms.tell(database, settings(receiver.url)) == "none"
    assert len(receiver.got) == 4
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1, "a receiver knows a repetition by it"


async def test_what_is_sent_is_signed_as_standard_webhooks_says(database: Database, receiver: Receiver) -> None:
    await raised(database)
    await alarms.tell(database, settings(receiver.url))
    ((headers, body),) = receiver.got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signature = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{signature}"
    assert headers["content-type"] == "application/json"
    told = json.loads(body)
    assert told["type"] == "takt.experiment.stop"
    assert told["data"] == {"subject": "push", "because": ["x"]}
    assert told["timestamp"].endswith("Z")


async def test_a_receiver_that_is_not_there_loses_nothing(database: Database, receiver: Receiver) -> None:
    await raised(database)
    assert await alarms.tell(database, settings("http://127.0.0.1:9/nobody")) == "0 of 1 told"
    set_clock(database.url, HOUR_US)
    assert await alarms.tell(database, settings(receiver.url)) == "1 of 1 told"


class Dripping(socketserver.BaseRequestHandler):
    """Answers a byte at a time, as long as anybody listens."""

    def handle(self) -> None:
        self.request.recv(65_536)
        try:
            for byte in b"HTTP/1.1 200 OK\r\nx: " + 400 * b"x":
                self.request.sendall(bytes([byte]))
                time.sleep(0.05)  # slow on purpose: this is the receiver, and nobody waits for it
        except OSError:
            self.server.left.set()  # type: ignore[attr-defined]


async def test_a_receiver_that_drips_holds_up_nothing(database: Database) -> None:
    await raised(database)
    await raised(database, subject="email")
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dripping) as server:
        server.daemon_threads, server.left = True, threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/alarms"
        assert await alarms.tell(database, settings(url), patience_s=0.2) == "0 of 2 told"
        assert server.left.wait(60), "it was hung up on, before it had said all"  # type: ignore[attr-defined]
        server.shutdown()
    assert await waiting(database) == 2


async def test_alarms_wait_without_an_address_but_are_not_news_for_ever(database: Database, receiver: Receiver) -> None:
    await raised(database)
    assert await alarms.tell(database, Settings()) == "no TAKT_ALARM_URL"
    set_clock(database.url, 8 * 24 * HOUR_US)
    await raised(database, subject="email")
    assert await alarms.tell(database, settings(receiver.url)) == "1 of 1 told"
    assert json.loads(receiver.got[0][1])["data"]["subject"] == "email"


async def test_the_same_is_raised_once_or_again_after_a_while(database: Database) -> None:
    assert await raised(database)
    assert not await raised(database)
    assert await raised(database, subject="email")
    assert await raised(database, "experiment.invalid")
    assert await raised(database, "breaker.near", "breaker.email", quiet_us=HOUR_US)
    assert not await raised(database, "breaker.near", "breaker.email", quiet_us=HOUR_US)
    set_clock(database.url, 2 * HOUR_US)
    assert await raised(database, "breaker.near", "breaker.email", quiet_us=HOUR_US)
    assert not await raised(database)
    assert await raised(database, "breaker.stopped", "breaker.email", quiet_us=0)
    assert await raised(database, "breaker.stopped", "breaker.email", quiet_us=0)
