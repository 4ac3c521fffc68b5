"""The configuration files of the embedded PostgreSQL, for a write-heavy service on a small machine.

They are written anew at every start, so that a new version of Takt brings its settings along. Who wants another value
uses ALTER SYSTEM, which wins. Nothing here trades durability for speed.
"""

from __future__ import annotations

import os
from pathlib import Path

from engine.store.embedded_files import PORT, Places, ServerUser, write_owned

ROLE = "takt"
_MIB = 2**20
_CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def write_settings(cluster: Path, places: Places, socket_folder: Path) -> None:
    """Write all three files, as the server's user, into `cluster`."""
    files = {
        "postgresql.conf": server_settings(memory_bytes(), socket_folder),
        "pg_hba.conf": "# who may connect: nobody over TCP; over the socket those whom pg_ident.conf maps\n"
        f"local all {ROLE} peer map=takt\n",
        "pg_ident.conf": user_map(places.user),
    }
    for name, text in files.items():
        write_owned(cluster / name, text, places.user.uid, places.user.gid)


def server_settings(memory_bytes: int, socket_folder: Path) -> str:
    """postgresql.conf: an eighth of the memory for shared buffers, between 128 MB and 2 GB."""
    shared_buffers_mib = min(max(memory_bytes // 8 // _MIB, 128), 2048)
    folder = str(socket_folder).replace("'", "''")
    return f"""# Written by Takt at every start: changes here are lost, those by ALTER SYSTEM stay and win.
listen_addresses = ''
port = {PORT}
unix_socket_directories = '{folder}'
unix_socket_permissions = 0700
max_connections = 200

# an acknowledged answer is on the disk
fsync = on
synchronous_commit = on
full_page_writes = on

# checkpoints are rare and spread: each one makes the next change of every page write the whole page to the WAL
shared_buffers = {shared_buffers_mib}MB
max_wal_size = 4GB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
# the wheel is built without lz4; pglz halves the WAL of whole pages, but takes the processor time that asks need
wal_compression = off

jit = off
timezone = 'UTC'
log_timezone = 'UTC'
datestyle = 'iso, mdy'
lc_messages = 'C'
lc_monetary = 'C'
lc_numeric = 'C'
lc_time = 'C'
default_text_search_config = 'pg_catalog.english'

# statements and the details of errors hold customers' ids: they do not belong in a log
log_line_prefix = '%m [%p] '
log_min_error_statement = panic
log_error_verbosity = terse
"""


def user_map(user: ServerUser) -> str:
    """pg_ident.conf: the server's own user, and root, who could read the files anyway."""
    names = dict.fromkeys((user.name, "root"))
    quoted = ('"' + name.replace('"', '""') + '"' for name in names)
    return "".join(f"takt {name} {ROLE}\n" for name in quoted)


def memory_bytes() -> int:
    """The machine's memory, or the container's where that is less."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in _CONTAINER_LIMITS:
        try:
            text = limit.read_text().strip()
        except OSError:
            continue
        found += [int(text)] if text.isdigit() else []  # "max" where there is none
    return min(found)
