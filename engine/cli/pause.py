"""`takt pause`: stop contacts at once, see what is stopped, let them go on."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from engine.cli.app import app
from engine.cli.arguments import instant, seconds
from engine.cli.connect import service
from engine.cli.output import as_json, note, table, utc

pause_app = typer.Typer(no_args_is_help=True, help="Stop contacts at once, in every process.")
app.add_typer(pause_app, name="pause", rich_help_panel="Rules")

_SELECTED = ("channels", "topics", "campaigns", "teams")
_JSON = typer.Option("--json", help="Print the pauses as JSON.")


@pause_app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it: lowercase letters, digits, - _ .")],
    channel: Annotated[list[str] | None, typer.Option(help="Only this channel; may be repeated.")] = None,
    topic: Annotated[list[str] | None, typer.Option(help="Only this topic; may be repeated.")] = None,
    campaign: Annotated[list[str] | None, typer.Option(help="Only this campaign; may be repeated.")] = None,
    team: Annotated[list[str] | None, typer.Option(help="Only this team; may be repeated.")] = None,
    until: Annotated[str | None, typer.Option(help="When it ends by itself: 2026-10-05T18:00:00Z.")] = None,
    lasting: Annotated[str | None, typer.Option("--for", help="How long it lasts: 2h.")] = None,
    json: Annotated[bool, _JSON] = False,
) -> None:
    """Stop what is named, everything if nothing is. Exempt topics pass.

    Example: takt pause add outage --channel email --channel push --for 2h
    """
    if until is not None and lasting is not None:
        raise typer.BadParameter("--until and --for say the same: give one of them")
    ends = instant(until) if until is not None else None
    if lasting is not None:
        ends = datetime.now(UTC) + timedelta(seconds=seconds(lasting))
    named = {"channels": channel, "topics": topic, "campaigns": campaign, "teams": team, "until": ends}
    with service() as client:
        activation = client.add_pause({"name": name, **{key: value for key, value in named.items() if value}})
    _show(activation["pauses"], json)


@pause_app.command("list")
def list_pauses(json: Annotated[bool, _JSON] = False) -> None:
    """What is paused now.

    Example: takt pause list
    """
    with service() as client:
        in_force = client.policies()["in_force"]
    _show([] if in_force is None else in_force["pauses"], json)


@pause_app.command()
def end(name: Annotated[str, typer.Argument(help="The pause to end.")], json: Annotated[bool, _JSON] = False) -> None:
    """Let contacts go on.

    Example: takt pause end outage
    """
    with service() as client:
        activation = client.end_pause(name)
    _show(activation["pauses"], json)


def _show(pauses: list[dict[str, Any]], json: bool) -> None:
    if json:
        as_json(pauses)
    elif not pauses:
        note("Nothing is paused.")
    else:
        table(("pause", "until", "stops"), [(each["name"], _until(each), _stops(each)) for each in pauses])


def _until(pause: dict[str, Any]) -> str:
    if pause["until"] is not None:
        return utc(datetime.fromisoformat(pause["until"]))
    return "calm for a day (complaint breaker)" if pause["is_breaker"] else "ended by hand"


def _stops(pause: dict[str, Any]) -> str:
    parts = [f"{name} {', '.join(pause[name])}" for name in _SELECTED if pause[name]]
    return "; ".join(parts) or "everything"
