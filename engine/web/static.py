"""The files that pages load: one style sheet, one script, an icon, and where a reader asks for it what lets charts
answer to a pointer. None changes while a process lives, and their addresses change with them, so a browser keeps them.
"""

import asyncio
import gzip
import hashlib
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response

from engine.render import explorer
from engine.render.frame import style_sheet

router = APIRouter(include_in_schema=False)
_FOLDER: Final = Path(__file__).parent / "files"
_SCRIPT: Final = (_FOLDER / "takt.js").read_text()
_ICON: Final = (_FOLDER / "icon.svg").read_text()
VERSION: Final = hashlib.sha256((style_sheet() + _SCRIPT + _ICON).encode()).hexdigest()[:12]
_READ: Final = ["GET", "HEAD"]
_KEPT: Final = {"Cache-Control": "public, max-age=31536000, immutable"}


def _file(request: Request, text: str, media_type: str) -> Response:
    """Kept for good under the address that names its version alone: while versions change, a page of one may be
    answered with a file of another."""
    return Response(text, headers=_KEPT if request.url.query == VERSION else None, media_type=media_type)


@router.api_route("/static/takt.css", methods=_READ)
async def css(request: Request) -> Response:
    return _file(request, style_sheet(), "text/css")


@router.api_route("/static/takt.js", methods=_READ)
async def script(request: Request) -> Response:
    return _file(request, _SCRIPT, "text/javascript")


@router.api_route("/static/icon.svg", methods=_READ)
async def icon(request: Request) -> Response:
    return _file(request, _ICON, "image/svg+xml")


@router.api_route(explorer.ADDRESS, methods=_READ)
async def vega(request: Request) -> Response:
    """Some 0.3 MB packed; its address names its version. Where no page began to make it, whoever asks waits."""
    packed = await asyncio.wrap_future(explorer.begun())
    headers = {**_KEPT, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, headers={**headers, "Content-Encoding": "gzip"}, media_type="text/javascript")
    return Response(gzip.decompress(packed), headers=headers, media_type="text/javascript")
