"""`takt why`: what was asked about a customer, what was answered and why, as a story in the customer's own time."""

from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from engine.cli.app import app
from engine.cli.connect import service
from engine.cli.output import as_json, wrapped

_VERDICTS = {"allow": "allowed", "defer": "deferred", "deny": "denied"}
_MOST = 1_000


@app.command(rich_help_panel="Ask")
def why(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="How many entries, the newest first.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print the customer and the journal as JSON.")] = False,
) -> None:
    """Why a customer was contacted or was not: asks, reasons, and what became of them, the newest first.

    Example: takt why ada --limit 5
    """
    with service() as client:
        profile = client.customer(customer)
        journal = client.decisions(customer, limit)
    if json:
        as_json({"customer": profile, **journal})
        return
    zone = _zone(profile["time_zone"])
    where = f"in {profile['time_zone']}" if zone else "without a time zone on file"
    print(wrapped(f"{customer}, {where}. The newest first."))
    known = {each["seq"]: each for each in journal["entries"] if each["entry"] == "contact"}
    for entry in journal["entries"]:
        print()
        for line, indent in _told(entry, known, zone):
            print(wrapped(line, indent))
    if journal["next_before"] is not None:
        print(f"\nThere is more: takt why {customer} --limit {min(limit * 5, _MOST)}")


def _told(entry: dict[str, Any], contacts: dict[int, dict[str, Any]], zone: tzinfo | None) -> list[tuple[str, int]]:
    """The lines of one entry, with their indents."""
    at = _time(entry["at"], zone)
    match entry["entry"]:
        case "resolution":
            contact = contacts.get(entry["contact_seq"])
            what = _message(contact) if contact else f"the contact of entry {entry['contact_seq']}"
            return [(f"{at}  {entry['became']}", 0), (what, 4)]
        case "change":
            return [(f"{at}  on file: {entry['changed']}", 0), *((each, 4) for each in _change(entry["to"]))]
        case _:
            return [(f"{at}  {_outcome(entry)}", 0), (_message(entry), 4), *_explained(entry, zone)]


def _outcome(entry: dict[str, Any]) -> str:
    if entry["entry"] == "contact" and entry["how"] != "asked":
        return entry["how"]
    verdict = _VERDICTS[entry["verdict"]]
    if entry["entry"] == "check":
        return f"{verdict} (only checked)"
    return f"{verdict}, attempt {entry['attempt']}" if entry["attempt"] > 1 else verdict


def _explained(entry: dict[str, Any], zone: tzinfo | None) -> list[tuple[str, int]]:
    lines = [(f"{each['rule']}: {each['text']}", 4) for each in entry["reasons"]]
    observed = entry["observed"]
    if observed is not None and observed != entry["verdict"]:
        lines.append((f"the policy only observed; enforced it would have {_VERDICTS[observed]} it", 4))
    if entry["retry_at"] is not None:
        sure = "" if entry["retry_certain"] else ", or earlier if a message on its way was given back"
        lines.append((f"the same ask would be allowed from {_time(entry['retry_at'], zone)}{sure}", 4))
    if entry["send_at"] is not None:
        lines.append((f"to be sent at {_time(entry['send_at'], zone)}", 4))
    if entry["entry"] == "contact" and entry["how"] == "asked":
        lines.append((f"held until {_time(entry['lease_expires_at'], zone)}", 4))
    return lines


def _message(entry: dict[str, Any]) -> str:
    parts = [entry["channel"], entry["topic"]]
    parts += [f"{name} {entry[name]}" for name in ("campaign", "team", "sender") if entry[name] is not None]
    parts += [f"weight {entry['weight']}"] if entry["weight"] != 1 else []
    parts += [f"message {entry['message_id']}"] if entry["message_id"] is not None else []
    return ", ".join(parts)


def _change(data: Any) -> list[str]:
    """What is on file after a change, a fact a line."""
    if isinstance(data, dict):
        facts = cast("dict[str, Any]", data)
        shown = [f"{name}: {_fact(value)}" for name, value in facts.items() if value]
        return shown or ["nothing is left"]
    return [_fact(data)]


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        facts = cast("dict[str, Any]", value)
        return ", ".join(f"{name} {each}" for name, each in facts.items() if each not in (None, ""))
    if isinstance(value, list):
        return "; ".join(map(_fact, cast("list[Any]", value)))
    return str(value)


def _time(text: str, zone: tzinfo | None) -> str:
    """An instant by the customer's wall clock and in UTC, whose date is named where it is another."""
    at = datetime.fromisoformat(text).astimezone(UTC)
    if zone is None:
        return f"{at:%a %Y-%m-%d %H:%M:%S} UTC"
    local = at.astimezone(zone)
    date = "" if local.date() == at.date() else f"{at:%a %Y-%m-%d} "
    return f"{local:%a %Y-%m-%d %H:%M:%S} ({date}{at:%H:%M:%S} UTC)"


def _zone(name: str | None) -> tzinfo | None:
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return None
