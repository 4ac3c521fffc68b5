"""The register of deliberate faults, and how they do things when nobody looks."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

FAULTS: dict[str, Callable[[], None]] = {}
COMMIT_S = 0.1  # a commit that takes a little longer, as on a slower disk
_running: set[asyncio.Task[None]] = set()


def fault(apply: Callable[[], None]) -> Callable[[], None]:
    FAULTS[apply.__name__.replace("_", "-")] = apply
    return apply


def meanwhile(work: Coroutine[Any, Any, None]) -> None:
    """Do it after what is done now has been answered."""
    task = asyncio.create_task(work)
    _running.add(task)
    task.add_done_callback(_running.discard)
