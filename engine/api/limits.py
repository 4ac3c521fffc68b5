"""Bodies larger than the limit are refused before they are read, or as soon as they grow past it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.api.problems import problem_response
from engine.core.errors import TaktError


class BodyTooLarge(TaktError):
    """Raised while a body is read that exceeds the limit."""

    code = "body_too_large"


class BodyLimit:
    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        for name, value in scope["headers"]:
            if name == b"content-length" and (not value.isdigit() or int(value) > self._limit_bytes):
                await self._refuse(scope, receive, send)
                return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit_bytes:
                raise BodyTooLarge("the body is too large")
            return message

        await self._app(scope, counted, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem_response(BodyTooLarge(f"a body may have {self._limit_bytes} bytes"))
        response.status_code = 413
        await response(scope, receive, send)
