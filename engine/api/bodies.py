"""JSON bodies, read strictly: what is wrong is refused with the name of its place.

Standard JSON in UTF-8, each key once. What JSON libraries quietly let through (NaN, lone surrogates, a key that comes
twice, whose last value would win) is refused here, field by field: in a batch it harms its own item alone.
"""

import json
from typing import Any, Final, NoReturn, TypeVar, cast

import orjson
from fastapi import Request
from pydantic import ValidationError

from engine.api.problems import RepeatedKey, UnsupportedMediaType, invalid
from engine.api.schemas import In
from engine.core.errors import Invalid, Problem
from engine.core.reading import described

M = TypeVar("M", bound=In)

FIELDS_MAX: Final = 1_000  # of one document or item, those of nested ones not counted
# What `curl -d` and hand-written clients say of their JSON; it is read as JSON whatever of these it is called.
_NAMES_OF_JSON: Final = ("application/json", "text/json", "text/plain", "application/x-www-form-urlencoded")


async def body_of(request: Request, model: type[M]) -> M:
    """The document that a request carries, as a model; raises `Invalid`, or what the body's limits say."""
    return validated(parsed(await read(request)), model)


async def read(request: Request) -> bytes:
    """The bytes of a body that may be JSON."""
    for name, value in request.scope["headers"]:  # once over all: each look into `request.headers` goes over them anew
        if name == b"content-type" and value != b"application/json":
            kind = value.decode("latin-1").partition(";")[0].strip().lower()
            if kind not in _NAMES_OF_JSON and not kind.endswith("+json"):
                raise UnsupportedMediaType(f"found a body of the type {described(kind)}, expected application/json")
        elif name == b"content-encoding":
            encoding = value.decode("latin-1").strip().lower()
            if encoding != "identity":
                raise UnsupportedMediaType(f"found a body encoded as {described(encoding)}, expected it as it is")
    return await request.body()


def parsed(body: bytes) -> object:
    """The JSON in a body. In place of a value whose key came twice stands one that nothing accepts."""
    try:
        data: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parsed_leniently(body)
    return _parsed_leniently(body) if _may_repeat_a_key(body, data) else data


def validated(data: object, model: type[M], prefix: str = "") -> M:
    """The data as a model; raises `Invalid` with the path of each problem."""
    if isinstance(data, dict) and len(cast("dict[str, object]", data)) > FIELDS_MAX:
        raise Invalid([Problem(prefix, described(cast("object", data)), f"at most {FIELDS_MAX} fields")])
    try:
        return cast("M", model.__pydantic_validator__.validate_python(data))
    except ValidationError as error:
        raise invalid(error, prefix) from None


def _parsed_leniently(body: bytes) -> object:
    """By Python's own parser, which lets more pass than it should: that is then refused where it stands."""
    try:
        return json.loads(body.decode(), object_pairs_hook=_without_repetition)
    except UnicodeDecodeError as error:
        _refuse(f"the byte 0x{body[error.start]:02x} at {error.start}", "text in UTF-8")
    except RecursionError:
        _refuse("more levels", "fewer, nested less deeply")
    except ValueError as error:
        _refuse("nothing" if not body.strip() else "something else", f"JSON ({error})")


def _refuse(found: str, expected: str) -> NoReturn:
    raise Invalid([Problem("", found, expected)]) from None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                document[key] = RepeatedKey()
            seen.add(key)
    return document


def _may_repeat_a_key(body: bytes, data: object) -> bool:
    """Whether the text has more colons than the data, written anew, has: each key brings one, and those of texts stand
    in both. Where one is written as its number the answer is yes, and the slower parser looks for itself."""
    if b"\\u003a" in body or b"\\u003A" in body:
        return True
    try:
        return body.count(b":") != orjson.dumps(data).count(b":")
    except orjson.JSONEncodeError:  # it reads more levels than it writes
        return True
