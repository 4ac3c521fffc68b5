"""`takt policy`, `pause`, `keys`, `verify` and `db`, straight on the database, and seen by the running service."""

import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest

from engine.client import Ask, Client, TaktRefused
from engine.core.presets import PRESETS
from tests.cli.command import TAKT, Ended, environment, takt
from tests.service import Service

TWO_A_WEEK = """\
schema: 1
# kept as it was written
budgets:
  - name: any-weekly
    limit: 2
    window: {rolling: 7d}
"""
WRONG = "schema: 1\nbudgets:\n  - name: x\n    limit: yes\n    window: {rolling: 7 days}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the command runs, so that files have short names."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def policy(service: Service | None, *arguments: str, stdin: bytes = b"") -> Ended:
    return takt(service, "policy", *arguments, stdin=stdin)


def test_a_policy_is_checked_without_a_service_or_a_database(folder: Path) -> None:
    (folder / "good.yaml").write_text(TWO_A_WEEK)
    assert policy(None, "check", "good.yaml").out == "good.yaml is valid: 1 budget, mode enforce.\n"
    wrong = policy(None, "check", "-", stdin=WRONG.encode())
    assert wrong.code == 1
    assert [each.split(": ")[0] for each in wrong.err.splitlines()] == ["stdin:4", "stdin:5"]
    assert not list(folder.glob(".takt"))


def test_a_policy_that_cannot_be_read(folder: Path) -> None:
    assert "there is no file 'p.yaml', and no preset" in policy(None, "check", "p.yaml").sentence
    for content, told in ((b"schema: 1\n\0", "p.yaml:2: "), (b"\xff\xfe", "UTF-8"), (b"x" * 300_000, "KiB")):
        (folder / "p.yaml").write_bytes(content)
        ended = policy(None, "check", "p.yaml")
        assert ended.code == 1
        assert told in ended.err


def test_policies_are_activated_shown_and_compared(service: Service, folder: Path) -> None:
    (folder / "two.yaml").write_text(TWO_A_WEEK)
    ended = policy(service, "activate", "two.yaml", "--note", "two are enough")
    assert ended.code == 0, ended.err
    assert "(enforce)" in ended.out
    assert policy(service, "show").out == TWO_A_WEEK
    listed = json.loads(policy(service, "list", "--json").out)
    assert listed["versions"][0]["note"] == "two are enough"
    version = str(listed["in_force"])
    assert policy(service, "activate", "standard", "--observe").code == 0
    assert "mode: observe" in policy(service, "show", "current").out
    assert policy(service, "show", version).out == TWO_A_WEEK
    assert policy(service, "diff", version, "two.yaml").err == "They say the same.\n"
    diff = policy(service, "diff", "current", "standard").out
    assert "-mode: observe\n+mode: enforce\n" in diff
    assert "as ruleset" in policy(service, "activate", version).out
    with Client(service.url, service.key) as client:
        assert str(client.policies()["in_force"]["policy_version"]) == version
    (folder / "wrong.yaml").write_text(WRONG)
    assert "wrong.yaml:4" in policy(service, "activate", "wrong.yaml").err
    assert "no policy version" in policy(service, "show", "9999").sentence


def test_a_preset_is_shown_as_it_is() -> None:
    assert policy(None, "show", "considerate").out == PRESETS["considerate"]


def test_a_pause_stops_contacts_until_it_is_ended(service: Service, ada: str) -> None:
    added = takt(service, "pause", "add", "outage", "--topic", "promotions", "--channel", "email", "--for", "2h")
    assert added.code == 0
    assert "channels email; topics promotions" in added.out
    with Client(service.url, service.key) as client:
        answer = client.ask(Ask(ada, "email", "promotions", mode="peek"))
        assert [each.code for each in answer.reasons] == ["paused"]
        assert "already" in takt(service, "pause", "add", "outage").sentence
        assert json.loads(takt(service, "pause", "list", "--json").out)[0]["name"] == "outage"
        assert takt(service, "pause", "end", "outage").err == "Nothing is paused.\n"
        assert client.ask(Ask(ada, "email", "promotions", mode="peek")).verdict == "allow"
    assert "no pause" in takt(service, "pause", "end", "outage").sentence
    assert takt(service, "pause", "add", "x", "--for", "soon").code == 2


def test_a_key_is_printed_once_alone_and_ends_when_revoked(service: Service, ada: str) -> None:
    made = takt(service, "keys", "create", "--name", "crm", "--scope", "decide", "--team", "crm", "--expires-in", "90d")
    secret = made.out.strip()
    assert made.out == secret + "\n"
    assert "not shown again" in made.err
    with Client(service.url, secret) as client:
        assert client.ask(Ask(ada, "email", "promotions", mode="peek")).ask.customer_id == ada
    listed = takt(service, "keys", "list").out
    assert secret not in listed
    line = next(each for each in listed.splitlines() if " crm " in each)
    assert "decide" in line
    assert "good until" in line
    key_id = line.split()[0]
    assert takt(service, "keys", "revoke", key_id).code == 0
    keys = json.loads(takt(service, "keys", "list", "--json").out)
    assert [each["state"] for each in keys if each["key_id"] == key_id] == ["revoked"]
    with (
        Client(service.url, secret) as client,
        pytest.raises(TaktRefused),
    ):  # a process may believe it for half a second
        _ = [client.ask(Ask(ada, "email", "promotions", mode="peek")) for _ in range(100_000)]
    assert "no key" in takt(service, "keys", "revoke", "nobody").sentence
    assert takt(service, "keys", "create", "--name", "x", "--scope", "everything").code == 2


def test_verify_ends_with_0_where_all_agrees_and_with_1_where_not(service: Service, ada: str) -> None:
    with Client(service.url, service.key) as client:
        client.confirm(client.ask(Ask(ada, "in_app", "promotions", message_id="m-1")))
    good = takt(service, "verify", ada)
    assert (good.code, good.err) == (0, "")
    assert "1 customers, 2 journal entries, 1 decisions made again: all agree." in good.out
    with psycopg.connect(service.database_url, autocommit=True) as connection:
        connection.execute("UPDATE accounts SET seq = seq + 1 WHERE customer_id = %s", (ada,))
    bad = takt(service, "verify", ada)
    assert bad.code == 1
    assert f"customer {ada}" in bad.out
    report = json.loads(takt(service, "verify", ada, "--json").out)
    assert report["faults"] >= 1
    with psycopg.connect(service.database_url, autocommit=True) as connection:
        connection.execute("UPDATE accounts SET seq = seq - 1 WHERE customer_id = %s", (ada,))


def test_a_database_of_ones_own_is_migrated_only_when_told(service: Service) -> None:
    with psycopg.connect(service.database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE empty_one TEMPLATE template0")
    url = service.database_url.replace(service.database_url.split("@/")[1].split("?")[0], "empty_one")
    more = {"DATABASE_URL": url}
    try:
        assert "takt db migrate" in takt(service, "keys", "list", more=more).sentence
        assert takt(service, "db", "migrate", more=more).out.startswith("The database is at revision ")
        status = json.loads(takt(service, "db", "status", "--json", more=more).out)
        assert status["revision"] == status["newest"]
        assert "no policy is in force" in takt(service, "policy", "show", more=more).sentence
        assert "DATABASE_URL" in takt(service, "db", "stop", more=more).sentence
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("UPDATE alembic_version SET version_num = 'from-the-future'")
        assert "newer Takt" in takt(service, "db", "migrate", more=more).sentence
    finally:
        with psycopg.connect(service.database_url, autocommit=True) as connection:
            connection.execute("DROP DATABASE empty_one WITH (FORCE)")


@pytest.fixture
def data_dir() -> Generator[Path]:
    """A folder that the server's user can reach. pytest's own are 0700."""
    made = Path(tempfile.mkdtemp(prefix="takt-test-"))
    made.chmod(0o711)
    yield made / "data"
    shutil.rmtree(made)


def test_the_embedded_server_runs_until_it_is_let_go(data_dir: Path) -> None:
    more = {"TAKT_DATA_DIR": str(data_dir)}
    status = takt(None, "db", "status", more=more)
    assert status.code == 1
    assert "running   no" in status.out
    assert not data_dir.exists()
    process = subprocess.Popen(
        [TAKT, "db", "start"], env=environment(None, **more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert "in use" in takt(None, "db", "stop", more=more).sentence
    running = takt(None, "db", "status", more=more)
    assert running.code == 0
    assert "revision  none yet" in running.out
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert err.endswith("It is stopped.\n")
    assert takt(None, "db", "status", more=more).code == 1
