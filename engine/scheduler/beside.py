"""The scheduler's process beside the workers: started with the service, started anew where it dies, ended with it.

A process of its own, so that a readout or a round of pruning takes no turn from asks. It ends with whoever started it,
however that ends: its standard input is closed then.
"""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

_PROGRAM: Final = "from engine.main import schedule; schedule()"
_END_S: Final = 5.0
_AGAIN_S: Final = (1.0, 30.0)

log = logging.getLogger("takt.scheduler")


@contextmanager
def beside(url: str) -> Generator[None]:
    """The scheduler runs, in a process of its own, until the block ends."""
    keeper = _Keeper({**os.environ, "DATABASE_URL": url})
    thread = threading.Thread(target=keeper.keep, name="takt-scheduler", daemon=True)
    thread.start()
    try:
        yield
    finally:
        keeper.end()
        thread.join(2 * _END_S)


class _Keeper:
    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def keep(self) -> None:
        """Start the process, and again when it died, each time a little later."""
        wait_s = _AGAIN_S[0]
        while True:
            with self._lock:
                if self._ended.is_set():
                    return
                # A session of its own: Ctrl-C is for the service, which ends this one in order.
                self._process = subprocess.Popen(  # noqa: S603 - a program of its own
                    [sys.executable, "-c", _PROGRAM],
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            self._process.wait()
            if self._ended.wait(wait_s):
                return
            log.warning("the scheduler's process died, and is started again")
            wait_s = min(2 * wait_s, _AGAIN_S[1])

    def end(self) -> None:
        with self._lock:
            self._ended.set()
            process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def end_with_input() -> None:
    """End this process as soon as its standard input is closed. Called where `beside` started it."""
    threading.Thread(target=_wait_for_input, daemon=True).start()


def _wait_for_input() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)
