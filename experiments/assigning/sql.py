"""A plan's assignment as one SELECT, for a warehouse: of every unit the same variant and reason as in Python.

Text only: nothing is executed here. Numbers are signed 64-bit integers and the digest is SHA-256, so that engines
differ in three functions alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from experiments.assigning.assigned import Reason
from experiments.assigning.draws import threshold
from experiments.assigning.stretches import Stretch, stretches, variants_in_order
from experiments.design import Experiment
from experiments.plans.variants import SLOTS, Condition, Holdout, Scalar


class Dialect(StrEnum):
    """Whose SQL."""

    POSTGRES = "postgres"
    DUCKDB = "duckdb"


def sql(
    plan: Experiment,
    dialect: Dialect | str,
    table: str = "customers",
    unit: str = "customer_id",
    stored: str | None = None,
    entered: str | None = None,
) -> str:
    """A SELECT of `unit`, `variant` (null for none) and `reason`, a row for each row of `table`.

    `table` stands after FROM; `unit`, `stored` (the variant assigned before, null for none) and `entered` (a date,
    needed where the plan has phases) are expressions over its rows: all four are SQL of your own, put in as it is. The
    audience's conditions read columns named as its attributes. A unit that is null has neither variant nor reason. A
    stored variant is not checked against the plan.
    """
    speaks = _Engine(Dialect(dialect))
    spans = stretches(plan)
    columns = [f"CAST({unit} AS text) AS unit"]
    columns.append(f"CAST({stored or 'NULL'} AS text) AS stored")
    if len(spans) > 1:
        columns.append(f"CAST({entered or 'NULL'} AS date) AS entered")
    if plan.audience:
        columns.append(f"{' AND '.join(map(_condition, plan.audience))} AS in_audience")
    draws = [f"{speaks.digest(plan.seed or plan.key)} AS digest"]
    if plan.layer:
        draws.append(f"{speaks.number(speaks.digest('layer', plan.layer.name), 1)} % {SLOTS} AS slot")
    if plan.holdout:
        draws.append(f"{speaks.number(speaks.digest('holdout', plan.holdout.name), 1)} AS held")
    numbers = [f"{speaks.number('digest', 1)} AS traffic", f"{speaks.number('digest', 16)} AS number"]
    return "\n".join(
        (
            "WITH units AS (",
            f"  SELECT {_lines(columns)}",
            f"  FROM {table}",
            "), draws AS (",
            f"  SELECT *, {_lines(draws)}",
            "  FROM units",
            "), numbers AS (",
            f"  SELECT *, {_lines(numbers)}",
            "  FROM draws",
            "), reasons AS (",
            "  SELECT *, CASE",
            *(f"    WHEN {when} THEN {then}" for when, then in _reasons(plan, spans)),
            "  END AS reason",
            "  FROM numbers",
            ")",
            "SELECT unit, CASE reason",
            *_variants(plan, spans),
            "END AS variant, reason",
            "FROM reasons",
        )
    )


def held(holdout: Holdout, dialect: Dialect | str) -> str:
    """An expression over a column `unit`: whether it is in the holdout, which is known by its name and share."""
    speaks = _Engine(Dialect(dialect))
    return f"{speaks.number(speaks.digest('holdout', holdout.name), 1)} < {threshold(holdout.share)}"


@dataclass(frozen=True, slots=True)
class _Engine:
    """The functions in which engines differ. `draws.Draw` says the same in Python."""

    dialect: Dialect

    def digest(self, *fields: str) -> str:
        """The digest of the fields and of the column `unit`, as hex digits."""
        begun = _text("".join(f"{len(each.encode())}:{each}" for each in fields))
        match self.dialect:
            case Dialect.POSTGRES:
                size = "octet_length(convert_to(unit, 'UTF8'))"
                return f"encode(sha256(convert_to({begun} || {size} || ':' || unit, 'UTF8')), 'hex')"
            case Dialect.DUCKDB:
                return f"sha256({begun} || strlen(unit) || ':' || unit)"
            case _:
                assert_never(self.dialect)

    def number(self, digest: str, first: int) -> str:
        """The number of 15 hex digits of it."""
        match self.dialect:
            case Dialect.POSTGRES:
                return f"('x0' || substr({digest}, {first}, 15))::bit(64)::bigint"
            case Dialect.DUCKDB:
                return f"CAST('0x' || substr({digest}, {first}, 15) AS bigint)"
            case _:
                assert_never(self.dialect)


def _reasons(plan: Experiment, spans: Sequence[Stretch]) -> list[tuple[str, str]]:
    """When which reason holds; the first does."""
    found = [("unit IS NULL", "NULL")]
    if plan.testers:
        found.append((f"unit IN ({', '.join(map(_text, plan.testers))})", _text(Reason.TESTER)))
    found.append(("stored IS NOT NULL", _text(Reason.STORED)))
    if plan.holdout:
        found.append((f"held < {threshold(plan.holdout.share)}", _text(Reason.HOLDOUT)))
    if plan.layer:
        found.append((f"slot < {plan.layer.first} OR slot >= {plan.layer.after}", _text(Reason.OTHER_SLOT)))
    if plan.audience:
        found.append(("NOT in_audience", _text(Reason.NOT_IN_AUDIENCE)))
        found.append(("in_audience IS NULL", _text(Reason.AUDIENCE_UNKNOWN)))
    if len(spans) > 1:
        found.append(("entered IS NULL", _text(Reason.ENTRY_UNKNOWN)))
    found.append((f"traffic < {_by_stretch(spans, [str(each.traffic) for each in spans])}", _text(Reason.ASSIGNED)))
    return [*found, ("TRUE", _text(Reason.NOT_IN_TRAFFIC))]


def _variants(plan: Experiment, spans: Sequence[Stretch]) -> list[str]:
    """The variant by the reason."""
    lines: list[str] = []
    if plan.testers:
        forced = " ".join(f"WHEN {_text(unit)} THEN {_text(name)}" for unit, name in plan.testers.items())
        lines.append(f"  WHEN {_text(Reason.TESTER)} THEN CASE unit {forced} END")
    lines.append(f"  WHEN {_text(Reason.STORED)} THEN stored")
    names = variants_in_order(plan)
    chosen = [_chosen(names, each.bounds) for each in spans]
    lines.append(f"  WHEN {_text(Reason.ASSIGNED)} THEN {_by_stretch(spans, chosen)}")
    return lines


def _chosen(names: Sequence[str], bounds: Sequence[int]) -> str:
    parts = zip(names, bounds, strict=True)
    return "CASE " + " ".join(f"WHEN number < {bound} THEN {_text(name)}" for name, bound in parts) + " END"


def _by_stretch(spans: Sequence[Stretch], values: Sequence[str]) -> str:
    """Each stretch's value: of the last that began; before the first, of the first."""
    if len(spans) == 1:
        return values[0]
    later = list(zip(spans, values, strict=True))[:0:-1]
    whens = " ".join(f"WHEN entered >= DATE '{span.start}' THEN {value}" for span, value in later)
    return f"CASE {whens} ELSE {values[0]} END"


def _condition(condition: Condition) -> str:
    """True, false, or null where the attribute is null or not a number: engines hold NaN to be above all numbers."""
    column = '"' + condition.attribute.replace('"', '""') + '"'
    among = condition.among if condition.equal is None else (condition.equal,)
    if among is not None:
        met = f"{column} IN ({', '.join(map(_literal, among))})"
        if not any(_is_number(each) for each in among):
            return met
    else:
        low = [] if condition.at_least is None else [f"{column} >= {_literal(condition.at_least)}"]
        high = [] if condition.below is None else [f"{column} < {_literal(condition.below)}"]
        met = " AND ".join((*low, *high))
    return f"CASE WHEN lower(CAST({column} AS text)) NOT IN ('nan', '-nan') THEN {met} END"  # of a column of any type


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _literal(value: Scalar) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value: str) -> str:
    """A literal of standard SQL: a backslash in it is a backslash."""
    return "'" + value.replace("'", "''") + "'"


def _lines(columns: Sequence[str]) -> str:
    return ",\n    ".join(columns)
