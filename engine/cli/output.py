"""What the command line prints: for people within 80 columns and without colours, for programs as JSON."""

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime

from engine.operations.start import Ready
from engine.settings import Settings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GAP = 2
_NARROWEST = 16


def banner(settings: Settings, ready: Ready) -> None:
    """Where the service is, the key, and a line to paste."""
    address = f"http://{settings.host}:{settings.port}"
    policy = f"ruleset {ready.ruleset}, {ready.policy_mode}" + (", just activated" if ready.is_new else "")
    print(f"Takt answers at {address}   (policy: {policy}; API: {address}/docs)")
    if ready.code is not None:
        print(f"Pages: {sign_in_link(address, ready.code)}")
    if ready.key is not None:
        print(f"Key: {ready.key}\n\nAsk:\n")
        print(f"curl -s {address}/v1/decisions -H 'Authorization: Bearer {ready.key}' -d '{_ASK}'\n")
    else:
        print("Make a key with: takt keys create --name crm --scope decide\n")
    print("Ctrl-C ends it; what is in the database stays.", flush=True)  # at once, also into a file or a log


def sign_in_link(address: str, code: str) -> str:
    """The address that signs in, and what it is good for."""
    return f"{address}/sign-in?code={code}   (signs in once, within ten minutes; another: takt sign-in)"


def note(text: str) -> None:
    """A remark beside the output, on stderr."""
    print(text, file=sys.stderr)


def as_json(data: object) -> None:
    """Data for programs, on stdout."""
    print(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def width() -> int:
    """Columns to fill: those of the terminal, and 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80


def wrapped(text: str, indent: int = 0) -> str:
    """Text in lines that fit, each indented. A word longer than a line stays whole, so that it can be copied."""
    margin = " " * indent
    lines = textwrap.wrap(
        text,
        max(width(), indent + _NARROWEST),
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines) or margin


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under their columns; the last column takes what is left, and wraps."""
    texts = [[str(each) for each in row] for row in rows]
    widths = [max(len(each) for each in column) for column in zip(columns, *texts, strict=True)]
    room = max(width() - sum(widths[:-1]) - _GAP * (len(widths) - 1), _NARROWEST)
    for row in (columns, *texts):
        start = (" " * _GAP).join(each.ljust(most) for each, most in zip(row[:-1], widths[:-1], strict=True))
        start += " " * _GAP if len(row) > 1 else ""
        last = textwrap.wrap(row[-1], room, break_long_words=False, break_on_hyphens=False) or [""]
        print((start + last[0]).rstrip())
        for more in last[1:]:
            print(" " * len(start) + more)


def minute(at_us: int | None) -> str:
    """An instant to the minute, in UTC."""
    if at_us is None:
        return "-"
    return f"{datetime.fromtimestamp(at_us // 1_000_000, UTC):%Y-%m-%d %H:%M} UTC"


def utc(at: datetime) -> str:
    """An instant to the second, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


_ASK = '{"message_id": "m-1", "customer_id": "ada", "channel": "email", "topic": "promotions"}'
