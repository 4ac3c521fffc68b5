"""The edge of the service: what every request is checked for, and every response carries.

Bodies over their limit are refused before they are read, or as soon as they grow past it. Paths keep a slash that is
part of an id apart from one that separates. A fault becomes a problem like any other error, and is logged by its place.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.api.problems import BodyTooLarge, problem_response
from engine.core.errors import Invalid, Problem, TaktError
from engine.operations.metrics import Metrics

LISTS: Final = frozenset(
    (
        "/v1/decisions/batch",
        "/v1/customers/batch",
        "/v1/contacts/confirm",
        "/v1/contacts/release",
        "/v1/contacts/record",
        "/v1/events",
    )
)
SINGLE_BYTES: Final = 4 * 1024 * 1024  # of one document; more than any that keeps within its own limits
_CONTENT_SECURITY: Final = b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", _CONTENT_SECURITY),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)

log = logging.getLogger("takt.api")


class Edge:
    """Wraps the whole application.

    `direct` are routes that take a request as it is: they are called from here. All that the framework does between
    (finding the route, three layers that would catch what is caught here) costs as much as half an ask.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, list_bytes: int, direct: Mapping[str, APIRoute]) -> None:
        self._app = app
        self._metrics = metrics
        self._list_bytes = list_bytes
        self._direct = direct

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        has_begun = False

        async def hardened(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                message["headers"] = _with_headers(message["headers"])
            await send(message)

        try:
            scope = _with_exact_path(scope)
            limited = self._limited(scope, receive)
            route = self._direct.get(scope["path"])
            if route is not None and scope["method"] == "POST":
                scope["route"] = route
                response: Response = await route.endpoint(Request(scope, limited))
                await response(scope, limited, hardened)
            else:
                await self._app(scope, limited, hardened)
        except ClientDisconnect:
            pass  # nobody is there to be answered, and nothing was asked whole
        except TaktError as error:
            self._metrics.errors.labels(error.code).inc()
            await problem_response(error)(scope, receive, hardened)
        except Exception:
            log.exception("a fault in %s", _route(scope))
            if not has_begun:
                fault = TaktError("this is a fault of Takt, and is logged")
                await problem_response(fault)(scope, receive, hardened)
        finally:
            self._metrics.latency_of(_route(scope)).observe(time.perf_counter() - began)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """The body, up to its limit; raises `BodyTooLarge`."""
        limit_bytes = self._list_bytes if scope["path"] in LISTS else min(SINGLE_BYTES, self._list_bytes)
        for name, value in scope["headers"]:
            if name == b"content-length" and (not value.isdigit() or int(value) > limit_bytes):
                raise BodyTooLarge(f"found a body of {value.decode()[:20]} bytes, expected at most {limit_bytes}")
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit_bytes:
                raise BodyTooLarge(f"found a body of more than {limit_bytes} bytes, expected at most those")
            return message

        return limited


def _with_headers(given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What a page says of itself stands: two policies at once would allow only what both do."""
    headers = list(given)
    said = {name for name, _ in headers}
    return [*headers, *(each for each in _HEADERS if each[0] not in said)]


def exact(segment: str) -> str:
    """A segment of the path as the client meant it: the inverse of what `Edge` does to keep segments apart."""
    return segment.replace("%2F", "/").replace("%25", "%")


def _with_exact_path(scope: Scope) -> Scope:
    """Segments are decoded one by one: a slash or a percent sign that belongs to an id stays encoded until `exact`."""
    raw: bytes = scope.get("raw_path") or b""
    if b"%" in raw:
        try:
            segments = [unquote(each, errors="strict") for each in raw.decode().split("/")]
        except UnicodeDecodeError:
            raise Invalid([Problem("path", "bytes that are no text", "UTF-8, percent-encoded")]) from None
        scope["path"] = "/".join(each.replace("%", "%25").replace("/", "%2F") for each in segments)
    return scope


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", "other")
