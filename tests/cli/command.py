"""The `takt` command in a process of its own, against a real service and its database.

`takt` forks each from a process that has loaded Takt already: loading takes ten times as long as most commands. The
tests that care how a command is started, or that interrupt it, start `TAKT` themselves.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.service import Service

TAKT = str(Path(sys.executable).with_name("takt"))
END_S_MAX = 180.0
_REQUEST_BYTES_MOST = 65_536
_LOADED = """
import json, os, socket, sys
import engine.main, engine.api.app, engine.store.migrations, pyarrow.parquet

asked = socket.socket(fileno=int(sys.argv[1]))
while True:
    request, streams, _, _ = socket.recv_fds(asked, 65536, 3)
    if not request:
        break
    child = os.fork()
    if not child:
        asked.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        told = json.loads(request)
        os.chdir(told["folder"])
        os.environ.clear()
        os.environ.update(told["environment"])
        sys.argv = ["takt", *told["arguments"]]
        code = 0
        try:
            engine.main.main()
        except SystemExit as end:
            code = end.code or 0
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # tidying up a forked copy of everything loaded would take longer than the command
    for stream in streams:
        os.close(stream)
    asked.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What was said on stderr by a command that failed: no traceback, no box, one line."""
        assert self.code != 0, self
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
    """Run a command to its end; none of its streams is a terminal."""
    told = {
        "arguments": arguments,
        "environment": environment(service, **(more or {})),
        "folder": str(Path.cwd()),
    }
    request = json.dumps(told).encode()
    assert len(request) < _REQUEST_BYTES_MOST
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        socket.send_fds(_loaded(), [request], [given.fileno(), out.fileno(), err.fileno()])
        code = int(_loaded().recv(16))
        out.seek(0)
        err.seek(0)
        ended = Ended(code, out.read().decode(), err.read().decode())
    assert "Traceback" not in ended.err, ended.err
    return ended


def interruptible(*arguments: str) -> list[str]:
    """The command, hearing Ctrl-C also where these tests run in the background of a shell that lets nobody hear it."""
    listen = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", listen, TAKT, *arguments]


@contextmanager
def started(
    command: Sequence[str], *, env: Mapping[str, str], stdout: int | None = None, stderr: int | None = None
) -> Generator["subprocess.Popen[str]"]:
    """A process, killed at the end of the block where it still runs: `Popen` itself would wait for it for ever."""
    with subprocess.Popen(command, env=env, stdout=stdout, stderr=stderr, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def unload() -> None:
    """End the process that has loaded Takt."""
    while _running:
        asked, process = _running.pop()
        asked.close()
        process.wait(END_S_MAX)


def _loaded() -> socket.socket:
    """The way to the process that has loaded Takt, started where it does not run."""
    if not _running:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(END_S_MAX)
        with theirs:
            number = theirs.fileno()
            _running.append((ours, subprocess.Popen([sys.executable, "-c", _LOADED, str(number)], pass_fds=[number])))
    return _running[0][0]


_running: list[tuple[socket.socket, subprocess.Popen[bytes]]] = []
