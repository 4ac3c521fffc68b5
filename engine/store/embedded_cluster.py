"""The cluster itself: create it, start its server, find the running one, stop it. Call all under the transition lock.

A cluster appears under its name only when it is whole, and a process is sent a signal only after the kernel said that
it is the PostgreSQL of this very folder. The server is nobody's child, in a session of its own: it outlives whoever
started it and hears no Ctrl-C. Its processes hold `server.lock`, so the remnant of a killed one is never overlooked.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from engine.store import embedded_locks as locks
from engine.store.embedded_binaries import runnable_by, version
from engine.store.embedded_files import PORT, EmbeddedError, Places, out_of_reach, run_as, socket_folder, write_owned
from engine.store.embedded_settings import ROLE, write_settings

DATABASE = "takt"
_RECOVERY_S_MAX = 300.0  # a server that replays 4 GB of WAL after a crash
_UNSEEN_S_MAX = 20.0  # between the start of a process and its postmaster.pid; or for the remnants of a killed one to go
_STOP_S_MAX = 300.0  # a fast shutdown writes a checkpoint
_POLL_S = 0.005
_LOG_BYTES_MAX = 8 * 2**20
# The shell leaves at once and so makes the server nobody's child: no zombie, no reaping. `exec` and `&` only.
_LAUNCH = 'log=$1; shift; "$@" >>"$log" 2>&1 &'


@dataclass(frozen=True)
class Postmaster:
    """What postmaster.pid says of a server that the kernel confirmed."""

    pid: int
    socket_folder: Path
    ready: bool


def running(places: Places) -> Postmaster | None:
    """The server of this cluster once it accepts connections; None when not one process of it is left."""
    began = time.monotonic()
    while True:
        server = look(places)
        if server is not None and server.ready:
            return server
        waited_s = time.monotonic() - began
        if server is None and not locks.held_alone(places.server_lock):
            return None
        if server is None and waited_s > _UNSEEN_S_MAX:
            raise EmbeddedError(
                f"A server that cannot be seen from here still uses {places.cluster} (in another container?): "
                "stop it, or set DATABASE_URL for both."
            )
        if waited_s > _RECOVERY_S_MAX:
            raise EmbeddedError(f"PostgreSQL is starting or stopping for {waited_s:.0f} s: wait and see {places.log}.")
        time.sleep(_POLL_S)


def look(places: Places) -> Postmaster | None:
    """The server of this cluster at this instant, in whatever state."""
    try:
        lines = (places.cluster / "postmaster.pid").read_text().splitlines()
        server = Postmaster(int(lines[0]), Path(lines[4]), ready=lines[7].startswith("ready"))
    except (FileNotFoundError, NotADirectoryError, ValueError, IndexError):  # not there, or being written
        return None
    except OSError as error:
        raise out_of_reach(places.cluster, error) from error
    return server if _is_server_of(server.pid, places.cluster) else None


def has_died(places: Places) -> bool:
    """Whether the server ended otherwise than by a stop, which would have removed its postmaster.pid.

    True for an instant while one starts, too: look again under the transition lock.
    """
    return (places.cluster / "postmaster.pid").exists() and look(places) is None


def start(places: Places) -> Postmaster:
    """Start a server where none runs, and wait until it accepts connections."""
    try:
        binaries = runnable_by(places.user)
        if not places.cluster.exists():
            _create(places, binaries)
        _check_major(places, version(binaries))
        socket = socket_folder(places)
        write_settings(places.cluster, places, socket)
        trim_log(places)
        _forget_the_dead(places, socket)
        log_bytes_before = places.log.stat().st_size if places.log.exists() else 0
        _launch(places, binaries)
    except OSError as error:
        raise out_of_reach(places.home, error) from error
    server = running(places)
    if server is None:
        words = _last_lines(places.log, log_bytes_before)
        raise EmbeddedError(f"PostgreSQL did not start: mend what its log says, in {places.log}.\n{words}")
    return server


def stop(places: Places) -> None:
    """End the server, if one runs, in good order; returns when its last process is gone."""
    server = look(places)
    if server is None:
        return
    os.kill(server.pid, signal.SIGINT)  # the fast shutdown: connections end, a checkpoint is written
    deadline = time.monotonic() + _STOP_S_MAX
    while _is_server_of(server.pid, places.cluster) or locks.held_alone(places.server_lock):
        if time.monotonic() > deadline:
            raise EmbeddedError(f"PostgreSQL (process {server.pid}) is still shutting down: wait and see {places.log}.")
        time.sleep(_POLL_S)


def trim_log(places: Places) -> None:
    """Move a log of more than 8 MB aside, so that at most 16 MB are kept. A server that writes to it may go on."""
    try:
        descriptor = os.open(places.log, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "r+b") as log:
        size = log.seek(0, os.SEEK_END)
        if size <= _LOG_BYTES_MAX:
            return
        log.seek(-_LOG_BYTES_MAX, os.SEEK_END)
        old = log.read(_LOG_BYTES_MAX).decode(errors="replace")
        write_owned(places.log.with_name("server.log.1"), old, places.user.uid, places.user.gid)
        log.truncate(0)  # the server appends, so it goes on at the new end


def _create(places: Places, binaries: Path) -> None:
    """A new cluster with the database `takt`, on the disk before it gets its name."""
    fresh = places.home / "cluster.new"
    if fresh.exists():  # somebody was killed while creating
        shutil.rmtree(fresh)
    fresh.mkdir(mode=0o700)
    try:
        os.chown(fresh, places.user.uid, places.user.gid, follow_symlinks=False)
        # C.UTF-8 by PostgreSQL's own provider: sorts by code point on every machine, whatever its C library
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        made = run_as(
            places.user,
            [binaries / "initdb", "-D", fresh, f"--username={ROLE}", "--auth=peer", "--no-instructions", *locale],
        )
        if made.returncode == 0:
            made = run_as(
                places.user,
                [binaries / "postgres", "--single", "-D", fresh, "-c", "exit_on_error=on", "postgres"],
                stdin=f"CREATE DATABASE {DATABASE}\n",
            )
        if made.returncode != 0:
            raise EmbeddedError(_why_not_created(places, made.stderr))
        fresh.rename(places.cluster)
        _sync_folder(places.home)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _why_not_created(places: Places, said: str) -> str:
    if "No space left on device" in said:
        return f"The disk of {places.home} is full: free 200 MB there, or choose another data folder, and start again."
    words = "\n".join(said.strip().splitlines()[-5:])
    return f"PostgreSQL could not create its data in {places.home}: mend what it says, or set DATABASE_URL.\n{words}"


def _check_major(places: Places, ours: str) -> None:
    theirs = (places.cluster / "PG_VERSION").read_text().strip()
    major = ours.split(".")[0]
    if theirs != major:
        raise EmbeddedError(
            f"{places.cluster} holds data of PostgreSQL {theirs} and this Takt brings {major}: "
            "dump them with the Takt that wrote them, then restore into a new folder."
        )


def _launch(places: Places, binaries: Path) -> None:
    deadline = time.monotonic() + _UNSEEN_S_MAX
    while (lock := locks.try_alone(places.server_lock)) is None:  # somebody only looks
        if time.monotonic() > deadline:
            raise EmbeddedError(f"Another server uses {places.cluster}: stop it first.")
        time.sleep(_POLL_S)
    try:
        server = [binaries / "postgres", "-D", places.cluster]
        run_as(places.user, ["/bin/sh", "-c", _LAUNCH, "sh", places.log, *server], pass_fds=[lock])
    finally:
        os.close(lock)  # ours only: the server holds the same open file, and with it the lock


def _is_server_of(pid: int, cluster: Path) -> bool:
    """A PostgreSQL works inside its data folder. Of a zombie, neither program nor words are left."""
    process = Path("/proc", str(pid))
    try:
        program = Path(os.readlink(process / "exe")).name.removesuffix(" (deleted)")  # a newer Takt was installed
        return program == "postgres" and os.path.samefile(process / "cwd", cluster)
    except (
        PermissionError
    ):  # root in a container may not trace other users' processes, but may read how they were called
        argv = (process / "cmdline").read_bytes().split(b"\0")
        return os.path.basename(argv[0]) == b"postgres" and os.fsencode(cluster) in argv
    except (FileNotFoundError, ProcessLookupError):
        return False


def _forget_the_dead(places: Places, socket: Path) -> None:
    """Remove what a killed server left. `running` found no process of it, so these are stale.

    PostgreSQL itself would refuse to start where its old number is a zombie's (a container without an init) or by now
    a stranger's: it only asks whether the number is alive.
    """
    for stale in (places.cluster / "postmaster.pid", socket / f".s.PGSQL.{PORT}.lock"):
        stale.unlink(missing_ok=True)


def _last_lines(log: Path, from_byte: int, count: int = 6) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(from_byte)
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
