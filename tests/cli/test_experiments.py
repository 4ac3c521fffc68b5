"""`takt experiments`, straight on the database: from a plan's file to the policy it becomes."""

import json
from pathlib import Path

import pytest

from engine.client import Client
from tests.cli.command import Ended, takt
from tests.operations.plans import PLAN, POLICY, written
from tests.service import Service


@pytest.fixture(scope="module")
def shop(shared_service: Service) -> Service:
    """A service under the policy of the tests."""
    shared_service.activate(POLICY)
    return shared_service


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.yaml").write_text(written(traffic=0.1))
    return tmp_path


def experiments(service: Service | None, *arguments: str, stdin: bytes = b"") -> Ended:
    return takt(service, "experiments", *arguments, stdin=stdin)


def test_an_experiment_goes_from_a_file_to_the_policy(shop: Service, folder: Path) -> None:
    checked = experiments(shop, "validate", "plan.yaml")
    assert checked.out.startswith("plan.yaml is valid: push-more, 2 variants, 91 days.")
    assert "warning: " in checked.err
    created = experiments(shop, "create", "plan.yaml", "--on-harm", "stop", "--note", "agreed")
    assert created.out == "push-more is a draft. Start it: takt experiments start push-more\n"
    started = experiments(shop, "start", "push-more")
    assert "push-more is running since" in started.out
    assert "The plan said 2026-10-05" in started.err.replace("\n", " ")
    assert experiments(shop, "ramp", "push-more", "0.5").out == "push-more takes in 0.5 of its audience.\n"
    assert "began today" in experiments(shop, "phase", "push-more", "one=1", "three=2").sentence
    assert experiments(shop, "note", "push-more", "two of six asked why").err == "Noted.\n"
    assert json.loads(experiments(shop, "list", "--state", "running", "--json").out)[0]["key"] == "push-more"
    assert "push-more   running" in experiments(shop, "list").out
    shipped = experiments(shop, "ship", "push-more", "three", "--holdout", "0.1")
    assert "three is the policy" in shipped.out
    assert "Short run" in shipped.err
    shown = experiments(shop, "show", "push-more").out
    assert "shipped (three)" in shown
    assert "push-weekly: a limit of 3" in shown
    assert "10% of all customers" in shown
    assert "two of six asked why" in shown
    assert experiments(shop, "show", "push-more", "--plan").out == (folder / "plan.yaml").read_text()
    assert [each["action"] for each in json.loads(experiments(shop, "show", "push-more", "--json").out)["log"]] == [
        *("created", "start", "ramp", "note", "ship")
    ]
    ended = experiments(shop, "end-holdout", "push-more", "--note", "a new law")
    assert ended.out == "The holdout of push-more has ended: everybody is under the policy.\n"
    assert "not be read on day 28, 90, 180, 365." in ended.err
    assert "has ended on" in experiments(shop, "end-holdout", "push-more").sentence
    assert "readouts on no day" in experiments(shop, "show", "push-more").out.replace("\n", " ")
    with Client(shop.url, shop.key) as client:
        assert client.policies()["versions"][0]["note"] == "shipped push-more: three"


def test_what_is_wrong_is_told_by_line_or_in_a_sentence(shop: Service, folder: Path) -> None:
    (folder / "wrong.yaml").write_text(PLAN.replace("push-weekly", "push").replace("push-more", "wrong"))
    for command in ("validate", "create"):
        ended = experiments(shop, command, "wrong.yaml")
        assert ended.code == 1
        assert ended.err.startswith("wrong.yaml:"), ended.err
    broken = experiments(None, "create", "-", stdin=b"key: [\n")
    assert broken.err.startswith("stdin:")
    assert "there is no file 'nowhere.yaml'" in experiments(shop, "create", "nowhere.yaml").sentence
    assert "there is no experiment 'nobody'" in experiments(shop, "start", "nobody").sentence
    assert experiments(shop, "phase", "nobody", "one:1").code == 2
    assert "no experiment" in experiments(shop, "show", "nobody").sentence
    assert experiments(shop, "list", "--state", "draft").err.startswith("There are none")


def test_a_stopped_experiment_says_so(shop: Service, folder: Path) -> None:
    key = "stopped-early"
    text = PLAN.replace("push-more", key).replace("push-weekly", "email-weekly").replace("dose: 1", "dose: 2")
    assert experiments(shop, "create", "-", stdin=text.encode()).code == 0
    assert experiments(shop, "create", "-", stdin=(text + "traffic: 0.2\n").encode()).code == 1
    assert experiments(shop, "create", "-", "--replace", stdin=(text + "traffic: 0.2\n").encode()).code == 0
    assert experiments(shop, "start", key).code == 0
    assert f"{key} is stopped since" in experiments(shop, "stop", key, "--note", "the app was down").out
    assert "is stopped since" in experiments(shop, "start", key).sentence
