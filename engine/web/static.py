"""The files that pages load: one style sheet, one script, an icon. None changes while a process lives, and their
addresses change with them, so a browser keeps them.
"""

import hashlib
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Response

from engine.render.frame import style_sheet

router = APIRouter(include_in_schema=False)
_FOLDER: Final = Path(__file__).parent / "files"
_SCRIPT: Final = (_FOLDER / "takt.js").read_text()
_ICON: Final = (_FOLDER / "icon.svg").read_text()
VERSION: Final = hashlib.sha256((style_sheet() + _SCRIPT + _ICON).encode()).hexdigest()[:12]
_KEPT: Final = {"Cache-Control": "public, max-age=31536000, immutable"}


@router.get("/static/takt.css")
async def css() -> Response:
    return Response(style_sheet(), headers=_KEPT, media_type="text/css")


@router.get("/static/takt.js")
async def script() -> Response:
    return Response(_SCRIPT, headers=_KEPT, media_type="text/javascript")


@router.get("/static/icon.svg")
async def icon() -> Response:
    return Response(_ICON, headers=_KEPT, media_type="image/svg+xml")
