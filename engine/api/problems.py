"""Errors on their way out: RFC 9457 problem details, the same for every route."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from engine.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    MessageReused,
    NotFound,
    Problem,
    TaktError,
    TooManyNames,
    Unauthenticated,
    Unavailable,
)
from engine.core.reading import PROBLEMS_MAX, described, join

PROBLEM_JSON: Final = "application/problem+json"
_ERRORS_LISTED: Final = 1_000


class BodyTooLarge(TaktError):
    """Raised when a body exceeds its limit, before it is read or as soon as it grows past it."""

    code = "body_too_large"


class UnsupportedMediaType(TaktError):
    """Raised when a body says that it is something other than plain JSON."""

    code = "unsupported_media_type"


class RepeatedKey:
    """Stands in a document for the value of a key that came twice. No field accepts it."""


class Kind(NamedTuple):
    """How a kind of error is answered."""

    error: type[TaktError]
    status: int
    title: str


KINDS: Final = (
    Kind(Invalid, 422, "Invalid request"),
    Kind(MessageReused, 422, "Message id in use"),
    Kind(TooManyNames, 422, "Too many names"),
    Kind(Conflict, 409, "Conflict"),
    Kind(NotFound, 404, "Not found"),
    Kind(Unauthenticated, 401, "Not authenticated"),
    Kind(Forbidden, 403, "Not allowed"),
    Kind(BodyTooLarge, 413, "Body too large"),
    Kind(UnsupportedMediaType, 415, "Not JSON"),
    Kind(Unavailable, 503, "Cannot decide now"),
    Kind(TaktError, 500, "Fault"),
)


def problem_of(error: TaktError) -> dict[str, Any]:
    """An error as a problem document."""
    _, status, title = next(kind for kind in KINDS if isinstance(error, kind.error))
    body: dict[str, Any] = {
        "type": f"urn:takt:{error.code}",
        "title": title,
        "status": status,
        "detail": error.message,
        "code": error.code,
    }
    if isinstance(error, Invalid):
        body["problems"] = [
            {"path": each.path, "found": each.found, "expected": each.expected, "line": each.line}
            for each in error.problems
        ]
    if isinstance(error, Unavailable):
        body["retry_after_s"] = error.retry_after_s
    return body


def problem_response(error: TaktError) -> Response:
    headers: dict[str, str] = {}
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    body = problem_of(error)
    return Response(orjson.dumps(body), body["status"], headers, PROBLEM_JSON)


def invalid(error: ValidationError | RequestValidationError, prefix: str = "") -> Invalid:
    """What Pydantic found, as problems that name the place, what was found and what was expected."""
    if isinstance(error, ValidationError):
        count = error.error_count()
        if count > _ERRORS_LISTED:  # to list a million would take seconds, in which nothing is decided
            return Invalid([Problem(prefix, f"{count} problems", "a document of this route's form")])
        found: Sequence[Any] = error.errors(include_url=False, include_context=False)
    else:
        found = error.errors()
    return Invalid([_problem(dict(each), prefix) for each in found[:PROBLEMS_MAX]])


def _problem(found: dict[str, Any], prefix: str) -> Problem:
    path = prefix
    for part in found["loc"]:
        if part not in ("body", "query", "path", "[key]"):
            path = join(path, part)
    value = found.get("input")
    shown = "this key twice" if isinstance(value, RepeatedKey) else described(value)
    if found["type"] == "missing":
        shown = "nothing"
    if found["type"] == "extra_forbidden":
        return Problem(path, shown, "no such field")
    message = str(found["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    return Problem(path, shown, message[0].lower() + message[1:] if message else "something else")


async def on_takt_error(request: Request, error: Exception) -> Response:
    known = error if isinstance(error, TaktError) else TaktError("this is a fault of Takt, and is logged")
    request.app.state.metrics.errors.labels(known.code).inc()
    return problem_response(known)


async def on_invalid_request(request: Request, error: Exception) -> Response:
    return await on_takt_error(request, invalid(error) if isinstance(error, RequestValidationError) else error)


async def on_http_error(request: Request, error: Exception) -> Response:
    status, detail, headers = 500, "a fault of Takt", dict[str, str]()
    if isinstance(error, HTTPException):
        status, detail, headers = error.status_code, str(error.detail), dict(error.headers or {})
    if status == 405:  # Starlette names the methods of one route of that path
        headers = {"Allow": ", ".join(sorted(_methods(request)))}
    body = {"type": "about:blank", "title": detail, "status": status, "detail": detail, "code": "http"}
    return Response(orjson.dumps(body), status, headers, PROBLEM_JSON)


def _methods(request: Request) -> set[str]:
    """Those of all routes that lead to the path of a request."""
    methods: set[str] = set()
    for route in request.app.state.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return methods
