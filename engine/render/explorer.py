"""The script with which a browser draws charts that answer to a pointer: made once a machine, and kept in its cache.

It is Vega with all it needs, from the package that draws charts here: nobody downloads anything. Making it takes
seconds, in a process of its own; who asks before it is there waits for it.
"""

import gzip
import os
import zlib
from concurrent.futures import Future
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock, Thread
from typing import Final

from engine.render import drawing, svg

ADDRESS: Final = f"/static/vega-{svg.script_version()}.js"
_turn: Final = Lock()
_found: Future[bytes] | None = None


def begun() -> "Future[bytes]":
    """The script, packed by gzip, once it is there. The first call begins to make it; one that failed is tried anew."""
    global _found  # noqa: PLW0603 (one a process, under the lock)
    with _turn:
        if _found is None or (_found.done() and _found.exception() is not None):
            _found = Future()
            Thread(target=_make, args=(_found,), daemon=True).start()
        return _found


def _make(into: "Future[bytes]") -> None:
    try:
        path = _path()
        packed = _read(path)
        if packed is None:
            packed = gzip.compress(drawing.bundle(), mtime=0)
            _write(path, packed)
        into.set_result(packed)
    except BaseException as error:  # whoever waits is told
        into.set_exception(error)


def _path() -> Path | None:
    """In the cache of whoever runs Takt; None where they have none."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "takt"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder / f"vega-{svg.script_version()}.js.gz"


def _read(path: Path | None) -> bytes | None:
    try:
        packed = path.read_bytes() if path else None
        return packed if packed and gzip.decompress(packed) else None
    except (OSError, EOFError, zlib.error):  # not there, or half of it
        return None


def _write(path: Path | None, packed: bytes) -> None:
    """Whole or not at all; without it the next process makes it again."""
    try:
        if path is None:
            return
        with NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(packed)
        os.replace(file.name, path)
    except OSError:
        pass
