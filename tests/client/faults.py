"""A server of one's own before a real service, that goes wrong as the network does: a fault a request, by script."""

import socket
import socketserver
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

FINE = "nothing goes wrong"
RESET = "reset: the request never arrives"
SWALLOW = "swallow: the request is served, its answer lost"
HALF = "half: the answer breaks off in the middle"
SILENCE = "silence: no answer ever comes"


def status(code: int, *headers: str, body: bytes = b"{}") -> bytes:
    """A fault that is an answer."""
    lines = [f"HTTP/1.1 {code} Fault", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Proxy:
    """`script` is used up request by request; after it everything passes. `bodies`: what was received."""

    url: str
    script: list[str | bytes] = field(default_factory=list[str | bytes])
    bodies: list[bytes] = field(default_factory=list[bytes])


@contextmanager
def proxy(behind: str, *script: str | bytes) -> Generator[Proxy]:
    """A proxy before the service at the address `behind`."""
    target = urlsplit(behind)
    state = Proxy("", list(script))
    ended = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        request: socket.socket

        def handle(self) -> None:
            while (whole := _message(self.request)) is not None:
                state.bodies.append(whole.partition(b"\r\n\r\n")[2])
                fault = state.script.pop(0) if state.script else FINE
                if isinstance(fault, bytes):
                    self.request.sendall(fault)
                    continue
                if fault == SILENCE:
                    ended.wait()
                    return
                answer = b"" if fault == RESET else self._forward(whole)
                if fault == FINE:
                    self.request.sendall(answer)
                    continue
                if fault == HALF:
                    self.request.sendall(answer[: len(answer) - 20])
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return

        def _forward(self, whole: bytes) -> bytes:
            with socket.create_connection((str(target.hostname), int(target.port or 80))) as onward:
                onward.sendall(whole)
                return _message(onward) or b""

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up first is what these tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            ended.set()
            server.shutdown()
            thread.join()


def _message(connection: socket.socket) -> bytes | None:
    """One HTTP message with a Content-Length; None where the other side has ended."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65_536)
        if not part:
            return None
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    missing = int(lengths[0]) - len(body) if lengths else 0
    while missing > 0:
        part = connection.recv(65_536)
        if not part:
            return None
        received += part
        missing -= len(part)
    return received
