"""Errors on their way out: RFC 9457 problem details, the same for every route."""

from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from engine.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    InvalidAsk,
    MessageReused,
    NotFound,
    Problem,
    TaktError,
    Unauthenticated,
    Unavailable,
)

_STATUS: tuple[tuple[type[TaktError], int, str], ...] = (
    (Invalid, 422, "Invalid request"),
    (MessageReused, 422, "Message id in use"),
    (Conflict, 409, "Conflict"),
    (NotFound, 404, "Not found"),
    (Unauthenticated, 401, "Not authenticated"),
    (Forbidden, 403, "Not allowed"),
    (Unavailable, 503, "Cannot decide now"),
)
_LONGEST_FOUND = 120


def problem_of(error: TaktError) -> dict[str, Any]:
    """An error as a problem document."""
    status, title = next(
        ((status, title) for kind, status, title in _STATUS if isinstance(error, kind)), (500, "Fault")
    )
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
    return body


def problem_response(error: TaktError) -> Response:
    headers: dict[str, str] = {}
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    body = problem_of(error)
    return Response(orjson.dumps(body), body["status"], headers, "application/problem+json")


def invalid(error: ValidationError | RequestValidationError, prefix: str = "") -> InvalidAsk:
    """What Pydantic found, as problems that name the place, what was found and what was expected."""
    return InvalidAsk([_problem(dict(each), prefix) for each in error.errors()][:100])


def _problem(found: dict[str, Any], prefix: str) -> Problem:
    path = prefix
    for part in found["loc"]:
        if part in ("body", "query", "path"):
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    value = found.get("input")
    shown = "nothing" if found["type"] == "missing" else ascii(value)
    if len(shown) > _LONGEST_FOUND:
        shown = shown[:_LONGEST_FOUND] + "..."
    if found["type"] == "extra_forbidden":
        return Problem(path, shown, "no such field")
    message = str(found["msg"]).removeprefix("Value error, ")
    return Problem(path, shown, message[0].lower() + message[1:] if message else "something else")


async def on_takt_error(_request: Request, error: Exception) -> Response:
    return problem_response(error if isinstance(error, TaktError) else TaktError("a fault of Takt"))


async def on_invalid_request(_request: Request, error: Exception) -> Response:
    return problem_response(
        invalid(error) if isinstance(error, RequestValidationError) else TaktError("a fault of Takt")
    )


async def on_http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = str(error.detail) if isinstance(error, HTTPException) else "a fault of Takt"
    body = {"type": "about:blank", "title": detail, "status": status, "detail": detail, "code": "http"}
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return Response(orjson.dumps(body), status, headers, "application/problem+json")


async def on_fault(_request: Request, _error: Exception) -> Response:
    return problem_response(TaktError("this is a fault of Takt, and is logged"))
