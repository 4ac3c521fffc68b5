"""Lists of items, each answered on its own: what is wrong with one harms no other."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar, cast

import orjson
from fastapi import Request, Response

from engine.api.bodies import parsed, read, validated
from engine.api.problems import problem_of
from engine.api.schemas import MAX_BATCH, In
from engine.core.errors import Invalid, Problem, TaktError, Unavailable
from engine.core.reading import described
from engine.operations.batch import Command

M = TypeVar("M", bound=In)
C = TypeVar("C", bound=Command)

SLICE: Final = 100  # items read or rendered at a stretch: then others' single asks go first


async def items_of(request: Request, name: str) -> Sequence[object]:
    """The list in a batch's body, its items not looked at yet."""
    data = parsed(await read(request))
    if not isinstance(data, dict) or set(cast("dict[str, object]", data)) != {name}:
        raise Invalid([Problem("", described(cast("object", data)), f'{{"{name}": [...]}} and nothing else')])
    items = cast("dict[str, object]", data)[name]
    if not isinstance(items, list):
        raise Invalid([Problem(name, described(items), "a list")])
    return sized(cast("list[object]", items), name)


def sized(items: Sequence[object], name: str, at_least: int = 1) -> Sequence[object]:
    """The items, if they are not too many; raises `Invalid`."""
    if not at_least <= len(items) <= MAX_BATCH:
        raise Invalid([Problem(name, f"{len(items)} items", f"{at_least} to {MAX_BATCH:,} items")])
    return items


async def read_items(
    items: Sequence[object], name: str, model: type[M], results: list[Any], take: Callable[[M], None]
) -> list[int]:
    """Validate each item and `take` it; returns the places of those taken. Errors go to their place in `results`."""
    places: list[int] = []
    for index, item in enumerate(items):
        if index % SLICE == SLICE - 1:
            await asyncio.sleep(0)
        try:
            take(validated(item, model, f"{name}[{index}]"))
        except TaktError as error:
            results[index] = error
        else:
            places.append(index)
    return places


async def settle_items(
    request: Request,
    name: str,
    model: type[M],
    command_of: Callable[[M], C],
    render: Callable[[Any], dict[str, Any]],
    settle: Callable[[list[C]], Awaitable[list[object]]] | None = None,
) -> Response:
    """Settle a batch of commands (in the lanes, if not said how) and answer each in its place."""
    items = await items_of(request, name)
    results: list[Any] = [None] * len(items)
    commands: list[C] = []
    places = await read_items(items, name, model, results, lambda item: commands.append(command_of(item)))
    answers = await (settle or request.app.state.decider.settle_all)(commands)
    for place, answer in zip(places, answers, strict=True):
        results[place] = answer
    return await batch_response(request, "results", results, places, render)


async def batch_response(
    request: Request, name: str, results: Sequence[Any], places: Sequence[int], render: Callable[[Any], Any]
) -> Response:
    """The answers in their order, errors among them. Where nothing could be settled at all, that one error (503)."""
    if places and all(isinstance(results[place], Unavailable) for place in places):
        raise results[places[0]]
    errors = request.app.state.metrics.errors
    parts: list[bytes] = []
    for first in range(0, len(results), SLICE):
        data: list[Any] = []
        for each in results[first : first + SLICE]:
            if isinstance(each, TaktError):
                errors.labels(each.code).inc()
                data.append({"error": problem_of(each)})
            else:
                data.append(render(each))
        parts.append(_json(data)[1:-1])
        await asyncio.sleep(0)
    return Response(b'{"%b":[%b]}' % (name.encode(), b",".join(parts)), media_type="application/json")


def json_response(data: object, status: int = 200) -> Response:
    return Response(_json(data), status, media_type="application/json")


def _json(data: object) -> bytes:
    return orjson.dumps(data, option=orjson.OPT_UTC_Z)
