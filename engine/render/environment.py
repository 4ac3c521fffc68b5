"""The templates of all pages, and what they say things by.

Whatever somebody once called a customer, a topic or an experiment is escaped; `page` leaves out what nobody can see.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from engine.render.style import as_written, visible

_VERBATIM: Final = re.compile(  # what people copy from a page, or send back
    "(" + "|".join(rf"<{each}\b.*?</{each}>" for each in ("pre", "textarea", "code")) + ")", re.DOTALL
)
FOLDER: Final = Path(__file__).parent / "templates"


@lru_cache(maxsize=1)
def templates() -> Environment:
    """Strict: a name that a template does not know is an error, not an empty place."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known = cast(dict[str, object], made.globals)  # pyright: ignore[reportUnknownMemberType]
    known["as_written"] = as_written  # for what a form sends back
    return made


def rendered(template: str, **values: Any) -> str:
    """A whole page, from `<!doctype html>` on. The same values give the same text."""
    html = templates().get_template(template).render(**values)
    parts = _VERBATIM.split(visible(html))
    parts[::2] = [each.replace(" %", "\N{NO-BREAK SPACE}%") for each in parts[::2]]
    return "".join(parts)
