"""What the `takt` command loads before it knows what it is asked, and how long it keeps idle connections."""

import subprocess
import sys

from engine import main
from engine.client import conversation

SLOW = ("alembic", "apscheduler", "fastapi", "ibis", "numpy", "pyarrow", "scipy")


def test_no_command_waits_for_what_it_does_not_need() -> None:
    look = f"import sys, engine.main; print(*(each for each in {SLOW!r} if each in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_who_sends_closes_an_idle_connection_first() -> None:
    assert main.IDLE_S_MAX > conversation.KEEPALIVE_S
