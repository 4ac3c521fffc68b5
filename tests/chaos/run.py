"""One run: a deployment, senders in a process of their own, a nemesis, and at the end the judgement.

A run may load the deployment several times; between two loads everything is mended and every sender has its definite
answers, and then the evidence so far is judged.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

from tests.chaos.evidence import Evidence, Violation
from tests.chaos.gather import gather
from tests.chaos.nemesis import Nemesis
from tests.chaos.oracle import judge
from tests.chaos.senders import DRAIN_US, Config
from tests.chaos.service import ROOT, Deployment

DRAIN_S = DRAIN_US / 1e6 + 30


@dataclass(frozen=True)
class Plan:
    """What a run is made of. `faults` of None are all there are, `()` none."""

    seed: int
    faults: tuple[str, ...] | None = None
    pause_s: tuple[float, float] = (0.3, 1.5)
    customers: int = 24
    senders: int = 24
    asks_per_s: float = 30.0


@dataclass
class Run:
    """A deployment under load, and what has been found of it."""

    deployment: Deployment
    folder: Path
    plan: Plan
    loads: int = 0
    evidence: Evidence = field(default_factory=Evidence)

    def load(self, seconds: float) -> None:
        """Senders and nemesis for this long; returns when every sender has its answers."""
        self.loads += 1
        plan = self.plan
        config = Config(
            folder=str(self.folder),
            prefix=f"r{self.loads}",
            seed=plan.seed,
            seconds=seconds,
            ports=self.deployment.ports,
            key=self.deployment.key,
            customers=plan.customers,
            senders=plan.senders,
            asks_per_s=plan.asks_per_s,
        )
        command = [sys.executable, "-m", "tests.chaos.workload", json.dumps(asdict(config))]
        senders = subprocess.Popen(command, cwd=ROOT)
        log = self.folder / "nemesis.jsonl"
        nemesis = Nemesis(self.deployment, log, f"{plan.seed}/{self.loads}", plan.faults)
        harm = _Thread(lambda: nemesis.run(plan.pause_s))
        harm.start()
        try:
            time.sleep(seconds)
            nemesis.stop()
            harm.finish()
            senders.wait(DRAIN_S)
        finally:
            nemesis.stop()
            harm.join()  # or it would go on starting what is being ended
            senders.kill()
            senders.wait()
        if senders.returncode:
            raise RuntimeError(f"the workload failed with {senders.returncode}")

    def judge(self) -> list[Violation]:
        self.evidence = gather(self.folder, self.deployment.url)
        return judge(self.evidence)


@contextmanager
def deployed(plan: Plan, *, keep: Path | None = None, **deployment: Any) -> Generator[Run]:
    """A run on a deployment of its own, in a scratch folder that is deleted afterwards, or in one to `keep`."""
    folder = Path(tempfile.mkdtemp(prefix="takt-chaos-")) if keep is None else keep
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: the logs of two runs must not be mixed")
    folder.chmod(0o711)  # PostgreSQL may run as another user and must reach its data
    try:
        with Deployment(folder, **deployment) as running:
            yield Run(running, folder, plan)
    finally:
        if keep is None:
            rmtree(folder, ignore_errors=True)


class _Thread(threading.Thread):
    """A thread whose error is raised by whoever waits for it."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def finish(self) -> None:
        self.join()
        if self._error is not None:
            raise self._error
