"""What the tutorial shows is what happens: its files are written, its steps run in order, their output compared.

    python -m tests.docs.test_tutorial

writes what really happens into the documents, for whoever changed what is printed.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TUTORIAL, README = ROOT / "docs" / "tutorial.md", ROOT / "README.md"
_BLOCK = re.compile(r"<!-- (file|step|shows): ([\w.-]+) -->\n```(\w+)\n(.*?)```", re.DOTALL)
_STEP_S_MAX = 120


def played(document: Path, folder: Path) -> Iterator[tuple[str, str, str]]:
    """Follow a document in a folder, as a reader would: for each output shown its name, what is shown, what is real."""
    printed: dict[str, str] = {}
    for kind, name, language, body in _BLOCK.findall(document.read_text()):
        match kind:
            case "file":
                (folder / name).write_text(body)
            case "step":
                printed[name] = run(language, body, folder)
            case _:
                yield name, body, printed[name]


def run(language: str, body: str, folder: Path) -> str:
    """The output of a step; fails where it fails."""
    command = (
        ["bash", "-eo", "pipefail", "-c", body] if language == "sh" else [sys.executable, "-W", "error", "-c", body]
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAKT_")} | {"PATH": path}
    done = subprocess.run(
        [*command, body], env=environment, cwd=folder, capture_output=True, text=True, timeout=_STEP_S_MAX, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tutorial")


def test_the_tutorial_shows_what_is_printed(folder: Path) -> None:
    shown = list(played(TUTORIAL, folder))
    assert [name for name, _, _ in shown] == ["make", "read", "notebook", "early", "later"]
    for name, said, real in shown:
        assert said == real, f"{name}: python -m tests.docs.test_tutorial writes what is printed"
    assert "Stop three" in (folder / "readout.html").read_text()


def test_the_readme_shows_what_is_printed_of_the_same_files(folder: Path) -> None:
    if not (folder / "customers.csv").exists():
        list(played(TUTORIAL, folder))
    shown = list(played(README, folder))
    assert len(shown) == 1
    for name, said, real in shown:
        assert said.strip(), name
        assert said in real, f"{name}: python -m tests.docs.test_tutorial writes what is printed"


def rewrite() -> None:
    """Write into both documents what is printed; of the README's, as many paragraphs from the same title on."""
    with tempfile.TemporaryDirectory() as name:
        for document in (TUTORIAL, README):
            text = document.read_text()
            for step, said, real in played(document, Path(name)):
                kept = real if document is TUTORIAL else _paragraph(real, said)
                head = f"<!-- shows: {step} -->\n```text\n"
                text = text.replace(f"{head}{said}```", f"{head}{kept}```")
            document.write_text(text)


def _paragraph(real: str, said: str) -> str:
    """The paragraph of the output that begins as what was shown."""
    title = said.splitlines()[0]
    return next(f"{each.rstrip()}\n" for each in real.split("\n\n") if each.startswith(title))


if __name__ == "__main__":
    rewrite()
