"""docs/events.md: its lines are run in order, and answered as it shows."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.docs.test_docs import ROOT, agrees, blocks
from tests.service import Service

DOCUMENT = (ROOT / "docs" / "events.md").read_text()


def test_events_are_answered_as_the_document_shows(shared_service: Service, tmp_path: Path) -> None:
    runs, answers = blocks(DOCUMENT, "run"), blocks(DOCUMENT, "answer")
    assert list(runs) == list(answers) == ["bring", "address", "cloud", "file"]
    key = shared_service.key
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "KEY": key, "TAKT_KEY": key, "TAKT_URL": shared_service.url, "PATH": path}
    for name, (_, body) in runs.items():
        line = body.replace("http://127.0.0.1:8000", shared_service.url)
        done = subprocess.run(
            ["bash", "-ec", line],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        kind, shown = answers[name]
        if kind == "json":
            assert agrees(json.loads(shown), json.loads(done.stdout)), f"{name}: Takt answered\n{done.stdout}"
        else:
            assert done.stdout == shown
