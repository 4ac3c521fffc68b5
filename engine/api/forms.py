"""Forms, as browsers and mail programs send them: their fields in order, or a refusal.

Small ones only: a form of this service has a few fields for each topic, and nobody needs a key to send one.
"""

from email import policy
from email.parser import BytesParser
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request

from engine.api.problems import BodyTooLarge, UnsupportedMediaType

FORM_BYTES: Final = 512 * 1024
_FIELDS_MAX: Final = 4_000
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
    """The fields of a multipart form, files left out."""
    head = f"Content-Type: {kind}\r\n\r\n".encode("latin-1")
    fields: list[tuple[str, str]] = []
    for part in BytesParser(policy=policy.HTTP).parsebytes(head + body).iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes) and part.get_filename() is None:
            fields.append((name, content.decode().removesuffix("\r\n")))
        if len(fields) > _FIELDS_MAX:
            raise ValueError("too many fields")
    return fields
