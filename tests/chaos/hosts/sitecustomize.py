"""A host whose clock is wrong: Python imports this at its start where this folder is on its path.

All that a program reads of the calendar's time is shifted by CHAOS_SKEW_S seconds, in each Python process that the
service starts as well. What it waits and measures by (the monotonic clock) is not, and neither is PostgreSQL.
"""

import ctypes
import gc
import os
import time
from datetime import date, datetime, timedelta

SKEW_S = int(os.environ["CHAOS_SKEW_S"])


def _shift() -> None:
    seconds, nanoseconds, now = time.time, time.time_ns, datetime.now

    def shifted(_: type[datetime], tz: object = None) -> datetime:
        return now(tz) + timedelta(seconds=SKEW_S)  # type: ignore[arg-type]

    time.time = lambda: seconds() + SKEW_S
    time.time_ns = lambda: nanoseconds() + SKEW_S * 1_000_000_000
    for kind, names in ((datetime, {"now": shifted, "today": shifted, "utcnow": _utc}), (date, {"today": _today})):
        (attributes,) = gc.get_referents(kind.__dict__)  # a type written in C takes no new attributes otherwise
        attributes.update({name: classmethod(made) for name, made in names.items()})
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


def _today(kind: type[date]) -> date:
    return kind.fromtimestamp(time.time())


def _utc(kind: type[datetime]) -> datetime:
    return kind.utcfromtimestamp(time.time())


_shift()
