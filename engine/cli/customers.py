"""`takt customers`: bring in what is known about customers."""

import json
import math
import re
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, cast

import typer

from engine.cli.app import app
from engine.cli.connect import service
from engine.cli.imports import BadRow, Way, bring
from engine.cli.rows import Row, UnreadableFile
from engine.client import Filed

customers_app = typer.Typer(no_args_is_help=True, help="What is known about customers.")
app.add_typer(customers_app, name="customers", rich_help_panel="Data")

_LISTS = ("consents", "addresses")
_OWN = ("customer_id", "time_zone", *_LISTS)
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,15})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,15})\.[0-9]{1,15}")


@customers_app.command("import")
def import_customers(
    file: Annotated[str, typer.Argument(help="CSV, JSON lines or Parquet; - for stdin.")],
    text: Annotated[
        list[str] | None, typer.Option(help="A column of a CSV file that is text, as a postcode is.")
    ] = None,
    skip: Annotated[int, typer.Option(min=0, help="Rows to pass over: where an earlier import stopped.")] = 0,
) -> None:
    """Bring in customers, a row each: time zone, consents, addresses, attributes.

    Columns: customer_id, time_zone (as Europe/Berlin), consents and addresses (JSON
    lists, as the API takes them). Every other column is an attribute, and the
    attributes of a row replace those on file. An empty cell says nothing. In CSV,
    12, 1.5, true and false are numbers and truth values, unless --text names the
    column; 007 stays a text. It may be run again: what is on file stays as it is.

    Example: takt customers import customers.csv --text postcode
    """
    texts = frozenset(text or ())
    with service() as client:
        way = Way[dict[str, Any]](
            check_columns=_check_columns,
            item=lambda row: _customer(row, texts),
            send=client.put_customers,
            is_news=lambda filed: isinstance(filed, Filed) and filed.changed,
        )
        bring(file, skip, way)


def _check_columns(name: str, columns: Sequence[str]) -> None:
    if "customer_id" not in columns:
        raise UnreadableFile(f"{name} has no column customer_id: it has {', '.join(columns)[:200]}")


def _customer(row: Row, texts: frozenset[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"customer_id": identity(row.values.get("customer_id"))}
    attributes: dict[str, Any] = {}
    for name, value in row.values.items():
        if name not in _OWN and not is_nothing(value):
            attributes[name] = scalar_of(name, value, is_guessed=row.is_text and name not in texts)
    if row.values.keys() - set(_OWN):
        found["attributes"] = attributes
    if not is_nothing(row.values.get("time_zone")):
        found["time_zone"] = _text("time_zone", row.values["time_zone"])
    found |= {name: _list(name, row.values[name]) for name in _LISTS if not is_nothing(row.values.get(name))}
    return found


def identity(value: object, name: str = "customer_id") -> str:
    """A customer's or a message's id; whole numbers are taken as their digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise BadRow(f"{name}: found {'nothing' if is_nothing(value) else repr(value)[:80]}, expected an id")
    return value


def is_nothing(value: object) -> bool:
    """Whether a cell is empty, in any format's way of saying so."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def scalar_of(name: str, value: Any, *, is_guessed: bool) -> Any:
    """A cell as JSON has it; where formats know texts alone, what looks like a number or a truth value is one."""
    return _guessed(value) if is_guessed else _attribute(name, value)


def _guessed(value: str) -> Any:
    if _WHOLE.fullmatch(value) and abs(int(value)) <= 2**53:
        return int(value)
    if _DECIMAL.fullmatch(value):
        return float(value)
    return {"true": True, "false": False}.get(value, value)


def _attribute(name: str, value: object) -> Any:
    match value:
        case bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case Decimal() if value.is_finite():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            raise BadRow(f"{name}: found {repr(value)[:80]}, expected a text, a number, true or false")


def _list(name: str, value: object) -> object:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise BadRow(f"{name}: found something that is not JSON, expected a JSON list") from None
    if not isinstance(value, list):
        raise BadRow(f"{name}: expected a JSON list")
    return [_without_nothing(name, each) for each in cast("list[object]", value)]


def _without_nothing(name: str, item: object) -> object:
    """Parquet fills every field of a struct: what is null there was not given."""
    if not isinstance(item, dict):
        raise BadRow(f"{name}: found {repr(item)[:80]}, expected a JSON object")
    return {
        key: value if isinstance(value, datetime) else _attribute(name, value)
        for key, value in cast("dict[str, Any]", item).items()
        if value is not None
    }


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise BadRow(f"{name}: found {repr(value)[:80]}, expected a text")
