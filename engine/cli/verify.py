"""`takt verify`: whether the journal, the accounts and the decisions agree."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from engine.cli.app import FAILED, app
from engine.cli.connect import database
from engine.cli.output import as_json, note, wrapped
from engine.operations.replay import Finding
from engine.operations.verify import Report, verify

_SHOWN = 20


@app.command("verify", rich_help_panel="Service")
def verify_command(
    customer: Annotated[list[str] | None, typer.Argument(help="Only these customers; all if none is named.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Tell every customer's journal again, and compare it with the accounts and the answers given.

    Reads only, beside the running service. Exits with 1 if anything does not agree.

    Example: takt verify
    """

    def progress(report: Report) -> None:
        if sys.stderr.isatty():
            print(f"\r{report.customers:,} customers, {report.faults:,} faults", end="", file=sys.stderr, flush=True)

    report = database(lambda opened: verify(opened, customers=customer or None, progress=progress))
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if json:
        as_json(asdict(report))
    else:
        _show(report)
    if not report.is_clean:
        raise typer.Exit(FAILED)


def _show(report: Report) -> None:
    skipped = f", {report.skipped:,} could not be made again" if report.skipped else ""
    print(
        wrapped(
            f"{report.customers:,} customers, {report.entries:,} journal entries, {report.decisions:,} decisions made"
            f" again{skipped}: {f'{report.faults:,} do not agree' if report.faults else 'all agree'}."
        )
    )
    _list(report.findings, report.faults)
    if report.ahead_count:
        print(wrapped(f"A clock once ran ahead of {report.ahead_count:,} customers; their time stands still:"))
        _list(report.ahead, report.ahead_count)


def _list(findings: tuple[Finding, ...], count: int) -> None:
    for each in findings[:_SHOWN]:
        print(wrapped(str(each), 2))
    if count > _SHOWN:
        note(f"  and {count - _SHOWN:,} more (--json shows up to 1,000)")
