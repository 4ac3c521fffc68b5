"""`takt analyze`: a table of customers and a plan in, and out comes the readout, as text, JSON and a page."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.app import app
from engine.cli.output import note

_File = Annotated[Path, typer.Argument(help="CSV or Parquet: one row a customer; with --events, the exposures.")]
_Plan = Annotated[Path, typer.Option(help="The plan of the experiment, YAML or JSON.")]
_Events = Annotated[Path | None, typer.Option(help="CSV or Parquet: one row an event.", metavar="FILE")]
_AsOf = Annotated[
    str | None, typer.Option(help="Read what happened before this date, such as 2026-11-02.", metavar="DATE")
]
_Json = Annotated[Path | None, typer.Option(help="Write the readout here, for programs.", metavar="OUT")]
_Html = Annotated[Path | None, typer.Option(help="Write it here as one page that opens anywhere.", metavar="OUT")]


@app.command(rich_help_panel="Experiments")
def analyze(
    file: _File, plan: _Plan, events: _Events = None, as_of: _AsOf = None, json: _Json = None, html: _Html = None
) -> None:
    """Read an experiment: the verdict, what changed for customers, and what could make it wrong.

    Reads the files where they are, and needs no service. What is written names no customer.

    Example: takt analyze customers.csv --plan plan.yaml --html readout.html
    """
    day = _day(as_of)
    _check_outputs([each for each in (file, plan, events) if each], [each for each in (json, html) if each])
    from experiments import Experiment
    from experiments import analyze as analyze_table  # they load numpy and Ibis, which no other command waits for

    readout = analyze_table(Experiment.from_yaml(plan), file, events, as_of=day)
    print(readout)
    if json is not None:
        json.write_text(readout.to_json(), encoding="utf-8")
    if html is not None:
        from engine.render.page import page

        html.write_text(page(readout), encoding="utf-8")
    for each in (json, html):
        if each is not None:
            note(f"-> {each}")


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"--as-of: {text!r} is not a date such as 2026-11-02") from None


def _check_outputs(read: list[Path], written: list[Path]) -> None:
    """A typing error must not overwrite what is analysed."""
    for place, each in enumerate(written):
        if each.absolute() in [other.absolute() for other in read]:
            raise typer.BadParameter(f"{each} would be overwritten: name another file")
        if each.absolute() in [other.absolute() for other in written[:place]]:
            raise typer.BadParameter("--json and --html name the same file")
