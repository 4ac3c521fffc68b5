"""The programme: what came of everything that was tried, null and harmful ones too; and the same as a table to keep."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Final

from markupsafe import Markup

from engine.core.cells import as_csv
from engine.render.frame import Frame, page
from engine.render.page import CALLS, breakable
from engine.store.programme import Effect, Result, Total
from experiments.reporting import numbers
from experiments.reporting.endings import Ending
from experiments.reporting.numbers import Scale
from experiments.reporting.verdicts import Call

ENDINGS: Final[Mapping[Ending, tuple[str, str, str]]] = {  # of results: (a badge, its tone, what a sentence counts)
    Ending.WAITING: ("waits for a decision", "open", ""),
    Ending.SHIPPED: ("shipped", "good", "shipped"),
    Ending.BETTER: ("better, not shipped", "open", "better and not shipped"),
    Ending.NULL: ("no effect shown", "open", "without an effect that could be shown"),
    Ending.HARMFUL: ("harmful", "bad", "harmful"),
    Ending.INVALID: ("not comparable", "bad", "not comparable"),
    Ending.UNDECIDED: ("undecided", "open", "ended undecided"),
}
COLUMNS: Final = (
    "experiment", "result", "variant", "verdict", "metric", "title", "role", "effect", "low", "high", "unit",
    "customers", "started", "ended", "read", "shipped", "decided_by", "note", "hypothesis",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tried:
    """All that the page is about. `results` are shown: those that ended as `kind`, where it is given. `counts` are of
    all of them. `best` is the holdout that tells of most ships, which are `ships`; `due_us` when one is read next."""

    results: Sequence[Result]
    kind: Ending | None
    counts: Mapping[Ending, int]
    is_cut: bool
    running: int
    totals: Sequence[Total]
    best: Total | None
    ships: Sequence[Total]
    due_us: int | None


def counted(results: Sequence[Result]) -> dict[Ending, int]:
    """How many ended in which way, in the order in which people ask for them."""
    found = Counter(each.ending for each in results)
    return {each: found[each] for each in ENDINGS if found[each]}


def programme_page(frame: Frame, tried: Tried) -> str:
    return page(
        "programme.html",
        frame,
        tried=tried,
        endings=ENDINGS,
        lead=_lead(tried.counts),
        calls=CALLS,
        effect_text=effect_text,
        breakable=breakable,
        small_call=_small_call,
    )


def programme_csv(results: Sequence[Result]) -> str:
    """A row for each effect that a verdict rests on; one for an experiment of which nothing was read. Effects are in
    the unit beside them, and empty ends are without a limit."""
    return as_csv(COLUMNS, (row for result in results for row in _rows(result)))


def effect_text(effect: Effect) -> Markup:
    """`+112 in 10,000 customers (+31 to +193)`, whose interval no line breaks."""
    if effect.effect is None or effect.low is None or effect.high is None:
        return Markup("not enough data")
    text = numbers.measured(effect.effect, effect.low, effect.high, effect.scale, _unit(effect))
    number, _, interval = text.rpartition(" (")
    return Markup('{} <span class="whole">({}</span>').format(number, interval)


def _unit(effect: Effect) -> str:
    if effect.scale is Scale.RATIO:
        return effect.unit or ""
    return numbers.unit(effect.scale, effect.unit, effect.effect)


def _lead(counts: Mapping[Ending, int]) -> str:
    """What came of all of it, in a sentence or two."""
    ended = {ENDINGS[kind][2]: number for kind, number in counts.items() if kind is not Ending.WAITING}
    said: list[str] = []
    if ended:
        many = sum(ended.values())
        listed = [f"{number} {what}" if many > 1 else what for what, number in ended.items()]
        said.append(
            f"{many} experiments have ended: {_and(listed)}." if many > 1 else f"One experiment has ended, {listed[0]}."
        )
    if waiting := counts.get(Ending.WAITING, 0):
        said.append(
            "One has run as long as was planned, and waits for a decision."
            if waiting == 1
            else f"{waiting} have run as long as was planned, and wait for a decision."
        )
    return " ".join(said)


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _small_call(call: Call, result: Result) -> str:
    """A verdict in a list of what is over: nobody is told to keep running what has ended."""
    is_open = call is Call.KEEP_RUNNING or (call is Call.INCONCLUSIVE and result.is_cut_short)
    if is_open and result.ended_us is not None:
        return "ended too soon to say"
    return call.value.replace("_", " ")


def _rows(result: Result) -> list[tuple[str | float | None, ...]]:
    found = result.found
    after = (
        found.customers if found else None,
        _instant(result.started_us),
        _instant(result.ended_us),
        _instant(found and found.computed_us),
        result.shipped,
        result.author,
        result.note,
        result.hypothesis,
    )
    effects = [(said, effect) for said in result.said for effect in said.effects]
    if not effects:
        calls = found.call if found else None
        return [(result.key, result.ending.value, None, calls, *(None,) * 7, *after)]
    return [
        (
            result.key,
            result.ending.value,
            said.variant,
            said.call.value,
            effect.metric,
            effect.title,
            effect.role.value,
            *(_scaled(each, effect.scale) for each in (effect.effect, effect.low, effect.high)),
            _unit(effect),
            *after,
        )
        for said, effect in effects
    ]


def _scaled(value: float | None, scale: Scale) -> float | None:
    if value is None or not isfinite(value):
        return None
    return value * numbers.PEOPLE if scale is Scale.SHARE else value


def _instant(at_us: int | None) -> str | None:
    return None if at_us is None else f"{datetime.fromtimestamp(at_us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
