"""The wire between a service and its database, which a test may cut, stall and mend."""

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, urlsplit


class Wire:
    """A TCP address that leads to the database's Unix socket, as long as it is whole."""

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        query = parse_qs(parts.query)
        self._target = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._whole = threading.Event()
        self._flowing = threading.Event()
        self._whole.set()
        self._flowing.set()
        self._ends: set[socket.socket] = set()
        self._guard = threading.Lock()
        self.url = f"postgresql://{parts.username}@127.0.0.1:{self._listening.getsockname()[1]}{parts.path}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection, and let none be made."""
        self._whole.clear()
        with self._guard:
            for end in self._ends:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._whole.set()
        self._flowing.set()

    def stall(self) -> None:
        """Keep the connections, and let nothing through."""
        self._flowing.clear()

    def close(self) -> None:
        self.cut()
        self._flowing.set()
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                if not self._whole.is_set():
                    near.close()
                    continue
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                with self._guard:
                    self._ends |= {near, far}
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65_536):
                self._flowing.wait()
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._guard:
            self._ends -= {one, other}
        one.close()


@contextmanager
def wire_to(database_url: str) -> Generator[Wire]:
    wire = Wire(database_url)
    try:
        yield wire
    finally:
        wire.close()
