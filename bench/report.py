"""The table: what was measured, beside what, against which goal; on which machine and day."""

import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path


@dataclass
class Report:
    """Rows are printed as they come, and written at the end. `command` is what makes it."""

    command: str = "make bench"
    sections: list[tuple[str, list[tuple[str, str, str, str]]]] = field(
        default_factory=list[tuple[str, list[tuple[str, str, str, str]]]]
    )

    def section(self, title: str) -> None:
        self.sections.append((title, []))
        print(f"\n{title}")

    def row(self, what: str, measured: str, ratio: str = "", goal: str = "") -> None:
        self.sections[-1][1].append((what, measured, ratio, goal))
        print(f"  {what:<58} {measured:<34} {ratio:<24} {goal}")

    def markdown(self) -> str:
        lines = [
            "# Speed",
            "",
            f"Measured on {datetime.now(UTC):%Y-%m-%d} by `{self.command}`: {_machine()}. Whatever is"
            " measured shares these cores, the load, the service and PostgreSQL as well. Absolute figures are this"
            " machine's on that day; ratios are of peers measured in turn in the same run, the median of the rounds.",
        ]
        for title, rows in self.sections:
            lines += ["", f"## {title}", "", "| what | measured | ratio | goal |", "|---|---|---|---|"]
            lines += [f"| {what} | {measured} | {ratio} | {goal} |" for what, measured, ratio, goal in rows]
        return "\n".join(lines) + "\n"


def judged(value: float, goal: float, form: str, *, at_most: bool = False) -> str:
    """A goal, and by how much it was met or missed."""
    met = value <= goal if at_most else value >= goal
    share = value / goal - 1
    return f"{form.format(goal)}: {'met' if met else f'missed by {abs(share):.0%}'}"


def _machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({model}), {memory_gib:.0f} GiB, Python {platform.python_version()}"
