"""What stands around every page: where one is, who one is, what is paused, and the way to the rest.

Pages are whole without scripts, pictures and fonts of their own, and ask no other host for anything. Whatever somebody
once called a customer, a topic or an experiment is escaped, kept apart from the text around it, and shown without what
nobody can see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from markupsafe import Markup, escape

from engine.core.policy import Channel, Selector
from engine.core.rules import Pause
from engine.render.environment import rendered, templates
from engine.render.page import COLOURS
from engine.render.style import visible
from experiments.reporting import numbers


class Place(NamedTuple):
    """An entry of the navigation."""

    name: str
    path: str


PLACES: Final = (
    Place("Overview", "/"),
    Place("Experiments", "/experiments"),
    Place("Budgets", "/budgets"),
    Place("Programme", "/programme"),
    Place("Policy", "/policy"),
    Place("Customers", "/customers"),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """`title` names the page, `here` is the path of its entry in the navigation, `back` the page's own. `who` is None
    where nobody is signed in; `csrf` is what their forms bear. `version` changes with the files that pages load."""

    title: str
    now_us: int
    version: str
    here: str | None = None
    back: str = "/"
    who: str | None = None
    csrf: str = ""
    may_manage: bool = False
    is_demo: bool = False
    is_observing: bool = False
    ruleset: int | None = None
    topics: Sequence[str] = ()
    pauses: Sequence[Pause] = ()
    notice: str | None = None


def page(template: str, frame: Frame, **values: Any) -> str:
    """The whole page, from `<!doctype html>` on."""
    return rendered(f"pages/{template}", frame=frame, **{**_SAID, **values})


@lru_cache(maxsize=1)
def style_sheet() -> str:
    """The one style sheet of all pages: that of a readout, and what stands around it."""
    return "\n".join(templates().get_template(each).render(COLOURS) for each in ("readout.css", "pages/pages.css"))


def at(at_us: int | None, *, day: bool = False) -> Markup:
    """An instant: in UTC, which a script turns into the reader's own zone and keeps as what one sees on hovering."""
    if at_us is None:
        return Markup("&ndash;")
    instant = datetime.fromtimestamp(at_us // 1_000_000, UTC)
    text = f"{instant:%d %b %Y}" if day else f"{instant:%d %b %Y, %H:%M} UTC"
    shown = text.removeprefix("0")
    return Markup('<time datetime="{}" title="{}" data-show="{}">{}</time>').format(
        f"{instant:%Y-%m-%dT%H:%M:%SZ}", f"{instant:%Y-%m-%d %H:%M:%S} UTC", "day" if day else "minute", shown
    )


def day(on: date | str) -> str:
    """A day of a calendar, wherever one is: `5 Oct 2026`. A text is one as a plan's file has it."""
    return f"{date.fromisoformat(on) if isinstance(on, str) else on:%d %b %Y}".removeprefix("0")


def name(text: object) -> Markup:
    """A name that somebody gave: whatever direction it is written in, the text around it stays as it is."""
    return Markup("<bdi>{}</bdi>").format(visible(str(text)))


def stopped(pause: Pause) -> Markup:
    """What a pause stops, in words."""
    selected = _selected(pause.selector)
    return selected or escape("everything")


def _selected(selector: Selector) -> Markup:
    parts: list[Markup] = []
    for what, values in (
        ("", selector.channels),
        ("", selector.topics),
        ("campaign ", selector.campaigns),
        ("team ", selector.teams),
    ):
        if values is not None:
            parts.append(Markup(", ").join(Markup("{}{}").format(what, name(each)) for each in sorted(values)))
    return Markup("; ").join(parts)


_SAID: Final[Mapping[str, Any]] = {
    "places": PLACES,
    "channels": [each.value for each in Channel],
    "at": at,
    "day": day,
    "name": name,
    "stopped": stopped,
    "count": numbers.count,
    "plain": numbers.plain,
    "percent": numbers.percent,
}
