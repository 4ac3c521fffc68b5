"""The ways in which events come over HTTP: Takt's own form, and CloudEvents structured, binary and as a batch.

Each way leads to items that are read one by one, and to the names under which an item's fields are known to its sender.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast
from urllib.parse import unquote

from fastapi import Request

from engine.api.batches import sized
from engine.api.bodies import parsed, read
from engine.api.event_schemas import CloudEventIn, EventIn
from engine.core.errors import Invalid, Problem
from engine.core.reading import described, join

_STRUCTURED: Final = "application/cloudevents+json"
_BATCH: Final = "application/cloudevents-batch+json"
_ATTRIBUTE: Final = "ce-"
_SCREENED: Final = re.compile(r'^"(.*)"$')


class Form(NamedTuple):
    """The items of a request. `is_list`: an item is answered in its place, whatever is wrong with it.

    `list_name` is the path of the list, `at` the name of an event's time, `data` what leads to its other fields.
    """

    items: Sequence[object]
    model: type[EventIn | CloudEventIn]
    is_list: bool
    list_name: str
    at: str
    data: str

    def place(self, index: int) -> str:
        return f"{self.list_name}[{index}]" if self.is_list else ""


async def form_of(request: Request) -> Form:
    """The events of a request, not looked at one by one yet; raises what is wrong with the request as a whole."""
    body = await read(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == _BATCH:
        items = parsed(body)
        if not isinstance(items, list):
            raise Invalid([Problem("", described(items), "a list of CloudEvents")])
        listed = cast("list[object]", items)
        return Form(sized(listed, "", at_least=0), CloudEventIn, True, "", "time", "data.")
    if kind == _STRUCTURED:
        return Form([parsed(body)], CloudEventIn, False, "", "time", "data.")
    if any(name.startswith(b"ce-") for name, _ in request.scope["headers"]):
        return Form([_binary(request, body)], CloudEventIn, False, "", "time", "data.")
    data = parsed(body)
    if not isinstance(data, dict) or "events" not in data:
        return Form([data], EventIn, False, "", "at", "")
    document = cast("dict[str, object]", data)
    others = [name for name in document if name != "events"]
    if others:
        raise Invalid([Problem(join("", others[0]), described(document[others[0]]), "no such field beside `events`")])
    items = document["events"]
    if not isinstance(items, list):
        raise Invalid([Problem("events", described(items), "a list")])
    return Form(sized(cast("list[object]", items), "events"), EventIn, True, "events", "at", "")


def _binary(request: Request, body: bytes) -> dict[str, Any]:
    """Attributes are headers, percent-encoded (HTTP binding of CloudEvents 1.0, 3.1.3); the body is the data."""
    found: dict[str, Any] = {}
    for name, value in request.headers.items():
        if not name.startswith(_ATTRIBUTE):
            continue
        attribute = name.removeprefix(_ATTRIBUTE)
        if attribute in found:
            raise Invalid([Problem(attribute, "this header twice", "each attribute once")])
        try:
            found[attribute] = unquote(_SCREENED.sub(r"\1", value.strip()), errors="strict")
        except UnicodeDecodeError:
            raise Invalid([Problem(attribute, "bytes that are no text", "UTF-8, percent-encoded")]) from None
    found.pop("data", None)
    found.pop("data_base64", None)
    if body:
        found["data"] = parsed(body)
    return found
