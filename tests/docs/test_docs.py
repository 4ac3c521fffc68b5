"""What the documents show is what happens: their policies are read, their lines are run, their answers compared."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.operations.policy_file import load_policy
from engine.settings import Settings
from tests.service import Service, serving

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
_BLOCK = re.compile(r"<!-- (run|answer|policy): ?(\w*) -->\n```(\w+)\n(.*?)```", re.DOTALL)


@pytest.fixture
def service(database_url: str) -> Any:
    with serving(database_url, Settings()) as running:
        yield running


def blocks(text: str, what: str) -> dict[str, tuple[str, str]]:
    return {name: (language, body) for kind, name, language, body in _BLOCK.findall(text) if kind == what}


def run(language: str, body: str, service: Service) -> str:
    """A block as a reader would run it, against the service of the test."""
    environment = {**os.environ, "KEY": service.key, "TAKT_KEY": service.key, "TAKT_URL": service.url}
    body = body.replace("http://127.0.0.1:8000", service.url)
    command = ["bash", "-ec", body] if language == "sh" else [sys.executable, "-W", "error", "-c", body]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def agrees(shown: Any, real: Any) -> bool:
    """Whether all that a document shows of an answer is in the real one."""
    if isinstance(shown, dict):
        return isinstance(real, dict) and all(key in real and agrees(shown[key], real[key]) for key in shown)
    if isinstance(shown, list):
        return isinstance(real, list) and len(shown) == len(real) and all(map(agrees, shown, real))
    return shown == real


def test_the_readme_s_exchange_is_a_real_one(service: Service) -> None:
    runs, answers = blocks(README, "run"), blocks(README, "answer")
    assert list(runs) == ["ask", "confirm", "second", "python"]
    for name, (language, body) in runs.items():
        printed = run(language, body, service)
        if name in answers:
            shown, real = json.loads(answers[name][1]), json.loads(printed)
            assert agrees(shown, real), f"{name}: the README shows\n{shown}\nand Takt answered\n{real}"


def test_every_policy_in_the_documents_is_valid() -> None:
    found = 0
    for document in DOCUMENTS:
        for body in re.findall(r"<!-- policy -->\n```yaml\n(.*?)```", document.read_text(), re.DOTALL):
            load_policy(body, str(document))
            found += 1
    assert found


def test_every_link_between_documents_leads_somewhere() -> None:
    broken = [
        f"{document.name}: {target}"
        for document in DOCUMENTS
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text())
        if not (document.parent / target).exists()
    ]
    assert not broken


def test_the_settings_in_the_documents_are_those_there_are() -> None:
    named = set(re.findall(r"`(TAKT_[A-Z_]+|DATABASE_URL)`", (ROOT / "docs" / "operating.md").read_text()))
    there_are = {"DATABASE_URL" if name == "database_url" else f"TAKT_{name.upper()}" for name in Settings.model_fields}
    assert there_are == named
