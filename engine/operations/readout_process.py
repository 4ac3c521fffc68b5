"""A process for one readout: Python is busy with it for seconds, and asks go on meanwhile.

It is told what to do by one line of JSON on its standard input, and answers with one on its standard output. It ends
with whoever started it, however that ends: its input is closed then.
"""

import asyncio
import json
import os
import sys
import threading
from typing import Any, Final

from engine.core.errors import Conflict, DatabaseUnavailable, NotFound, TaktError, Unavailable

_PROGRAM: Final = "from engine.operations.readout_process import main; main()"
_KNOWN: Final = {each.code: each for each in (Conflict, DatabaseUnavailable, NotFound)}


async def refreshed(url: str, number: int, ticket: int) -> int:
    """`readout.refresh` in a process of its own, which is killed where nobody waits for it any more."""
    return await _told({"url": url, "number": number, "ticket": ticket})


async def held_refreshed(url: str, number: int, ticket: int, day: int | None) -> int:
    """`holdout_readout.refresh_held`, likewise."""
    return await _told({"url": url, "number": number, "ticket": ticket, "day": day})


async def _told(what: dict[str, Any]) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    if process.stdin is None or process.stdout is None:
        raise Unavailable("the process that computes the readout cannot be spoken to")
    try:
        process.stdin.write(json.dumps(what).encode() + b"\n")
        await process.stdin.drain()
        answer = await process.stdout.read()
        await process.wait()
    except (BrokenPipeError, ConnectionResetError):
        answer = b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        process.stdin.close()
    return _understood(answer)


def _understood(answer: bytes) -> int:
    if not answer:
        raise Unavailable("the process that computes the readout has died: the log may say why")
    found: dict[str, Any] = json.loads(answer)
    if "error" in found:
        raise _KNOWN.get(found["error"], Unavailable)(found["message"])
    return found["computed_us"]


def main() -> None:
    """What the process does."""
    told = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    # Ibis takes a second to import, and only this process needs it.
    from engine.operations.holdout_readout import refresh_held
    from engine.operations.readout import refresh

    try:
        answer: dict[str, Any] = {"computed_us": refresh_held(**told) if "day" in told else refresh(**told)}
    except TaktError as error:
        answer = {"error": error.code, "message": error.message}
    sys.stdout.write(json.dumps(answer))


def _end_with_input() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)
