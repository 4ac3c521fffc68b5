"""`takt assign`: ids in, one a line, and out comes each with its variant, or with the reason why it has none.

A stream: memory does not grow with the number of ids. Needs no service and no database.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer

from engine.cli.app import app
from engine.cli.output import note
from engine.core.errors import TaktError

if TYPE_CHECKING:  # they load numpy, which no other command needs
    from experiments.assigning.assigned import Assignments
    from experiments.design import Experiment

_BLOCK_BYTES: Final = 1 << 20
_LINE_BYTES_MOST: Final = 1 << 16
_BOM: Final = b"\xef\xbb\xbf"
_TESTER: Final = "tester"

_Plan = Annotated[Path, typer.Option(help="The plan of the experiment, YAML or JSON.")]
_Stored = Annotated[
    Path | None, typer.Option(help="Variants assigned before, kept: a file as this command writes it.", metavar="FILE")
]
_Entered = Annotated[
    str | None, typer.Option(help="When these customers entered, as 2026-11-02: for a plan with phases.")
]
_InAudience = Annotated[bool, typer.Option("--in-audience", help="All these customers are in the plan's audience.")]


class UnreadableIds(TaktError):
    """Raised where a line is no id, or cannot be assigned: the sentence names the line."""

    code = "unreadable_ids"


@app.command(rich_help_panel="Experiments")
def assign(plan: _Plan, stored: _Stored = None, entered: _Entered = None, in_audience: _InAudience = False) -> None:
    """Say who is in which variant: ids on stdin, one a line, in any number.

    Each comes out as id, tab, variant. Without a variant that is empty, and a
    third column says why: holdout, other_slot (of the layer), not_in_traffic,
    audience_unknown. Testers have a variant and the word tester beside it: they
    are never analysed. The same id always gets the same answer.

    Example: takt assign --plan plan.yaml < ids.txt > assigned.tsv

    With a variant added to the plan, nobody moves who has one:

    takt assign --plan plan.yaml --stored assigned.tsv < ids.txt
    """
    from experiments.assigning.allocation import Allocation
    from experiments.design import Experiment

    day = _day(entered)
    read = Experiment.from_yaml(plan)
    if read.phases and day is None:
        raise UnreadableIds(f"{plan} has phases: --entered {read.phases[-1].start} says when these customers entered")
    if in_audience:
        read = replace(read, audience=())
    allocation = Allocation(read)
    kept = None if stored is None else _stored(stored)
    if sys.stdin.isatty():
        note("Ids, one a line; Ctrl-D ends.")
    for ids in _ids():
        sys.stdout.buffer.write(_lines(ids, allocation.assign_many(ids, kept, entered=day)).encode())
        sys.stdout.buffer.flush()
    _tell_audience(plan, read)


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"--entered: {text!r} is not a date such as 2026-11-02") from None


def _ids() -> Iterator[list[str]]:
    """The lines of stdin, as many at a time as have come."""
    source = cast("BufferedReader", sys.stdin.buffer)
    number, begun = 1, b""
    while block := source.read1(_BLOCK_BYTES):
        whole, newline, rest = block.rpartition(b"\n")
        if newline:
            ids = _checked(begun + whole, number)
            number += len(ids)
            yield ids
        begun = rest if newline else begun + block
        if len(begun) > _LINE_BYTES_MOST:
            raise UnreadableIds(f"stdin:{number}: the line is too long for an id")
    if begun:
        yield _checked(begun, number)


def _checked(lines: bytes, first: int) -> list[str]:
    """Ids from lines, of which the first has this number."""
    if first == 1:
        lines = lines.removeprefix(_BOM)
    try:
        text = lines.decode()
    except UnicodeDecodeError as error:
        place = first + lines.count(b"\n", 0, error.start)
        raise UnreadableIds(f"stdin:{place}: the line is not UTF-8") from None
    ids = text.split("\n")
    if "\r" in text:
        ids = [each.removesuffix("\r") for each in ids]
    if "\t" in text or "" in ids:
        place = next(i for i, each in enumerate(ids) if not each or "\t" in each)
        what = "holds a tab" if ids[place] else "is empty"
        raise UnreadableIds(f"stdin:{first + place}: the line {what}; one id a line is expected")
    return ids


def _lines(ids: list[str], found: "Assignments") -> str:
    """What is written of each: everything after the id depends on its variant and reason alone."""
    from experiments.assigning.assigned import REASONS, Reason

    ends: dict[tuple[int, int], str] = {}
    for code, name in enumerate((*found.names, "")):
        for reason_code, reason in enumerate(REASONS):
            says = reason.value if not name or reason is Reason.TESTER else ""
            ends[code if name else -1, reason_code] = f"\t{name}\t{says}\n" if says else f"\t{name}\n"
    keys = zip(found.codes.tolist(), found.reason_codes.tolist(), strict=True)
    return "".join([each + ends[key] for each, key in zip(ids, keys, strict=True)])


def _stored(path: Path) -> dict[str, str]:
    """The variants in a file that this command wrote; testers and those without one are left to the plan."""
    kept: dict[str, str] = {}
    with path.open(encoding="utf-8", newline="\n") as file:
        try:
            for number, line in enumerate(file, 1):
                unit, *columns = line.rstrip("\r\n").split("\t")
                if not 1 <= len(columns) <= 2 or not unit:
                    raise UnreadableIds(f"{path}:{number}: expected an id, a tab and a variant")
                if columns[0] and columns[1:] != [_TESTER]:
                    kept[unit] = columns[0]
        except UnicodeDecodeError:
            raise UnreadableIds(f"{path} is not UTF-8") from None
    return kept


def _tell_audience(path: Path, plan: "Experiment") -> None:
    if plan.audience:
        asked = ", ".join(each.attribute for each in plan.audience)
        note(
            f"{path} has an audience by {asked}, which ids do not tell; --in-audience says that all of these are in it."
        )
