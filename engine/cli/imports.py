"""Rows of a file into Takt, batch by batch over HTTP: what is wrong with one row harms no other, and is told.

Flat memory; a bar on a terminal. Every row is harmless to bring twice, so an import that broke off may be run again.
"""

import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from engine.cli.app import FAILED, INTERRUPTED, TERMINATED
from engine.cli.output import note
from engine.cli.rows import Bad, Row, Rows, UnreadableFile, read_rows
from engine.client import Problem, TaktUnavailable

SHOWN = 20
_BATCH = 5_000

T = TypeVar("T")


class BadRow(Exception):
    """A row is not what it should be; the message says in what."""


class _Stopped(Exception):
    """Takt gives no answers any more."""


class _Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@dataclass
class Tally:
    """What became of the rows. `read` counts them all, from the first of the file; `settled` those that are through.
    `bad` counts lines, of which a row that cannot be read may take in many; `shown` and `hidden` are what was said."""

    name: str
    read: int = 0
    settled: int = 0
    done: int = 0
    news: int = 0
    bad: int = 0
    shown: int = 0
    hidden: int = 0

    def refuse(self, bad: Bad) -> None:
        self.bad += bad.lines
        if self.shown < SHOWN:
            self.shown += 1
            note(f"{bad.place}: {bad.why}")
        else:
            self.hidden += bad.lines

    def __str__(self) -> str:
        known = self.done - self.news
        return (
            f"{self.name}: {self.done:,} {'row' if self.done == 1 else 'rows'} brought in"
            + (f", of which {known:,} changed nothing" if known else "")
            + (f"; {self.bad:,} refused" if self.bad else "")
            + "."
        )


@dataclass(frozen=True)
class Way(Generic[T]):
    """How rows become what Takt takes. `is_news`: whether a result changed anything."""

    check_columns: Callable[[str, Sequence[str]], None]
    item: Callable[[Row], T]
    send: Callable[[list[T]], Sequence[object]]
    is_news: Callable[[object], bool]


def bring(file: str, skip: int, way: Way[T]) -> None:
    """Bring a file in, and exit with 1 where a row was refused."""
    with read_rows(file) as rows:
        if rows.columns is not None:
            way.check_columns(rows.name, rows.columns)
        tally = Tally(rows.name)
        try:
            with _terminable(), _bar(rows) as advance:
                _bring(rows.rows, skip, way, tally, advance)
        except KeyboardInterrupt as stop:
            is_term = isinstance(stop, _Terminated)
            _stop(tally, file, "takt: terminated" if is_term else "takt: interrupted")
            raise typer.Exit(TERMINATED if is_term else INTERRUPTED) from None
        except (_Stopped, TaktUnavailable, UnreadableFile) as error:
            _stop(tally, file, f"takt: {error}")
            raise typer.Exit(FAILED) from None
        except Exception:
            _stop(tally, file)  # a fault must not hide what was brought in
            raise
    if tally.hidden:
        note(f"... and {tally.hidden:,} more.")
    print(tally)
    if tally.bad:
        raise typer.Exit(FAILED)


def _bring(rows: Iterator[Row | Bad], skip: int, way: Way[T], tally: Tally, advance: Callable[[], None]) -> None:
    batch: list[tuple[str, T]] = []
    try:
        for row in rows:
            tally.read += 1
            if tally.read <= skip:
                tally.settled += 1
                continue
            taken = _take(row, way)
            if isinstance(taken, Bad):
                tally.refuse(taken)
                continue
            batch.append((row.place, taken))
            if len(batch) == _BATCH:
                _send(batch, way, tally)
                batch = []
                advance()
    except UnreadableFile:
        _send(batch, way, tally)  # what could be read is brought in
        raise
    _send(batch, way, tally)
    advance()


def _take(row: Row | Bad, way: Way[T]) -> T | Bad:
    if isinstance(row, Bad):
        return row
    try:
        return way.item(row)
    except BadRow as error:
        return Bad(row.place, str(error))
    except RecursionError:
        return Bad(row.place, "something in the row is nested too deeply")


def _send(batch: list[tuple[str, T]], way: Way[T], tally: Tally) -> None:
    if not batch:
        tally.settled = tally.read
        return
    unavailable: Problem | None = None
    for (place, _), result in zip(batch, way.send([item for _, item in batch]), strict=True):
        if not isinstance(result, Problem):
            tally.done += 1
            tally.news += way.is_news(result)
        elif result.is_unavailability:
            unavailable = result
        else:
            tally.refuse(Bad(place, str(result)))
    if unavailable is not None:
        raise _Stopped(str(unavailable))
    tally.settled = tally.read


def _stop(tally: Tally, file: str, why: str | None = None) -> None:
    if why is not None:
        note(why)
    note(str(tally))
    if file != "-":
        note(f"Run it again to go on, from where it stopped with --skip {tally.settled}: no row counts twice.")


@contextmanager
def _terminable() -> Generator[None]:
    """SIGTERM ends an import as Ctrl-C does: with what became of it, and how to go on."""

    def stop(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _bar(rows: Rows) -> Generator[Callable[[], None]]:
    """A bar on stderr, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(rows.name, total=rows.size)
        yield lambda: progress.update(task, completed=rows.position())
