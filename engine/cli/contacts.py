"""`takt contacts`: bring in the contacts there were before anybody asked Takt."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime, tzinfo
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from engine.cli.app import app
from engine.cli.connect import service
from engine.cli.customers import identity, is_nothing
from engine.cli.imports import BadRow, Way, bring
from engine.cli.rows import Row, UnreadableFile
from engine.client import Contact, Resolution
from engine.core.reading_values import on_clock

contacts_app = typer.Typer(no_args_is_help=True, help="Contacts that happened without an ask.")
app.add_typer(contacts_app, name="contacts", rich_help_panel="Data")

_NEEDED = ("customer_id", "channel", "topic", "at")
_MORE = ("campaign", "team", "sender", "message_id", "priority", "weight")


@contacts_app.command("import")
def import_contacts(
    file: Annotated[str, typer.Argument(help="CSV, JSON lines or Parquet; - for stdin.")],
    zone: Annotated[str | None, typer.Option(help="The zone of times without an offset, as Europe/Berlin.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="A column to leave out; may be repeated.")] = None,
    skip: Annotated[int, typer.Option(min=0, help="Rows to pass over: where an earlier import stopped.")] = 0,
) -> None:
    """Bring in the history of contacts, a row each, so that budgets know of it.

    Columns: customer_id, channel, topic, at (2026-10-05T09:00:00Z); and if you
    like campaign, team, sender, message_id, priority, weight. No contact is
    refused for a budget: all of them happened. Without a message_id one is made
    of the row, so equal rows are one contact, and a second import within 16 days
    (as long as message ids are remembered) charges nobody twice.

    Example: takt contacts import history.csv --zone Europe/Berlin
    """
    told = zone_of(zone)
    left_out = frozenset(ignore or ())

    def check_columns(name: str, columns: Sequence[str]) -> None:
        missing = [each for each in _NEEDED if each not in columns]
        if missing:
            raise UnreadableFile(f"{name} has no column {', '.join(missing)}: it has {', '.join(columns)[:200]}")
        others = [each for each in columns if each not in (*_NEEDED, *_MORE) and each not in left_out]
        if others:
            options = " ".join(f"--ignore {each}" for each in others)
            raise UnreadableFile(f"{name} has columns that a contact has not; leave them out with {options}")

    with service() as client:
        way = Way[Contact](
            check_columns=check_columns,
            item=lambda row: _contact(row, told, left_out),
            send=client.record_many,
            is_news=lambda resolution: isinstance(resolution, Resolution) and resolution.applied,
        )
        bring(file, skip, way)


def _contact(row: Row, zone: tzinfo | None, left_out: frozenset[str]) -> Contact:
    values = {name: value for name, value in row.values.items() if name not in left_out and not is_nothing(value)}
    unknown = [name for name in values if name not in (*_NEEDED, *_MORE)]
    if unknown:
        raise BadRow(f"{unknown[0]}: no such field; leave it out with --ignore {unknown[0]}")
    for name in _NEEDED:
        if name not in values:
            raise BadRow(f"{name}: found nothing")
    customer_id, at = identity(values["customer_id"]), instant_of(values["at"], zone)
    labels = {
        name: label_of(name, values[name])
        for name in ("channel", "topic", "campaign", "team", "sender")
        if name in values
    }
    message_id = identity(values["message_id"]) if "message_id" in values else _derived(customer_id, at, labels)
    return Contact(
        customer_id,
        message_id,
        labels["channel"],
        labels["topic"],
        at,
        labels.get("campaign"),
        labels.get("team"),
        labels.get("sender"),
        _number("priority", values.get("priority")),
        _number("weight", values.get("weight")),
    )


def _derived(customer_id: str, at: datetime, labels: dict[str, str]) -> str:
    """An id that the same contact has in every import, whatever the file's format and the order of its columns."""
    parts = [customer_id, at.astimezone(UTC).isoformat(), *(f"{name}={labels[name]}" for name in sorted(labels))]
    packed = b"".join(
        len(part.encode(errors="surrogatepass")).to_bytes(4, "big") + part.encode(errors="surrogatepass")
        for part in parts
    )
    return f"import:{hashlib.sha256(packed).hexdigest()[:32]}"


def instant_of(value: object, zone: tzinfo | None) -> datetime:
    """The `at` of a row, in `zone` where it has no offset."""
    at: datetime | None = None
    if isinstance(value, datetime):
        at = value
    elif isinstance(value, date):
        at = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - its zone is added below
    elif isinstance(value, str):
        try:
            at = datetime.fromisoformat(on_clock(value.strip()))
        except ValueError:
            at = None
    if at is None:
        raise BadRow(f"at: found {repr(value)[:80]}, expected an instant such as 2026-10-05T09:00:00Z")
    if at.tzinfo is None:
        if zone is None:
            raise BadRow(f"at: found {str(value)[:80]} without an offset: name its zone with --zone")
        at = at.replace(tzinfo=zone)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise BadRow(f"at: found {str(value)[:80]}, expected an instant between 1970 and 2190") from None


def label_of(name: str, value: object) -> str:
    """A text; whole numbers are taken as their digits."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise BadRow(f"{name}: found {repr(value)[:80]}, expected a text")


def _number(name: str, value: object) -> int | None:
    if is_nothing(value):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 10:
        return int(value)
    raise BadRow(f"{name}: found {repr(value)[:80]}, expected a whole number")


def zone_of(name: str | None) -> tzinfo | None:
    """The zone that an option names."""
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise typer.BadParameter(f"{name!r} is not a time zone such as Europe/Berlin") from None
