"""`takt events`: bring in what happened, from a file."""

import hashlib
import json
import math
from collections.abc import Sequence
from datetime import date, datetime, time, tzinfo
from decimal import Decimal
from typing import Annotated, Any, Final, cast

import typer

from engine.cli.app import app
from engine.cli.connect import service
from engine.cli.contacts import instant_of, label_of, zone_of
from engine.cli.customers import identity, is_nothing, scalar_of
from engine.cli.imports import BadRow, Way, bring
from engine.cli.output import note
from engine.cli.rows import Row, UnreadableFile

events_app = typer.Typer(no_args_is_help=True, help="What customers did, and what became of messages.")
app.add_typer(events_app, name="events", rich_help_panel="Data")

_LABELS: Final = ("channel", "topic", "campaign", "address", "bounce")
_NUMBERS: Final = ("value", "margin")
_OWN: Final = ("id", "source", "type", "at", "customer_id", "message_id", "suspect", "properties", *_LABELS, *_NUMBERS)


@events_app.command("import")
def import_events(
    file: Annotated[str, typer.Argument(help="CSV, JSON lines or Parquet; - for stdin.")],
    source: Annotated[str | None, typer.Option(help="Where the events are from, in a file that does not say.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="Their type, in a file that does not say.")] = None,
    zone: Annotated[str | None, typer.Option(help="The zone of times without an offset, as Europe/Berlin.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="A column to leave out; may be repeated.")] = None,
    skip: Annotated[int, typer.Option(min=0, help="Rows to pass over: where an earlier import stopped.")] = 0,
) -> None:
    """Bring in events, a row each, once however often the file is brought.

    Columns: type, at (2026-10-05T09:00:00Z), source, and customer_id, or address
    and channel; if you like id, topic, campaign, message_id, value, margin, bounce
    (hard or soft), suspect, properties (JSON). Every other column is a property.
    Without an id one is made of the row, so equal rows are one event.

    Example: takt events import purchases.csv --type purchase --source shop
    """
    told, left_out = zone_of(zone), frozenset(ignore or ())
    given = {name: value for name, value in (("source", source), ("type", kind)) if value is not None}
    waiting = unplaced = too_old = 0

    def check_columns(name: str, columns: Sequence[str]) -> None:
        missing = [each for each in ("type", "at", "source") if each not in columns and each not in given]
        if "customer_id" not in columns and not {"address", "channel"} <= set(columns):
            missing.append("customer_id (or address and channel)")
        if missing:
            raise UnreadableFile(f"{name} has no column {', '.join(missing)}: it has {', '.join(columns)[:200]}")

    def is_news(result: object) -> bool:
        nonlocal waiting, unplaced, too_old
        waiting += result == "unresolved"
        unplaced += result == "unplaced"
        too_old += result == "too_old"
        return result != "duplicate"

    with service() as client:
        way = Way[dict[str, Any]](
            check_columns=check_columns,
            item=lambda row: _event(row, given, told, left_out),
            send=client.bring_events,
            is_news=is_news,
        )
        try:
            bring(file, skip, way)
        finally:
            if waiting:
                note(f"{waiting:,} wait for the customer of their address: put it with the customer's `addresses`.")
            if unplaced:
                each = "does nothing: it names" if unplaced == 1 else "do nothing: they name"
                note(f"{unplaced:,} {each} no channel, and a message that nobody asked for.")
            if too_old:
                note(f"{too_old:,} of before what is kept of events: done is what they forbid or allow, and no more.")


def _event(row: Row, given: dict[str, str], zone: tzinfo | None, left_out: frozenset[str]) -> dict[str, Any]:
    values = {name: value for name, value in row.values.items() if name not in left_out and not is_nothing(value)}
    values = {**given, **values}
    for name in ("type", "at", "source"):
        if name not in values:
            raise BadRow(f"{name}: found nothing")
    event: dict[str, Any] = {name: label_of(name, values[name]) for name in ("source", "type")}
    event["at"] = instant_of(values["at"], zone)
    event |= {name: identity(values[name], name) for name in ("customer_id", "message_id") if name in values}
    event |= {name: label_of(name, values[name]) for name in _LABELS if name in values}
    event |= {name: _number(name, values[name]) for name in _NUMBERS if name in values}
    if "suspect" in values:
        event["suspect"] = _truth(values["suspect"])
    properties = _properties(values.get("properties"))
    for name, value in values.items():
        if name not in _OWN:
            properties[name] = scalar_of(name, value, is_guessed=True) if row.is_text else _plain(name, value)
    if properties:
        event["properties"] = properties
    event["id"] = identity(values["id"], "id") if "id" in values else _derived(event)
    return event


def _derived(event: dict[str, Any]) -> str:
    """An id that the same event has in every import, whatever the order of the columns."""
    packed = json.dumps(event, sort_keys=True, default=datetime.isoformat).encode()
    return f"import:{hashlib.sha256(packed).hexdigest()[:32]}"


def _number(name: str, value: object) -> float:
    try:
        if isinstance(value, str | int | float | Decimal) and not isinstance(value, bool):
            found = float(value)
            if math.isfinite(found):
                return found
    except (ValueError, OverflowError):
        pass
    raise BadRow(f"{name}: found {repr(value)[:80]}, expected a number")


def _truth(value: object) -> bool:
    found = {"true": True, "1": True, "false": False, "0": False}.get(str(value).strip().lower())
    if found is None:
        raise BadRow(f"suspect: found {repr(value)[:80]}, expected true or false")
    return found


def _properties(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise BadRow("properties: found something that is not JSON, expected a JSON object") from None
    if not isinstance(value, dict):
        raise BadRow("properties: expected a JSON object")
    return {name: _plain("properties", each) for name, each in cast("dict[str, Any]", value).items()}


def _plain(name: str, value: Any) -> Any:
    """A value of Parquet as JSON has it; a duration, or whatever else JSON has not, refuses the row."""
    match value:
        case None | bool() | int() | str():
            return value
        case dict():
            return {str(key): _plain(name, each) for key, each in cast("dict[Any, Any]", value).items()}
        case list():
            return [_plain(name, each) for each in cast("list[Any]", value)]
        case (key, each) if not hasattr(cast("object", value), "_fields"):  # a pair of a map, and no interval
            return [_plain(name, key), _plain(name, each)]
        case float() if math.isfinite(value):
            return value
        case Decimal() if value.is_finite():
            return float(value)
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            raise BadRow(f"{name}: found {repr(value)[:80]}, expected a text or a number; --ignore leaves a column out")
