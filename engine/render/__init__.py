"""A readout as charts and as a page: Vega-Lite specs, SVG, self-contained HTML. It decides nothing."""

from engine.render.page import page
from engine.render.svg import ChartError, svg

__all__ = ["ChartError", "page", "svg"]
