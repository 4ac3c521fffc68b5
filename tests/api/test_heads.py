"""The head of a request has an end, or the connection has."""

import asyncio
import socket
import threading
from collections.abc import Generator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from engine.api.heads import HEAD_BYTES
from tests.api.caller import eventually


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the number of bytes in the request's body."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


@pytest.fixture(scope="module")
def port() -> Generator[int]:
    config = uvicorn.Config(
        echo, port=0, log_level="critical", http="engine.api.heads:BoundedHeads", ws="none", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    eventually(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(120)


def talk(port: int, *chunks: bytes) -> bytes:
    """What comes back until the service closes the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        try:
            for chunk in chunks:
                connection.sendall(chunk)
            while data := connection.recv(65_536):
                received += data
        except (ConnectionResetError, BrokenPipeError):
            pass
    return received


def test_heads_within_the_limit_and_bodies_of_any_size_pass(port: int) -> None:
    for body in (b"", b"x" * 10, b"x" * 3_000_000):
        head = b"POST / HTTP/1.1\r\nHost: t\r\nConnection: close\r\nX: " + b"h" * (HEAD_BYTES - 200)
        answer = talk(port, head + b"\r\nContent-Length: %d\r\n\r\n" % len(body), body)
        assert answer.startswith(b"HTTP/1.1 200")
        assert str(len(body)).encode() in answer


def test_many_requests_on_one_connection_are_counted_apart(port: int) -> None:
    one = b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"h" * 30_000 + b"\r\n\r\n"
    last = one.replace(b"Host: t", b"Host: t\r\nConnection: close")
    assert talk(port, one, one, one, last).count(b"HTTP/1.1 200") == 4


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nHost: t\r\n"])
def test_a_head_without_an_end_is_cut_off(port: int, start: bytes) -> None:
    filler = b"a: b\r\n" * 10_000 if start.endswith(b"t\r\n") else b"a" * 60_000
    answer = talk(port, start, *[filler] * 20)
    assert b"200" not in answer[:16]
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
