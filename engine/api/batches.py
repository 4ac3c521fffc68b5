"""Lists of items, each answered on its own: what is wrong with one harms no other."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import orjson
from fastapi import Response
from pydantic import BaseModel, ValidationError

from engine.api.problems import invalid, problem_of
from engine.api.schemas import MAX_BATCH
from engine.core.errors import InvalidAsk, Problem, TaktError
from engine.operations.batch import Command
from engine.operations.decider import Decider

M = TypeVar("M", bound=BaseModel)


def items_of(body: bytes, name: str) -> Sequence[object]:
    """The list of a batch's body, its items not looked at yet."""
    try:
        data: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        # Python's parser lets some strings and numbers pass that are then refused item by item.
        try:
            data = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidAsk([Problem("", "something that is not JSON", f"JSON ({error})")]) from None
    if not isinstance(data, dict) or set(cast("dict[str, object]", data)) != {name}:
        raise InvalidAsk([Problem("", "another document", f'{{"{name}": [...]}}')])
    items = cast("dict[str, object]", data)[name]
    if not isinstance(items, list):
        raise InvalidAsk([Problem(name, type(items).__name__, "a list")])
    count = len(cast("list[object]", items))
    if not 1 <= count <= MAX_BATCH:
        raise InvalidAsk([Problem(name, f"{count} items", f"1 to {MAX_BATCH:,} items")])
    return cast("list[object]", items)


def read_items(
    items: Sequence[object], name: str, model: type[M], results: list[Any], take: Callable[[M], None]
) -> list[int]:
    """Validate each item and `take` it; returns the places of those taken. Errors go to their place in `results`."""
    validate = model.__pydantic_validator__.validate_python
    places: list[int] = []
    for index, item in enumerate(items):
        try:
            take(validate(item))
        except ValidationError as error:
            results[index] = error_item(invalid(error, f"{name}[{index}]"))
        except TaktError as error:
            results[index] = error_item(error)
        else:
            places.append(index)
    return places


async def settle_items(
    decider: Decider,
    body: bytes,
    name: str,
    model: type[M],
    command_of: Callable[[M], Command],
    render: Callable[[Any], dict[str, Any]],
) -> Response:
    """Settle a batch of commands and answer each in its place."""
    items = items_of(body, name)
    results: list[Any] = [None] * len(items)
    commands: list[Command] = []
    places = read_items(items, name, model, results, lambda item: commands.append(command_of(item)))
    for place, answer in zip(places, await decider.settle_all(commands), strict=True):
        results[place] = error_item(answer) if isinstance(answer, TaktError) else render(answer)
    return json_response({"results": results})


def error_item(error: TaktError) -> dict[str, Any]:
    return {"error": problem_of(error)}


def json_response(data: object, status: int = 200) -> Response:
    return Response(orjson.dumps(data, option=orjson.OPT_UTC_Z), status, media_type="application/json")
