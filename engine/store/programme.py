"""What came of experiments and of holdouts, read for a list of many: of each newest readout the few numbers that a
list shows, taken out where the readout lies. A whole one is some hundred times as much.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from math import inf
from typing import Any, Final, NamedTuple

from engine.store.database import Connection
from engine.store.experiments import Holdout, Record, experiments
from experiments.design import Role
from experiments.reporting import SCHEMA
from experiments.reporting.endings import Ending, ending
from experiments.reporting.numbers import Scale
from experiments.reporting.verdicts import Call

_CALLS: Final = frozenset(map(str, Call))
_INFINITE: Final = {"infinity": inf, "-infinity": -inf}

# Both kinds of readouts are read alike. A document of another schema is told by its call alone. OFFSET 0 keeps the
# document as it was unpacked once; without it, each path unpacks it anew.
_FOUND: Final = """
CROSS JOIN LATERAL (SELECT r.readout -> 'readout' AS document OFFSET 0) d
LEFT JOIN LATERAL (
    SELECT jsonb_path_query_array(d.document, '$.groups[*].units') AS units,
        (SELECT jsonb_agg(jsonb_build_array(v -> 'variant', v -> 'call', v -> 'because'))
         FROM jsonb_path_query(d.document, '$.verdicts[*]') v) AS verdicts,
        (SELECT jsonb_agg(jsonb_build_array(m -> 'name', m -> 'title', m -> 'role', m -> 'scale', m -> 'unit',
            (SELECT jsonb_agg(jsonb_build_array(c -> 'variant', c #> '{estimate,effect}', c #> '{estimate,low}',
                c #> '{estimate,high}')) FROM jsonb_path_query(m, '$.comparisons[*]') c)))
         FROM jsonb_path_query(d.document, '$.metrics[*]') m
         WHERE m ->> 'role' IN ('primary', 'guardrail')) AS metrics
    WHERE d.document ->> 'schema' = %s
) f ON true
"""
_VERDICTS: Final = """
SELECT e.number, n.call, n.computed_us, CASE WHEN d.document ->> 'schema' = %s THEN d.document -> 'verdicts' END
FROM unnest(%s::int[]) e(number) CROSS JOIN LATERAL (
    SELECT call, computed_us, readout FROM snapshots WHERE experiment = e.number ORDER BY number DESC LIMIT 1
) n CROSS JOIN LATERAL (SELECT n.readout -> 'readout' AS document OFFSET 0) d
"""
_RESULTS: Final = f"""
SELECT e.number, e.key, e.state, e.shipped, e.plan ->> 'hypothesis', e.started_us, e.ended_us, e.plan ->> 'end',
    n.computed_us, n.call, n.units, n.verdicts, n.metrics, l.at_us, l.author, l.note
FROM (SELECT number, key, state, shipped, plan, started_us, ended_us FROM experiments
      WHERE state IN ('stopped', 'shipped') OR state = 'running' AND plan ->> 'end' <= %s
      ORDER BY coalesce(ended_us, %s) DESC, number DESC LIMIT %s) e
LEFT JOIN LATERAL (
    SELECT r.computed_us, r.call, f.units, f.verdicts, f.metrics
    FROM (SELECT computed_us, call, readout FROM snapshots WHERE experiment = e.number
          ORDER BY number DESC LIMIT 1) r {_FOUND}
) n ON true
LEFT JOIN LATERAL (
    SELECT at_us, author, note FROM experiment_log WHERE experiment = e.number AND action IN ('ship', 'stop')
    ORDER BY entry DESC LIMIT 1
) l ON true
ORDER BY coalesce(e.ended_us, %s) DESC, e.number DESC
"""
_HELD: Final = f"""
SELECT e.key, e.shipped, h.name, h.seed, h.share, h.policy_version, h.experiment, h.from_us, h.until_us,
    h.ended_us,
    n.computed_us, n.as_of_us, n.day, n.call, n.units, n.verdicts, n.metrics,
    (SELECT array_agg(day ORDER BY day) FROM holdout_readouts WHERE experiment = e.number AND day IS NOT NULL)
FROM holdouts h JOIN experiments e ON e.number = h.experiment
LEFT JOIN LATERAL (
    SELECT r.computed_us, r.as_of_us, r.day, r.call, f.units, f.verdicts, f.metrics
    FROM (SELECT computed_us, as_of_us, day, call, readout FROM holdout_readouts WHERE experiment = e.number
          ORDER BY number DESC LIMIT 1) r {_FOUND}
) n ON true
ORDER BY h.from_us, h.name
"""


class Line(NamedTuple):
    """An experiment in a list. `call`, `computed_us` and the `verdicts`, by variant, are of its newest readout: None,
    and none, where there is none; no verdicts where another version of Takt made it."""

    record: Record
    call: str | None
    computed_us: int | None
    verdicts: tuple[tuple[str, str], ...]


class Effect(NamedTuple):
    """What a metric says of a variant against the control: `effect` within [`low`, `high`], all None where it says
    nothing."""

    variant: str
    metric: str
    title: str | None
    role: Role
    scale: Scale
    unit: str | None
    effect: float | None
    low: float | None
    high: float | None

    @property
    def called(self) -> str:
        """The metric's title, or its name where the plan gives it none."""
        return self.title or self.metric


class Said(NamedTuple):
    """The verdict on one variant, with the primaries and whatever else it rests on."""

    variant: str
    call: Call
    effects: tuple[Effect, ...]


class Found(NamedTuple):
    """What a readout says. `said` is empty where another version of Takt made it: then `call` is all there is."""

    computed_us: int
    call: str
    customers: int
    said: tuple[Said, ...]


class Result(NamedTuple):
    """What came of one experiment that was stopped or shipped, or whose planned end has passed: that one still runs,
    and waits for somebody to decide. `decided_us`, `author`, `note`: of the step that ended it."""

    number: int
    key: str
    state: str
    shipped: str | None
    hypothesis: str
    started_us: int
    ended_us: int | None
    planned_end: date
    found: Found | None
    decided_us: int | None
    author: str
    note: str

    @property
    def said(self) -> tuple[Said, ...]:
        """The verdicts of its newest readout, where there is one that this version of Takt can read."""
        return self.found.said if self.found else ()

    @property
    def is_cut_short(self) -> bool:
        """Whether it was ended before the day that was planned."""
        ended = None if self.ended_us is None else datetime.fromtimestamp(self.ended_us // 1_000_000, UTC).date()
        return ended is not None and ended < self.planned_end

    @property
    def ending(self) -> Ending:
        """By the verdicts on its variants; where another version of Takt made the readout, by the gravest of them."""
        calls = [each.call for each in self.said]
        if self.found and not self.said and self.found.call in _CALLS:
            calls = [Call(self.found.call)]
        return ending(calls, runs=self.ended_us is None, shipped=self.shipped is not None, cut_short=self.is_cut_short)

    @property
    def is_against_its_readout(self) -> bool:
        """Whether a variant was shipped of which the readout does not say to. One that nobody made, or that cannot be
        read, says nothing of it."""
        says = {each.variant: each.call for each in self.said}
        return self.shipped is not None and bool(says) and says.get(self.shipped) is not Call.SHIP


class Total(NamedTuple):
    """A holdout, with its newest readout: what all that was shipped since it began did together, against the budgets of
    that day. `as_of_us` and `day` are the readout's; `read_days`: those of which there is one."""

    key: str
    shipped: str
    holdout: Holdout
    found: Found | None
    as_of_us: int | None
    day: int | None
    read_days: tuple[int, ...]


async def lines(connection: Connection, state: str | None, limit: int) -> list[Line]:
    """The newest experiment first; those in one state, if it is given."""
    records = await experiments(connection, state, limit)
    cursor = await connection.execute(_VERDICTS, (str(SCHEMA), [each.number for each in records]))
    found = {number: rest for number, *rest in await cursor.fetchall()}
    return [_line(each, *found.get(each.number, (None, None, None))) for each in records]


async def results(connection: Connection, today: date, now_us: int, limit: int) -> list[Result]:
    """The newest end first; those that wait for a decision before all."""
    cursor = await connection.execute(_RESULTS, (today.isoformat(), now_us, limit, str(SCHEMA), now_us))
    return [_result(row) for row in await cursor.fetchall()]


async def totals(connection: Connection) -> list[Total]:
    """Of all holdouts that ships have left, the oldest first."""
    cursor = await connection.execute(_HELD, (str(SCHEMA),))
    return [_total(row) for row in await cursor.fetchall()]


async def states(connection: Connection) -> dict[str, int]:
    """How many experiments there are in each state."""
    cursor = await connection.execute("SELECT state, count(*) FROM experiments GROUP BY state")
    return dict(await cursor.fetchall())


def _line(record: Record, call: str | None, computed_us: int | None, verdicts: Any) -> Line:
    return Line(record, call, computed_us, tuple((each["variant"], each["call"]) for each in verdicts or ()))


def _result(row: Sequence[Any]) -> Result:
    number, key, state, shipped, hypothesis, started_us, ended_us, end, *found, decided_us, author, note = row
    planned_end = date.fromisoformat(end)
    return Result(
        number,
        key,
        state,
        shipped,
        hypothesis or "",
        started_us,
        ended_us,
        planned_end,
        _found(*found),
        decided_us,
        author or "",
        note or "",
    )


def _total(row: Sequence[Any]) -> Total:
    key, shipped, *holdout, computed_us, as_of_us, day, call, units, verdicts, metrics, read_days = row
    found = _found(computed_us, call, units, verdicts, metrics)
    return Total(key, shipped, Holdout._make(holdout), found, as_of_us, day, tuple(read_days or ()))


def _found(computed_us: int | None, call: str, units: Any, verdicts: Any, metrics: Any) -> Found | None:
    if computed_us is None:
        return None
    effects = [each for metric in metrics or () for each in _effects(*metric)]
    said = tuple(_said(variant, call, because, effects) for variant, call, because in verdicts or ())
    return Found(computed_us, call, sum(units or ()), said)


def _said(variant: str, call: str, because: Sequence[str], effects: Sequence[Effect]) -> Said:
    shown = [e for e in effects if e.variant == variant and (e.role is Role.PRIMARY or e.metric in because)]
    return Said(variant, Call(call), tuple(shown))


def _effects(name: str, title: str | None, role: str, scale: str, unit: str | None, comparisons: Any) -> list[Effect]:
    return [
        Effect(variant, name, title, Role(role), Scale(scale), unit, _number(effect), _number(low), _number(high))
        for variant, effect, low, high in comparisons or ()
    ]


def _number(value: float | str | None) -> float | None:
    return _INFINITE[value] if isinstance(value, str) else value
