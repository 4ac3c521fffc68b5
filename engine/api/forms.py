"""Forms, as browsers and mail programs send them: their fields in order, or a refusal.

Small ones only: a form of this service has a few fields for each topic, and nobody needs a key to send one.
"""

from email.message import Message
from email.parser import HeaderParser
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request

from engine.api.problems import BodyTooLarge, UnsupportedMediaType

FORM_BYTES: Final = 512 * 1024
_FIELDS_MAX: Final = 4_000
_HEAD_BYTES: Final = 4_096  # of a part
_NAMES: Final = "expected application/x-www-form-urlencoded or multipart/form-data"


async def form_of(request: Request) -> list[tuple[str, str]]:
    """The fields of a form; raises `BodyTooLarge` or `UnsupportedMediaType`. A form without fields is an empty list."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            raise BodyTooLarge(f"found a form of more than {FORM_BYTES} bytes, expected at most those")
    kind = request.headers.get("content-type", "")
    name = kind.partition(";")[0].strip().lower()
    try:
        if name == "multipart/form-data":
            return _multipart(kind, bytes(body))
        if name in ("application/x-www-form-urlencoded", ""):
            return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict")
    except ValueError as error:  # of which those that are no text are one kind
        raise UnsupportedMediaType(f"found a form that cannot be read, {_NAMES}") from error
    raise UnsupportedMediaType(f"found a body of another kind, {_NAMES}")


def _multipart(kind: str, body: bytes) -> list[tuple[str, str]]:
    """The fields of a multipart form, files left out. Flat: a part is not looked into for further parts."""
    boundary = _headers(f"Content-Type: {kind}").get_boundary("")
    if not boundary:
        raise ValueError("no boundary")
    fields: list[tuple[str, str]] = []
    for part in (b"\r\n" + body).split(f"\r\n--{boundary}".encode())[1 : _FIELDS_MAX + 1]:
        if part.startswith(b"--"):
            break
        head, _, content = part.partition(b"\r\n\r\n")
        disposition = _headers(head[:_HEAD_BYTES].decode().strip())
        name = disposition.get_param("name", header="content-disposition")
        if isinstance(name, str) and disposition.get_filename() is None:
            fields.append((name, content.decode()))
    return fields


def _headers(text: str) -> Message:
    return HeaderParser().parsestr(text)
