"""Charts drawn in a process of their own, because what draws them holds Python up, and asks must go on meanwhile.

One process for all charts of a service, started by the first that is asked for. It is told what to draw by lines of
JSON on its standard input, and answers each with its length and its bytes. It ends with whoever started it, and after
some minutes in which nobody asked; the next chart starts another.
"""

import asyncio
import atexit
import json
import logging
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from threading import Event, Lock, Timer
from typing import IO, Final

from engine.core.errors import Unavailable
from engine.render import svg
from engine.render.style import Spec
from engine.render.svg import ChartError

log = logging.getLogger("takt.render")
BUNDLE_SNIPPET: Final = "window.vegaEmbed = vegaEmbed;"
_PROGRAM: Final = "from engine.render.drawing import main; main()"
_IDLE_S: Final = 300.0
_PATIENCE_S: Final = 30.0
_DEATHS_MAX: Final = 2  # on one page: another is not waited for, and nothing after a chart that took all patience
_WAITING_MAX: Final = 40
_SCALE: Final = 2.0
_BUSY: Final = "Too many charts are being drawn: try again in a moment."


async def drawn(specs: Iterable[Spec]) -> frozenset[str]:
    """Have these charts drawn, so that `svg.svg` finds them. What is returned are the texts of those that could not be:
    one that cannot be drawn, or that ends the process, keeps no other from its page."""
    wanted = [text for text in dict.fromkeys(_texts(specs)) if svg.kept(text) is None]
    undrawn: set[str] = set()
    deaths = 0
    for text in wanted:
        try:
            if deaths < _DEATHS_MAX:
                svg.keep(text, (await _told("svg", text)).decode())
                continue
        except ChartError as error:
            log.warning("a chart was not drawn: %s", error.message)
        except Unavailable as error:
            log.warning("charts are not drawn: %s", error.message)
            deaths += _DEATHS_MAX if isinstance(error, _Stuck) else 1
        undrawn.add(text)
    return frozenset(undrawn)


def _texts(specs: Iterable[Spec]) -> Iterator[str]:
    """Of those that have one: numbers that are none have no text, and whoever asks for the chart is told so."""
    for spec in specs:
        with suppress(ChartError):
            yield svg.as_text(spec)


async def png(spec: Spec) -> bytes:
    """A chart in pixels, for slides."""
    return await _told("png", svg.as_text(spec))


def bundle() -> bytes:
    """The script that draws charts in a browser: seconds of work in a process that ends with it, so no chart waits."""
    maker = _Drawer()
    try:
        return maker.ask("bundle", BUNDLE_SNIPPET)
    finally:
        maker.close()


async def _told(what: str, text: str) -> bytes:
    global _waiting  # noqa: PLW0603 (counted on the loop alone)
    if _waiting >= _WAITING_MAX:
        raise Unavailable(_BUSY)
    _waiting += 1
    try:
        return await asyncio.to_thread(_drawer.ask, what, text)
    finally:
        _waiting -= 1


class _Stuck(Unavailable):
    """Raised where a chart was drawn for so long that the process was ended."""


class _Drawer:
    """The process, and who may speak to it: one at a time."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, what: str, text: str) -> bytes:
        with self._turn:
            try:
                return self._answer(what, text)
            except (EOFError, OSError):  # it had nothing to do for so long that it ended, or it was killed
                self._end()
                try:
                    return self._answer(what, text)
                except (EOFError, OSError) as error:
                    self._end()
                    raise Unavailable("The process that draws charts has died: the log may say why.") from error

    def close(self) -> None:
        with self._turn:
            self._end()

    def _answer(self, what: str, text: str) -> bytes:
        """One at a time: a pipe that both ends fill would stand still for good."""
        process = self._process or self._start()
        stuck = Event()
        timer = Timer(_PATIENCE_S, lambda: (stuck.set(), process.kill()))
        timer.daemon = True
        timer.start()
        try:
            return _asked(process, what, text)
        except (EOFError, OSError):
            if not stuck.is_set():
                raise
            self._end()
            raise _Stuck(f"A chart was not drawn within {_PATIENCE_S:.0f} s.") from None
        finally:
            timer.cancel()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _PROGRAM]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for each in (process.stdin, process.stdout):
                _close(each)
            process.wait()


def _close(pipe: IO[bytes] | None) -> None:
    try:
        if pipe is not None:
            pipe.close()
    except OSError:  # what was not sent yet cannot be sent any more
        pass


def _asked(process: subprocess.Popen[bytes], what: str, text: str) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise OSError("the process cannot be spoken to")
    process.stdin.write(json.dumps([what, text]).encode() + b"\n")
    process.stdin.flush()
    head = process.stdout.readline()
    if not head.endswith(b"\n"):
        raise EOFError
    is_good, length = json.loads(head)
    body = process.stdout.read(length)
    if len(body) != length:
        raise EOFError
    if not is_good:
        raise ChartError(body.decode())
    return body


def main() -> None:
    """What the process does. Ctrl-C is for whoever started it: it ends when its input does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = sys.stdout.buffer
    while select.select([sys.stdin.buffer], [], [], _IDLE_S)[0]:
        line = sys.stdin.buffer.readline()  # whole lines, one after each answer: nothing is left over in a buffer
        if not line:
            return
        is_good, body = True, b""
        try:
            body = _made(*json.loads(line))
        except ChartError as error:
            is_good, body = False, error.message.encode()
        answers.write(json.dumps([is_good, len(body)]).encode() + b"\n" + body)
        answers.flush()


def _made(what: str, text: str) -> bytes:
    match what:
        case "png":
            return svg.draw_png(text, _SCALE)
        case "bundle":
            return svg.script(text).encode()
        case _:
            return svg.draw_svg(text).encode()


_waiting = 0
_drawer: Final = _Drawer()
atexit.register(_drawer.close)
