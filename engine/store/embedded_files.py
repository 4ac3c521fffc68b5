"""Where the embedded PostgreSQL keeps its data, its locks and its socket, and which user it runs as.

PostgreSQL refuses to run as root. For root it therefore runs as another user that exists already, and what that user
cannot reach (a clone below a 0700 home) is kept in /var/lib/takt; no folder that is not ours changes its mode.
Where data exist, there they stay: an unreachable cluster is an error, never a reason to begin an empty one elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOR_ROOT = Path("/var/lib/takt")
PORT = 5432  # only names the socket file: nothing listens on TCP
_SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un.sun_path less its final zero
_SHORT = Path("/tmp")  # noqa: S108  a folder in it is made with 0700 and refused when it belongs to another user


class EmbeddedError(RuntimeError):
    """The embedded PostgreSQL cannot do what was asked. One sentence that says what to do about it."""


@dataclass(frozen=True)
class ServerUser:
    """The system user the server runs as; `dropped` when that is not the user we are."""

    name: str
    uid: int
    gid: int
    dropped: bool


@dataclass(frozen=True)
class Places:
    """The folder that was asked for holds the locks; `home` holds the data, and is the same folder where possible."""

    requested: Path
    home: Path
    user: ServerUser

    @property
    def cluster(self) -> Path:
        return self.home / "cluster"

    @property
    def log(self) -> Path:
        return self.cluster / "server.log"

    @property
    def transition_lock(self) -> Path:
        """Held alone while the server is started or stopped."""
        return self.requested / "transition.lock"

    @property
    def attached_lock(self) -> Path:
        """Shared by every attached process for as long as it lives."""
        return self.requested / "attached.lock"

    @property
    def server_lock(self) -> Path:
        """Held by PostgreSQL's own processes: free only when the last of them is gone, whatever happened to it."""
        return self.requested / "server.lock"


def locate(data_dir: Path) -> Places:
    """Where the data of `data_dir` are, or would go. Changes nothing."""
    if not sys.platform.startswith("linux"):
        raise EmbeddedError(f"The embedded PostgreSQL runs on Linux only, not on {sys.platform}: set DATABASE_URL.")
    requested = data_dir.absolute().resolve()
    if os.geteuid() != 0:
        return Places(requested, requested, _ourselves())
    elsewhere = FOR_ROOT / hashlib.sha256(os.fsencode(requested)).hexdigest()[:16]
    for home in (elsewhere, requested):
        if (home / "cluster").exists():
            return Places(requested, home, _owner_or_stand_in(home / "cluster"))
    user = _owner_or_stand_in(requested)
    return Places(requested, requested if _reaches(user, requested) else elsewhere, user)


def prepare_folder(data_dir: Path) -> None:
    """Create the folder that was asked for, so that its locks can be taken."""
    try:
        make_folder(data_dir.absolute().resolve())
    except OSError as error:
        raise out_of_reach(data_dir, error) from error


def prepare_home(places: Places) -> None:
    """Create the folder for the data, and leave a note where they were expected. Call it under the transition lock."""
    if places.home == places.requested:
        return
    try:
        make_folder(places.home)
        note = (
            f"PostgreSQL does not run as root, and the user it runs as ({places.user.name}) cannot reach this folder.\n"
            f"The data are in {places.home}\nTo begin anew, stop Takt and delete that folder too.\n"
        )
        write_owned(places.requested / "WHERE-THE-DATA-ARE.txt", note, os.geteuid(), os.getegid())
    except OSError as error:
        raise out_of_reach(places.home, error) from error


def socket_folder(places: Places) -> Path:
    """A folder whose socket path fits into 107 bytes. Other local users cannot enter it: it is 0700."""
    folder = places.home / "run"
    # libpq splits a host at commas, PostgreSQL a setting at commas and quotes
    if len(os.fsencode(folder / f".s.PGSQL.{PORT}")) > _SOCKET_PATH_BYTES_MAX or set(str(folder)) & set(",'\"\\\n"):
        # the cluster's age is part of the name: the server of a deleted folder may still live on its old socket
        born = (places.cluster / "PG_VERSION").stat().st_mtime_ns
        name = hashlib.sha256(os.fsencode(places.cluster) + str(born).encode()).hexdigest()[:16]
        folder = _SHORT / f"takt-{name}"
    if not folder.exists():
        folder.mkdir(mode=0o700)
        os.chown(folder, places.user.uid, places.user.gid, follow_symlinks=False)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != places.user.uid or found.st_mode & 0o077:
        raise EmbeddedError(f"{folder} is not a 0700 folder of {places.user.name}: delete it, then start again.")
    return folder


def run_as(
    user: ServerUser, argv: Sequence[str | Path], *, stdin: str = "", pass_fds: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    """Run one program as the server's user, in a session and an environment of its own; its words are captured."""
    return subprocess.run(  # noqa: S603  programs of ours, no shell text from outside
        argv,
        input=stdin,
        text=True,
        capture_output=True,
        check=False,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},  # PGOPTIONS and its like must not leak in
        user=user.uid if user.dropped else None,
        group=user.gid if user.dropped else None,
        extra_groups=[] if user.dropped else None,
        umask=0o077,
        start_new_session=True,
        pass_fds=pass_fds,
    )


def write_owned(path: Path, text: str, uid: int, gid: int) -> None:
    """Replace a file whole. Never writes through a link that the owner of the folder may have put there."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        if os.geteuid() == 0:
            os.fchown(file.fileno(), uid, gid)
    os.replace(temporary, path)


def out_of_reach(folder: Path, error: OSError) -> EmbeddedError:
    return EmbeddedError(f"Cannot use {folder} ({error.strerror}): choose another data folder or set DATABASE_URL.")


def _ourselves() -> ServerUser:
    uid = os.geteuid()
    try:
        return ServerUser(pwd.getpwuid(uid).pw_name, uid, os.getegid(), dropped=False)
    except KeyError:
        raise EmbeddedError(
            f"User id {uid} has no name here and PostgreSQL needs one: add it to /etc/passwd or set DATABASE_URL."
        ) from None


def _owner_or_stand_in(folder: Path) -> ServerUser:
    """For root: the owner of the folder, so that both may use it in turn; where that is root, `postgres` or `nobody`.

    `nobody` may be shared with other programs, so `postgres` comes first where a package has made it.
    """
    owner = folder.stat().st_uid if folder.exists() else 0
    for user in pwd.getpwall() if owner else ():
        if user.pw_uid == owner:
            return ServerUser(user.pw_name, user.pw_uid, user.pw_gid, dropped=True)
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(user.pw_name, user.pw_uid, user.pw_gid, dropped=True)
    raise EmbeddedError("PostgreSQL does not run as root and there is no user `nobody`: run Takt as a normal user.")


def _reaches(user: ServerUser, folder: Path) -> bool:
    """Asked of the kernel by trying, because access lists and mounts count too."""
    while not folder.exists():
        folder = folder.parent
    try:
        return run_as(user, ["/bin/sh", "-c", 'cd "$0"', folder]).returncode == 0
    except OSError as error:
        raise EmbeddedError(
            f"Root may not become {user.name} here ({error.strerror}): run Takt as a normal user or set DATABASE_URL."
        ) from error


def make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    # As root the server's user must be able to pass through, whatever umask we inherited, and from the first moment:
    # another process may be looking. 066 narrows what other threads create meanwhile, it widens no file.
    before = os.umask(0o066 if os.geteuid() == 0 else 0o077)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    finally:
        os.umask(before)
