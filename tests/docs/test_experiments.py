"""What docs/experiments.md shows is what happens: its commands run in order, its answers compared."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.docs.test_docs import ROOT, agrees
from tests.service import serving

DOCUMENT = ROOT / "docs" / "experiments.md"
_BLOCK = re.compile(r"<!-- (file|run|answer): ([\w.-]+) -->\n```(\w+)\n(.*?)```", re.DOTALL)


def run(body: str, environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", body],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (body, done.stderr)
    return done.stdout


def test_the_way_from_a_plan_to_a_policy_is_a_real_one(database_url: str, tmp_path: Path) -> None:
    printed: dict[str, str] = {}
    compared: list[str] = []
    with serving(database_url) as service:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TAKT_")}
        environment = {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "KEY": service.key,
            "DATABASE_URL": service.database_url,
        }
        for kind, name, _, body in _BLOCK.findall(DOCUMENT.read_text()):
            match kind:
                case "file":
                    (tmp_path / name).write_text(body)
                case "run":
                    printed[name] = run(body.replace("http://127.0.0.1:8000", service.url), environment, tmp_path)
                case _:
                    shown, real = json.loads(body), json.loads(printed[name])
                    assert agrees(shown, real), f"{name}: the document shows\n{shown}\nand Takt answered\n{_part(real)}"
                    compared.append(name)
    assert list(printed) == ["validate", "create", "ask", "ramp", "ship", "show"]
    assert compared == ["ask", "show"]


def _part(answer: dict[str, Any]) -> str:
    return json.dumps(answer)[:2_000]
