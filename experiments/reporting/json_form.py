"""A readout as JSON and back, by the schema of docs/readout.md, version 1.

The field names are those of the values in `experiments.readout`, so that there is one place to look them up. The
verdicts are written for the reader and computed anew when read: a readout whose verdicts do not follow from its
numbers is refused, and so is one whose parts do not agree (`reporting.agreement`).
"""

import json
import sys
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum
from functools import lru_cache
from math import inf, isinf
from types import NoneType, UnionType
from typing import Any, Final, NoReturn, cast, get_args, get_origin, get_type_hints

from experiments.estimates import Estimate
from experiments.estimators.value import BreakEven
from experiments.readout import Check, MetricReadout, Readout
from experiments.reporting import SCHEMA
from experiments.reporting.agreement import check_agreement

_DERIVED = ("verdicts", "recommendation")
_INFINITE = {"infinity": inf, "-infinity": -inf}
_OPEN_ENDED: Final[Mapping[type, Collection[str]]] = {Estimate: ("low", "high"), BreakEven: ("parts",)}
_NEWER: Final[Mapping[type, Collection[str]]] = {
    Check: ("effect_size",),
    MetricReadout: ("title",),
    Readout: ("ended",),
}  # than the schema's first documents
_LARGEST = 2**53  # of whole numbers: beyond, JSON's readers round them


def to_json(readout: Readout) -> str:
    """One JSON object, UTF-8 safe, ended by a newline. The same readout always gives the same text."""
    return json.dumps(document(readout), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def document(readout: Readout) -> dict[str, Any]:
    """The object that `to_json` writes, for callers who embed it: dicts, lists, strings, finite numbers, None."""
    derived = {name: _plain(getattr(readout, name)) for name in _DERIVED}
    return {"schema": SCHEMA, **derived, **_plain(readout)}


def from_json(text: str | bytes) -> Readout:
    """The readout that `to_json` wrote.

    Raises ValueError for another schema, a missing or unknown field, a value of the wrong type, parts that do not agree
    (all naming the place), and for verdicts that do not follow from the numbers. What it answers prints.
    """
    try:
        read = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("found JSON that is nested too deeply, expected a readout") from None
    if not isinstance(read, dict):
        raise ValueError("found no JSON object, expected a readout")
    return from_document(cast(dict[str, Any], read))


def from_document(found: Mapping[str, Any]) -> Readout:
    """The same of JSON that was read already."""
    if found.get("schema") != SCHEMA:
        raise ValueError(f"schema: found {found.get('schema')!r}, expected {SCHEMA}")
    body = {name: value for name, value in found.items() if name not in ("schema", *_DERIVED)}
    readout = cast(Readout, _value(Readout, body, "readout"))
    check_agreement(readout)
    for name in _DERIVED:
        if name not in found or found[name] != _plain(getattr(readout, name)):
            raise ValueError(f"{name}: found something else than follows from the readout's own numbers")
    return readout


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and isinf(value):
        return "infinity" if value > 0 else "-infinity"
    if isinstance(value, tuple):
        return [_plain(each) for each in cast(tuple[Any, ...], value)]
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return value


def _value(kind: Any, found: Any, where: str) -> Any:
    """`found` as a value of the type `kind`, or ValueError naming `where`."""
    if get_origin(kind) is UnionType:
        present = [each for each in get_args(kind) if each is not NoneType]
        return None if found is None else _value(present[0], found, where)
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind), found, where)
    if is_dataclass(kind):
        return _dataclass(cast(type, kind), found, where)
    return _scalar(kind, found, where)


def _tuple(kinds: tuple[Any, ...], found: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(found, list):
        raise ValueError(f"{where}: found {found!r}, expected a list")
    items = cast(list[Any], found)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(items)
    if len(kinds) != len(items):
        raise ValueError(f"{where}: found {len(items)} values, expected {len(kinds)}")
    return tuple(_value(kind, each, f"{where}[{k}]") for k, (kind, each) in enumerate(zip(kinds, items, strict=True)))


def _dataclass(kind: type, found: Any, where: str) -> Any:
    if not isinstance(found, dict):
        raise ValueError(f"{where}: found {found!r}, expected an object")
    kinds = _kinds(kind)
    given = dict.fromkeys(_NEWER.get(kind, ())) | cast(dict[str, Any], found)
    if given.keys() != kinds.keys():
        differing = ", ".join(sorted(given.keys() ^ kinds.keys()))
        raise ValueError(f"{where}: found fields missing or unknown: {differing}")
    values = {name: _value(each, given[name], f"{where}.{name}") for name, each in kinds.items()}
    for name, value in values.items():
        if name not in _OPEN_ENDED.get(kind, ()) and isinstance(value, float) and isinf(value):
            raise ValueError(f"{where}.{name}: found {given[name]!r}, expected a number with an end")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


@lru_cache
def _kinds(kind: type) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {each.name: hints[each.name] for each in fields(kind)}


def _scalar(kind: Any, found: Any, where: str) -> Any:
    try:
        if issubclass(kind, Enum):
            return kind(found)
        if kind is date:
            return date.fromisoformat(found)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: found {found!r}, expected {kind.__name__}") from None
    if kind is float and isinstance(found, str) and found in _INFINITE:
        return _INFINITE[found]
    if isinstance(found, int | float) and not isinstance(found, bool):
        # Writers of JSON may spell out a float: PostgreSQL's jsonb tells 1e19 with all its digits.
        most = sys.float_info.max if kind is float else _LARGEST
        if not abs(found) <= most:
            raise ValueError(f"{where}: found a number too large to compute with")
        if kind is float:
            return found if abs(found) <= _LARGEST else float(found)
    if isinstance(found, kind) and (kind is bool or not isinstance(found, bool)):
        return found
    raise ValueError(f"{where}: found {found!r}, expected {kind.__name__}")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"found {name}, which is no number of JSON")
