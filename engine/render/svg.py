"""A Vega-Lite spec as SVG or PNG: the same spec gives the same bytes, and nothing is ever fetched.

Drawing holds Python up for tens of milliseconds, the first time for seconds. What was drawn is kept, so that a service
can have a page's charts drawn elsewhere (`engine.render.drawing`) before it makes the page.
"""

import json
import re
from collections import OrderedDict
from importlib.metadata import version
from threading import Lock
from typing import Final

import vl_convert

from engine.core.errors import TaktError
from engine.render.style import Spec

VEGA_LITE = "6.4"
_KEPT_MAX: Final = 400  # of some 15 kB each, and as much for the spec
_FONT: Final = re.compile(r' font-family="[^"]*"')
_UNSEEN: Final = re.compile(
    r'<path class="(?:background|foreground)" aria-hidden="true" d="(?:|M0,0h0v0h0Z)"[^>]*/>'
    r'| (?:(?:aria-hidden|pointer-events|role|aria-roledescription|font-family)="[^"<>]*"|opacity="1")(?=[^<>]*>)'
)
_PLACES: Final = re.compile(r' (?:d|transform|x|y|x2|y2)="[^"<>]*"(?=[^<>]*>)')
_FRACTION: Final = re.compile(r"[0-9]+\.[0-9]{2,}")
_PAPER: Final = "#ffffff"
_drawn: OrderedDict[str, str] = OrderedDict()
_turn: Final = Lock()


class ChartError(TaktError):
    """Raised where a spec is none that Vega-Lite can draw."""

    code = "chart"


def svg(spec: Spec) -> str:
    """The chart as one `<svg>` element. Names in it are escaped; it holds no script, no image and no address.

    Raises ChartError where the spec cannot be drawn, with the first line of the reason.
    """
    text = as_text(spec)
    found = kept(text)
    if found is None:
        found = draw_svg(text)
        keep(text, found)
    return found


def as_text(spec: Spec) -> str:
    """A spec as the text by which what was drawn of it is kept. Raises ChartError for numbers that are none."""
    try:
        return json.dumps(spec, allow_nan=False)
    except ValueError as error:
        raise _refused(error) from None


def kept(text: str) -> str | None:
    """What was drawn of this spec, if it is still kept."""
    with _turn:
        if text in _drawn:
            _drawn.move_to_end(text)
        return _drawn.get(text)


def keep(text: str, drawn: str) -> None:
    with _turn:
        _drawn[text] = drawn
        while len(_drawn) > _KEPT_MAX:
            _drawn.popitem(last=False)


def draw_svg(text: str) -> str:
    """The chart of a spec's text, drawn here and now."""
    try:
        return _lean(vl_convert.vegalite_to_svg(text, VEGA_LITE, allowed_base_urls=[]))
    except ValueError as error:
        raise _refused(error) from None


def _lean(drawn: str) -> str:
    """Without what nobody sees, which is a third of it: empty shapes, words for machines that the page says in its own,
    the font at every text, and digits below a tenth of a pixel. Texts are not touched."""
    font = _FONT.search(drawn)
    drawn = _UNSEEN.sub("", drawn)
    if font:
        drawn = drawn.replace("<svg ", f"<svg{font[0]} ", 1)
    return _PLACES.sub(lambda found: _FRACTION.sub(_rounded, found[0]), drawn)


def _rounded(fraction: re.Match[str]) -> str:
    return f"{float(fraction[0]):.1f}".removesuffix(".0")


def draw_png(text: str, scale: float) -> bytes:
    """The same in pixels, on white, whatever the page around it was."""
    on_paper = json.dumps({**json.loads(text), "background": _PAPER, "padding": 12})
    try:
        return vl_convert.vegalite_to_png(on_paper, VEGA_LITE, scale=scale, allowed_base_urls=[])
    except ValueError as error:
        raise _refused(error) from None


def script(snippet: str) -> str:
    """What draws charts in a browser, Vega and all it needs, and then does what the snippet says."""
    return vl_convert.javascript_bundle(snippet, VEGA_LITE)


def script_version() -> str:
    """Changes with the script."""
    return f"{VEGA_LITE}-{version('vl-convert-python')}"


def _refused(error: ValueError) -> ChartError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ChartError(f"the chart cannot be drawn: {' '.join(lines[:2]) or 'no reason is given'}")
