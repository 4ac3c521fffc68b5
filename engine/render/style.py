"""What all charts share: colours, type, and how names and numbers are brought to paper.

Every colour stands out by 3 to 1 or more from white as from the dark page, so that one chart does for both; none is
the only bearer of a meaning. Text is grey in the chart itself, and takes the page's own colour within a page.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from markupsafe import Markup, escape

from experiments.reporting.numbers import PEOPLE, Scale

Spec: TypeAlias = dict[str, Any]

SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"  # names the language; nothing is fetched from there
INK: Final = "#757575"
HAIR: Final = "#8884"
GOOD: Final = "#0f8b8d"
BAD: Final = "#d1603d"
OPEN: Final = "#7c8794"
CONTROL: Final = "#6f7b88"
TREATMENTS: Final = ("#1a7fc4", "#d9622b", "#8a63d2", "#4f8f3a", "#c2527a", "#a07a1f", "#0f8b8d")
DASHES: Final = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
TEXT_PX: Final = 12
SMALL_PX: Final = 11
FONT: Final = "system-ui, sans-serif"
NAME_MOST: Final = 28

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


class Size(NamedTuple):
    """How wide a chart is drawn. A narrow one says in more lines what a wide one says in one."""

    width_px: int
    is_narrow: bool = False


WIDE: Final = Size(720)
NARROW: Final = Size(340, is_narrow=True)


def spec(body: Spec, description: str) -> Spec:
    """A whole spec around the views of a chart. `description` is for whoever cannot see it."""
    return {
        "$schema": SCHEMA,
        "description": visible(description),
        "background": None,
        "padding": {"left": 0, "right": 0, "top": 4, "bottom": 4},
        **body,
        "config": {
            "font": FONT,
            "aria": False,  # the page says in its own words what a chart shows, and has the numbers in a table
            "view": {"stroke": None},
            "text": {"fill": INK, "fontSize": TEXT_PX},
            "axis": {
                "labelColor": INK,
                "titleColor": INK,
                "labelFontSize": SMALL_PX,
                "titleFontSize": SMALL_PX,
                "titleFontWeight": "normal",
                "domainColor": HAIR,
                "tickColor": HAIR,
                "gridColor": HAIR,
            },
            "legend": {"labelColor": INK, "labelFontSize": TEXT_PX, "labelLimit": 0, "title": None},
        },
    }


def visible(text: str) -> str:
    """The text without what nobody can see and what turns the text around it: each such character shows as a sign.

    >>> visible("one\u202etwo")
    'one\ufffdtwo'
    """
    return _UNSEEN.sub("\ufffd", text)


def as_written(text: str) -> Markup:
    """The text for a field that is sent back: escaped, and with references for what `rendered` would change.

    >>> as_written('<one\u202etwo, 5 %')
    Markup('&lt;one&#8238;two, 5 &#37;')
    """
    kept = _UNSEEN.sub(lambda found: f"&#{ord(found[0])};", str(escape(text))).replace("%", "&#37;")
    return Markup(kept)  # noqa: S704 (it is escaped)


def short(name: str, most: int = NAME_MOST) -> str:
    """A name as a chart has room for it; tables have all of it."""
    name = " ".join(visible(name).split())
    return name if len(name) <= most else f"{name[: most - 1].rstrip()}…"


def labels(names: Iterable[str], most: int = NAME_MOST) -> dict[str, str]:
    """Short names that differ as the names do, and none of them empty."""
    found: dict[str, str] = {}
    for name in names:
        label = short(name, most) or "?"
        number = 2
        while label in found.values():
            label = f"{short(name, most - 4)} ({number})"
            number += 1
        found[name] = label
    return found


def colour(place: int) -> str:
    """The colour of the variant in this place; place 0 is the control's."""
    return TREATMENTS[(place - 1) % len(TREATMENTS)] if place else CONTROL


def dash(place: int) -> Sequence[int]:
    """How its line is drawn: where there are more variants than colours, by another dash."""
    return DASHES[(place - 1) // len(TREATMENTS) % len(DASHES)] if place else DASHES[0]


def scaled(value: float, scale: Scale) -> float:
    """A number as people read it: shares of customers are counted in 10,000."""
    return value * PEOPLE if scale is Scale.SHARE else value
