"""`takt scheduler`: who leads, what ran and when, and one run of a job by hand."""

from typing import Annotated, Any

import typer

from engine.cli.app import FAILED, app
from engine.cli.connect import database
from engine.cli.output import as_json, minute, note, table
from engine.operations import jobs
from engine.operations.jobs import Standing, Status
from engine.settings import Settings
from engine.store.jobs import Run

scheduler_app = typer.Typer(no_args_is_help=True, help="Jobs: readouts, the complaint breaker, alarms, pruning.")
app.add_typer(scheduler_app, name="scheduler", rich_help_panel="Service")

_Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
_SECOND_US = 1_000_000


@scheduler_app.command()
def status(json: _Json = False) -> None:
    """Who leads, how each job ran last and when it runs next, and the newest alarms.

    Example: takt scheduler status
    """
    found = database(jobs.status)
    if json:
        as_json(_data(found))
        return
    note(f"Leader: {found.leader}" if found.leader else "Nobody leads: `takt serve` brings a scheduler along.")
    rows = [(each.job.name, _last(each.last), _age(each, found.now_us), minute(each.next_us)) for each in found.jobs]
    table(("job", "last run", "last done", "next"), rows)
    if found.alarms:
        print()
        alarms = [(minute(each.at_us), each.kind, each.subject, minute(each.sent_us)) for each in found.alarms]
        table(("alarm", "kind", "about", "told"), alarms)


@scheduler_app.command()
def run(
    name: Annotated[str, typer.Argument(help="The job: " + ", ".join(each.name for each in jobs.JOBS) + ".")],
    json: _Json = False,
) -> None:
    """Run a job once, now, whoever leads. Exits with 1 where it failed.

    Example: takt scheduler run readouts
    """
    job = jobs.job(name)
    ended = database(lambda opened: jobs.run_now(opened, Settings(), job))
    if json:
        as_json(_run_data(ended))
    else:
        print(f"{job.name}: {ended.outcome}: {ended.note}")
    if ended.outcome != "done":
        raise typer.Exit(FAILED)


def _last(run: Run | None) -> str:
    if run is None:
        return "never"
    if run.ended_us is None:
        return f"{minute(run.started_us)}, not ended"
    return f"{minute(run.started_us)}, {run.outcome}: {run.note}"


def _age(standing: Standing, now_us: int) -> str:
    """How long ago a run did what it should."""
    if standing.done is None or standing.done.ended_us is None:
        return "never"
    seconds = max(0, now_us - standing.done.ended_us) // _SECOND_US
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def _data(status: Status) -> dict[str, Any]:
    return {
        "leader": status.leader,
        "jobs": [
            {
                "job": each.job.name,
                "every_s": each.job.every_us // _SECOND_US,
                "about": each.job.about,
                "last": None if each.last is None else _run_data(each.last),
                "done": None if each.done is None else _run_data(each.done),
                "next_us": each.next_us,
            }
            for each in status.jobs
        ],
        "alarms": [each._asdict() for each in status.alarms],
        "alarms_waiting": status.alarms_waiting,
    }


def _run_data(run: Run) -> dict[str, Any]:
    return run._asdict()
