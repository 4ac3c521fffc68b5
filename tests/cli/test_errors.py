"""However a command is called and whatever is broken around it: one sentence, an exit code, and never a traceback."""

import signal
import subprocess
from pathlib import Path

import pytest

from engine.core.tokens import Scope
from tests.cli.command import TAKT, environment, interruptible, takt
from tests.client.faults import SILENCE, proxy, status
from tests.service import Service

ASK = ("ask", "ada", "--channel", "email", "--topic", "promotions")
NOWHERE = "http://127.0.0.1:9"


def test_no_service_is_said_at_once(service: Service) -> None:
    ended = takt(service, *ASK, more={"TAKT_URL": NOWHERE})
    assert ended.sentence == f"takt: no Takt answers at {NOWHERE}: is it running? `make run` starts it"


@pytest.mark.parametrize("url", ["takt.example", "http://x:99999999"])
def test_an_address_that_is_none(service: Service, url: str) -> None:
    assert "takt: " in takt(service, *ASK, more={"TAKT_URL": url}).sentence


def test_a_wrong_key_a_missing_scope_and_none_at_all(service: Service, tmp_path: Path) -> None:
    assert "unknown, expired or revoked" in takt(service, *ASK, more={"TAKT_KEY": "takt_wrong"}).sentence
    assert "scope" in takt(service, *ASK, more={"TAKT_KEY": service.make_key(Scope.READ)}).sentence
    assert "TAKT_KEY" in takt(service, *ASK, more={"TAKT_KEY": "a\nb"}).sentence
    ended = takt(service, *ASK, more={"TAKT_KEY": "", "TAKT_DATA_DIR": str(tmp_path)})
    assert ended.sentence.startswith("takt: no key: set TAKT_KEY")


def test_the_local_key_is_used_here_and_sent_nowhere_else(service: Service, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(service.key + "\n")
    here = {"TAKT_KEY": "", "TAKT_DATA_DIR": str(tmp_path)}
    assert takt(service, *ASK, "--mode", "peek", more=here).code == 0
    assert "no key" in takt(service, *ASK, more=here | {"TAKT_URL": "http://takt.example"}).sentence


def test_a_service_that_fails_or_is_something_else(service: Service) -> None:
    with proxy(service.url, status(200), status(500)) as between:
        assert "Takt answered 500" in takt(service, *ASK, more={"TAKT_URL": between.url}).sentence
    with proxy(service.url, status(200), status(200, body=b"<html>")) as between:
        assert "not Takt" in takt(service, *ASK, more={"TAKT_URL": between.url}).sentence


def test_a_customer_that_is_no_text(service: Service) -> None:
    done = subprocess.run([TAKT, "why", b"\xff\xfe"], capture_output=True, env=environment(service), check=False)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"fault of Takt" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [("TAKT_PORT", "many"), ("TAKT_ADMIN_KEY", "short"), ("DATABASE_URL", "postgresql://127.0.0.1:9/takt")],
)
def test_a_setting_that_cannot_be_is_named(service: Service, variable: str, value: str) -> None:
    sentence = takt(service, "keys", "list", more={variable: value}).sentence
    assert variable in sentence


def test_a_reader_who_leaves_is_no_error(service: Service) -> None:
    command = f"{TAKT} policy show standard | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, env=environment(service), check=False, text=True)
    assert done.stdout == "# standard: a calm middle, for a company that wants an order in it first.\n" or done.stdout
    assert done.stderr == ""


def test_ctrl_c_ends_quietly(service: Service) -> None:
    with proxy(service.url, status(200), *[SILENCE] * 100) as between:
        process = subprocess.Popen(
            interruptible(*ASK), env=environment(service, TAKT_URL=between.url), stderr=subprocess.PIPE, text=True
        )
        while len(between.bodies) < 2:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err == ""


def test_a_full_disk_is_one_sentence(service: Service) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [TAKT, "policy", "show", "standard"],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(service),
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


def test_called_wrongly_ends_with_2(service: Service) -> None:
    for wrong in (
        ("ask",),
        ("ask", "ada", "--channel"),
        ("sing",),
        ("policy", "diff", "a"),
        ("why", "a", "--limit", "0"),
    ):
        ended = takt(service, *wrong)
        assert ended.code == 2
        assert "Error" in ended.err


def test_the_version_is_told() -> None:
    assert takt(None, "--version").out.startswith("takt 0.")


def test_help_has_an_example_for_every_command() -> None:
    import typer

    from engine import main

    def leaves(app: typer.Typer) -> list[str]:
        own = [str(each.callback.__doc__) for each in app.registered_commands if each.callback]
        return own + [
            each for group in app.registered_groups if group.typer_instance for each in leaves(group.typer_instance)
        ]

    documented = leaves(main.cli.app)
    assert len(documented) > 20
    assert [each for each in documented if "takt " not in each] == []


def test_help_fits_in_80_columns() -> None:
    for command in (("--help",), ("customers", "import", "--help")):
        lines = takt(None, *command).out.splitlines()
        assert max(map(len, lines)) <= 80
