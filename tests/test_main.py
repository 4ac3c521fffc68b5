"""What the `takt` command loads before it knows what it is asked."""

import subprocess
import sys

SLOW = ("alembic", "apscheduler", "fastapi", "ibis", "numpy", "pyarrow", "scipy")


def test_no_command_waits_for_what_it_does_not_need() -> None:
    look = f"import sys, engine.main; print(*(each for each in {SLOW!r} if each in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
