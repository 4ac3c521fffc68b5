"""The embedded PostgreSQL with real processes: starts, shared use, last one out, and kills."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from engine.store import embedded, embedded_settings
from engine.store.embedded import EmbeddedError
from tests.store.clusters import (
    Spawn,
    as_owner,
    end_process,
    kill_server,
    lives,
    pid_of_server,
    seen,
)


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
    servers = {pid_of_server(process) for process in processes}
    assert len(servers) == 1
    assert set(embedded.status(folder / "data").attached) == {process.pid for process in processes}


def test_last_to_leave_stops_the_server(data: Path, spawn: Spawn) -> None:
    first, second = spawn(data), spawn(data)
    server = pid_of_server(first)
    assert pid_of_server(second) == server
    end_process(first)
    assert embedded.status(data).pid == server
    end_process(second)
    assert not embedded.status(data).running
    assert not lives(server)


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
    server = pid_of_server(killed)
    with embedded.attach(data) as stays:
        assert stays.pid == server
        killed.kill()
        killed.wait()
    assert not lives(server)


def test_server_outlives_the_kill_of_its_last_user_and_the_next_one_takes_it_over(data: Path, spawn: Spawn) -> None:
    killed = spawn(data)
    server = pid_of_server(killed)
    killed.kill()
    killed.wait()
    assert embedded.status(data) == seen(data, pid=server, attached=())
    with embedded.attach(data) as next_one:
        assert next_one.pid == server
    assert not lives(server)


def test_server_hears_no_ctrl_c_of_the_terminal(data: Path, spawn: Spawn) -> None:
    server = pid_of_server(spawn(data))
    assert os.getsid(server) != os.getsid(0)
    assert os.getpgid(server) != os.getpgid(0)


def test_killed_server_is_started_again_by_the_next_attach_and_keeps_what_was_committed(data: Path) -> None:
    with embedded.attach(data) as first:
        with psycopg.connect(first.url()) as connection:
            connection.execute("CREATE TABLE committed AS SELECT 42 AS answer")
        kill_server(first)
        with embedded.attach(data) as second, psycopg.connect(second.url()) as connection:
            assert second.pid != first.pid
            assert connection.execute("SELECT answer FROM committed").fetchone() == (42,)
        assert embedded.status(data).running, "the first is attached still, and to the same folder"
        with psycopg.connect(first.url()) as connection:
            assert connection.execute("SELECT answer FROM committed").fetchone() == (42,)
    assert not embedded.status(data).running


def test_leaving_after_the_server_was_killed_is_no_error(data: Path) -> None:
    with embedded.attach(data) as server:
        kill_server(server)


@pytest.mark.parametrize("claimed", ["dead", "a stranger's"])
def test_stale_postmaster_pid_does_not_prevent_a_start_and_hurts_no_stranger(data: Path, claimed: str) -> None:
    with embedded.attach(data) as server:
        pid_file = server.data_dir / "postmaster.pid"
        words = pid_file.read_text().splitlines()
    stranger = subprocess.Popen(["sleep", "600"], **as_owner(pid_file.parent))
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
    server = pid_of_server(user)
    with pytest.raises(EmbeddedError, match=f"processes: {user.pid}"):
        embedded.stop(data)
    assert lives(server)
    embedded.stop(data, force=True)
    assert not lives(server)
    embedded.stop(data)  # nothing runs: nothing to do


def test_status_of_a_folder_that_does_not_exist_creates_nothing(folder: Path) -> None:
    assert embedded.status(folder / "data") == seen(folder / "data", pid=None, attached=())
    embedded.stop(folder / "data")
    assert not (folder / "data").exists()
