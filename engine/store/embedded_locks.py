"""File locks by which the processes that use one embedded PostgreSQL know of each other.

They are flock(2) locks: the kernel drops them with the process, so whoever was killed counts as having left. A lock
belongs to an open file, not to a process: it is given back by closing the file, never by LOCK_UN, because a child may
share the file (PostgreSQL does, on purpose). The folder must lie on a local file system: NFS loses shared locks.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_KERNEL_LOCKS = Path("/proc/locks")


@contextmanager
def exclusively(path: Path) -> Generator[None]:
    """Hold `path` alone while the block runs; waits for whoever holds it."""
    held = _acquire(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(held)


def share(path: Path) -> int:
    """Hold `path` together with others until the returned file descriptor is closed."""
    return _acquire(path, fcntl.LOCK_SH)


def try_alone(path: Path) -> int | None:
    """A file descriptor that holds `path` alone, or None when anybody else holds it."""
    try:
        return _acquire(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None


def held_alone(path: Path) -> bool:
    """Whether somebody holds `path` alone. Creates nothing, and never makes a `share` or another look fail."""
    try:
        looked = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(looked, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(looked)
    return False


def sharers(path: Path) -> tuple[int, ...]:
    """The processes that share `path`, as far as the kernel lists them here (not those of another container)."""
    try:
        inode = path.stat().st_ino
        lines = _KERNEL_LOCKS.read_text().splitlines()
    except OSError:
        return ()
    # 3: FLOCK  ADVISORY  READ 4711 fe:00:131 0 EOF. The device is not compared: on overlay file systems it differs
    # from what stat says, and this list only informs; the lock itself decides.
    rows = (line.split() for line in lines)
    shared = (row for row in rows if row[1] == "FLOCK" and row[3] == "READ" and row[5].endswith(f":{inode}"))
    return tuple(dict.fromkeys(int(row[4]) for row in shared))  # a process that attached twice is one


def is_still(held: int, path: Path) -> bool:
    """Whether the file behind the descriptor is the one now found at `path`: a folder may be deleted and made anew."""
    try:
        return os.path.samestat(os.fstat(held), os.stat(path))
    except FileNotFoundError:
        return False


def _acquire(path: Path, kind: int) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _belong_to_folder(descriptor, path)
            fcntl.flock(descriptor, kind)
        except BaseException:
            os.close(descriptor)
            raise
        if is_still(descriptor, path):
            return descriptor
        os.close(descriptor)  # deleted while we waited: what we hold guards nothing


def _belong_to_folder(descriptor: int, path: Path) -> None:
    """Root may use a folder of another user: the locks it makes there must stay usable for that user."""
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
