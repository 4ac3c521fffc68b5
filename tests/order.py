"""Which tests run together, and which first, where several processes share them (`pytest -n`)."""

from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling

# What takes longest begins first, so that no process is left alone with it in the end.
_FIRST: Final = (
    "tests/scenarios/",
    "tests/chaos/",
    "tests/calibration/",
    "tests/browser/",
    "tests/cli/",
    "tests/docs/",
    "tests/operations/",
    "tests/experiments/",
    "tests/demo/",
)
_ONE_PROCESS: Final = "tests/browser/"  # which share a demo, and a Chromium


class ByFile(LoadScopeScheduling):
    """The tests of a file go to one process and share what it sets up; those of a browser do so over all files."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", 1)[0]
        return _ONE_PROCESS if path.startswith(_ONE_PROCESS) else path


def in_order(items: list[pytest.Item]) -> None:
    """Sort the tests of the slow folders first, and leave everything else as it is."""
    rank = {folder: number for number, folder in enumerate(_FIRST)}
    items.sort(key=lambda item: next((rank[each] for each in _FIRST if item.nodeid.startswith(each)), len(rank)))
