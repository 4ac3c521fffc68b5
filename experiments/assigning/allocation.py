"""A plan made ready to assign: its thresholds and digests, and the order in which reasons speak, for one unit and many.

Both forms give the same of every unit; `assigning.sql` says the same as SQL.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from numbers import Integral
from typing import Any, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from experiments.assigning.assigned import (
    CODE_OF,
    NOBODY,
    Assignment,
    Assignments,
    Codes,
    Flags,
    Reason,
    ReasonCodes,
)
from experiments.assigning.audience import contains, is_missing
from experiments.assigning.draws import Draw, threshold
from experiments.assigning.stretches import Stretch, stretches, variants_in_order
from experiments.design import Experiment
from experiments.errors import AssignmentError
from experiments.plans.checking import described
from experiments.plans.variants import SLOTS, Scalar

Unit: TypeAlias = str | int
Stored: TypeAlias = Mapping[str, str] | Sequence[str | None] | NDArray[np.object_]
Dates: TypeAlias = date | Sequence[date | None] | NDArray[np.datetime64]

_Columns: TypeAlias = Mapping[str, Sequence[Scalar | None]]
_CHUNK: Final = 65_536
_HOLDOUT, _OTHER_SLOT, _NOT_IN_AUDIENCE, _AUDIENCE_UNKNOWN, _ENTRY_UNKNOWN, _NOT_IN_TRAFFIC = (
    Assignment(None, each)
    for each in (
        Reason.HOLDOUT,
        Reason.OTHER_SLOT,
        Reason.NOT_IN_AUDIENCE,
        Reason.AUDIENCE_UNKNOWN,
        Reason.ENTRY_UNKNOWN,
        Reason.NOT_IN_TRAFFIC,
    )
)


class Allocation:
    """A plan made ready to assign: built once, asked often, from any thread.

    * `unit`: a text, used as it is (no trimming, no normal form), or a whole number, used as its decimal digits.
    * `stored`: variants assigned before. They outrank everything but forced testers. A mapping from the unit's text to
      the name of a variant; `assign_many` takes an array in the order of the units too, None where nothing is stored.
    * `attributes`: what the audience asks for, by name; for many units a column each.
    * `entered`: the date on which the customer entered, or enters now; needed only where the plan has phases, whose
      weights and traffic the customer keeps. A date before the first phase counts as within it.

    Errors: `AssignmentError` for a unit that is neither text nor whole number or holds lone surrogates, for a stored
    variant that the plan does not have, and for columns of another length than the units.
    """

    def __init__(self, plan: Experiment) -> None:
        self.plan = plan
        self._names = variants_in_order(plan)
        self._number = {name: code for code, name in enumerate(self._names)}
        self._draw = Draw(plan.seed or plan.key)
        self._layer = plan.layer and Draw("layer", plan.layer.name)
        self._holdout = plan.holdout and Draw("holdout", plan.holdout.name)
        self._held = threshold(plan.holdout.share) if plan.holdout else 0
        self._testers = {unit.encode(): name for unit, name in plan.testers.items()}
        self._stretches = stretches(plan)
        self._only = self._stretches[0] if len(self._stretches) == 1 else None
        self._assigned = tuple(Assignment(name, Reason.ASSIGNED) for name in self._names)

    def assign(
        self,
        unit: Unit,
        stored: Mapping[str, str] | None = None,
        *,
        attributes: Mapping[str, Scalar | None] | None = None,
        entered: date | None = None,
    ) -> Assignment:
        """One unit's assignment."""
        data = _encoded(unit)
        if self._testers and data in self._testers:
            return Assignment(self._testers[data], Reason.TESTER)
        if stored is not None and not is_missing(before := stored.get(str(unit))):
            return Assignment(self._names[self._code(before, unit)], Reason.STORED)
        if self._layer or self._holdout or self.plan.audience:
            out = self._out(data, attributes)
            if out is not None:
                return out
        stretch = self._only or self._stretch(entered)
        if stretch is None:
            return _ENTRY_UNKNOWN
        traffic, number = self._draw.pair(data)
        if traffic >= stretch.traffic:
            return _NOT_IN_TRAFFIC
        return self._assigned[bisect_right(stretch.bounds, number)]

    def assign_many(
        self,
        units: Iterable[Unit] | NDArray[Any],
        stored: Stored | None = None,
        *,
        attributes: Mapping[str, Iterable[Scalar | None]] | None = None,
        entered: Dates | None = None,
    ) -> Assignments:
        """Those of many units, in their order; as `assign` one at a time, and some times faster."""
        listed: list[Unit] = _listed(units)
        count = len(listed)
        before = None if stored is None else _before(stored, listed)
        columns = self._columns(attributes or {}, count)
        days = _days(entered, count)
        codes, reasons = np.empty(count, dtype=np.int16), np.empty(count, dtype=np.int8)
        for first in range(0, count, _CHUNK):
            part = slice(first, first + _CHUNK)
            texts = _encoded_all(listed[part], first)
            codes[part], reasons[part] = self._formula(
                texts, {name: each[part] for name, each in columns.items()}, days[part]
            )
            if before is not None:
                self._keep(before[part], listed[part], codes[part], reasons[part])
            if self._testers:
                self._force(texts, codes[part], reasons[part])
        return Assignments(self._names, codes, reasons)

    # --- one ----------------------------------------------------------------------------------------------------------

    def _out(self, data: bytes, attributes: Mapping[str, Scalar | None] | None) -> Assignment | None:
        """Why the unit is in no experiment of this plan's kind, if so."""
        plan = self.plan
        if self._holdout and self._holdout.pair(data)[0] < self._held:
            return _HOLDOUT
        if self._layer and plan.layer and not plan.layer.first <= self._layer.pair(data)[0] % SLOTS < plan.layer.after:
            return _OTHER_SLOT
        if plan.audience:
            is_in = contains(plan.audience, attributes or {})
            if not is_in:
                return _AUDIENCE_UNKNOWN if is_in is None else _NOT_IN_AUDIENCE
        return None

    def _stretch(self, entered: date | None) -> Stretch | None:
        if entered is None:
            return None
        place = bisect_right(self._stretches, entered, key=lambda each: each.start)
        return self._stretches[max(place - 1, 0)]

    def _code(self, name: object, unit: object) -> int:
        code = self._number.get(name) if isinstance(name, str) else None
        if code is None:
            raise AssignmentError(
                f"{described(unit)} is stored as {described(name)}, which is no variant of {self.plan.key}: expected"
                f" {', '.join(self._names)}"
            )
        return code

    # --- many ---------------------------------------------------------------------------------------------------------

    def _formula(
        self, units: Sequence[bytes], columns: _Columns, days: NDArray[np.datetime64]
    ) -> tuple[Codes, ReasonCodes]:
        """Codes and reasons by the plan alone. The last reason is written first: what outranks it writes over it."""
        traffic, number = self._draw.pairs(units)
        codes = np.full(len(units), NOBODY, dtype=np.int16)
        reasons = np.full(len(units), CODE_OF[Reason.NOT_IN_TRAFFIC], dtype=np.int8)
        places = self._places(days)
        for i, stretch in enumerate(self._stretches):
            inside = (places == i) & (traffic < stretch.traffic)
            chosen = np.searchsorted(np.array(stretch.bounds, dtype=np.int64), number, "right")
            np.copyto(codes, chosen, casting="same_kind", where=inside)
            reasons[inside] = CODE_OF[Reason.ASSIGNED]
        reasons[places == NOBODY] = CODE_OF[Reason.ENTRY_UNKNOWN]
        for reason, out in self._outside(units, columns):
            reasons[out] = CODE_OF[reason]
        codes[reasons != CODE_OF[Reason.ASSIGNED]] = NOBODY
        return codes, reasons

    def _places(self, days: NDArray[np.datetime64]) -> NDArray[np.intp]:
        """The place of each unit's stretch, -1 where its date is needed and not known."""
        if self._only is not None:
            return np.zeros(len(days), dtype=np.intp)
        starts = np.array([each.start for each in self._stretches], dtype="datetime64[D]")
        return np.where(np.isnat(days), NOBODY, np.maximum(np.searchsorted(starts, days, "right") - 1, 0))

    def _outside(self, units: Sequence[bytes], columns: _Columns) -> Iterable[tuple[Reason, Flags]]:
        """Who is out before traffic is asked, and why; the later outranks the earlier."""
        plan = self.plan
        if plan.audience:
            rows = zip(*columns.values(), strict=True)
            is_in = [contains(plan.audience, dict(zip(columns, row, strict=True))) for row in rows]
            yield Reason.AUDIENCE_UNKNOWN, np.array([each is None for each in is_in], dtype=np.bool_)
            yield Reason.NOT_IN_AUDIENCE, np.array([each is False for each in is_in], dtype=np.bool_)
        if self._layer and plan.layer:
            slot = self._layer.pairs(units)[0] % SLOTS
            yield Reason.OTHER_SLOT, (slot < plan.layer.first) | (slot >= plan.layer.after)
        if self._holdout:
            yield Reason.HOLDOUT, self._holdout.pairs(units)[0] < self._held

    def _keep(self, before: Sequence[object], units: Sequence[Unit], codes: Codes, reasons: ReasonCodes) -> None:
        for i, name in enumerate(before):
            if not is_missing(name):
                codes[i] = self._code(name, units[i])
                reasons[i] = CODE_OF[Reason.STORED]

    def _force(self, units: Sequence[bytes], codes: Codes, reasons: ReasonCodes) -> None:
        for i, unit in enumerate(units):
            if unit in self._testers:
                codes[i] = self._number[self._testers[unit]]
                reasons[i] = CODE_OF[Reason.TESTER]

    def _columns(self, attributes: Mapping[str, Iterable[Scalar | None]], count: int) -> _Columns:
        """What the audience asks for; None throughout where a column is not there."""
        found: dict[str, Sequence[Scalar | None]] = {}
        for name in dict.fromkeys(each.attribute for each in self.plan.audience):
            column = attributes.get(name)
            found[name] = [None] * count if column is None else _listed(column)
            if len(found[name]) != count:
                raise AssignmentError(
                    f"the column {name} has a length of {len(found[name])}, expected {count}, one a unit"
                )
        return found


def _encoded(unit: object, place: str = "the unit") -> bytes:
    """The bytes of a unit's text."""
    if type(unit) is not str and (isinstance(unit, bool) or not isinstance(unit, str | Integral)):
        raise AssignmentError(f"{place} is {described(unit)}, expected a text or an integer")
    try:
        return str(unit).encode()
    except UnicodeEncodeError:
        raise AssignmentError(
            f"{place} is {described(unit)}: it holds half a character, which UTF-8 cannot express"
        ) from None


def _encoded_all(units: Sequence[Unit], first: int) -> list[bytes]:
    try:
        return [each.encode() for each in cast("Sequence[str]", units)]
    except (AttributeError, UnicodeEncodeError):  # integers, or what is no unit
        if all(type(each) is int for each in units):
            return [b"%d" % each for each in cast("Sequence[int]", units)]
        return [_encoded(each, f"unit {first + i}") for i, each in enumerate(units)]


def _listed(values: Any) -> list[Any]:
    """The values of an array, a column or anything else that can be walked, as Python's own."""
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _before(stored: Stored, units: Sequence[Unit]) -> Sequence[object]:
    if isinstance(stored, Mapping):
        return [stored.get(str(each)) for each in units]
    found = _listed(stored)
    if len(found) != len(units):
        raise AssignmentError(
            f"the stored assignments have a length of {len(found)}, expected {len(units)}, one a unit"
        )
    return found


def _days(entered: Dates | None, count: int) -> NDArray[np.datetime64]:
    """A date a unit, not-a-time where it is not known."""
    if entered is None or isinstance(entered, date):
        return np.full(count, entered, dtype="datetime64[D]")
    try:
        days = np.atleast_1d(np.asarray(entered)).astype("datetime64[D]")
    except (TypeError, ValueError):
        raise AssignmentError("the dates of entry are no dates") from None
    if days.shape != (count,):
        raise AssignmentError(f"the dates of entry have a length of {len(days)}, expected {count}, one a unit")
    return days
