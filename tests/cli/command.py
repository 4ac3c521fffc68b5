"""The real `takt` command as a process of its own, against a real service and its database."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.service import Service

TAKT = str(Path(sys.executable).with_name("takt"))
END_S_MAX = 60.0


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What was said on stderr by a command that failed: no traceback, no box, one line."""
        assert self.code not in (0, None), self
        assert "Traceback" not in self.err, self.err
        assert "fault of Takt" not in self.err, self.err
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


def environment(service: Service | None, **more: str) -> dict[str, str]:
    """The environment of a command: none of Takt's variables but these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TAKT_", "DATABASE_"))}
    if service is not None:
        kept |= {"TAKT_URL": service.url, "TAKT_KEY": service.key, "DATABASE_URL": service.database_url}
    return kept | more


def takt(service: Service | None, *arguments: str, stdin: bytes = b"", more: Mapping[str, str] | None = None) -> Ended:
    """Run it to its end; its output has no terminal."""
    done = subprocess.run(
        [TAKT, *arguments],
        input=stdin,
        capture_output=True,
        timeout=END_S_MAX,
        env=environment(service, **(more or {})),
        check=False,
    )
    assert "Traceback" not in done.stderr.decode(), done.stderr.decode()
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())
