"""A Vega-Lite spec as SVG text: the same spec gives the same bytes, and nothing is ever fetched."""

import json

import vl_convert

from engine.core.errors import TaktError
from engine.render.style import Spec

VEGA_LITE = "6.4"


class ChartError(TaktError):
    """Raised where a spec is none that Vega-Lite can draw."""

    code = "chart"


def svg(spec: Spec) -> str:
    """The chart as one `<svg>` element. Names in it are escaped; it holds no script, no image and no address.

    Raises ChartError where the spec cannot be drawn, with the first line of the reason.
    """
    try:
        return vl_convert.vegalite_to_svg(json.dumps(spec, allow_nan=False), VEGA_LITE, allowed_base_urls=[])
    except ValueError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ChartError(f"the chart cannot be drawn: {' '.join(lines[:2]) or 'no reason is given'}") from None
