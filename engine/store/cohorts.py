"""The cohort of a holdout: who was there when an experiment was shipped, and on which side of the holdout each is.

All of it follows from what was on record before the ship, and from ids, so neither policy has a say in who belongs: in
it is whoever had become eligible in the experiment, or had a contact that a changed budget selects in the last `DAYS`
days before the ship. Who is erased later leaves an anonymous unit: `holdout_units` says of it what ids tell of others.
"""

from collections.abc import Sequence
from typing import Final, LiteralString, NamedTuple, cast

from psycopg import Connection as SyncConnection
from psycopg import sql
from psycopg.rows import TupleRow

from engine.core.policy import DAY_US, Budget
from engine.store.analysis import Relations
from engine.store.analysis_sql import CHANNELS
from engine.store.database import Connection
from engine.store.erasing import AFTER_ANONYMOUS, Unit
from engine.store.experiments import Holdout
from engine.store.journal import Change

DAYS: Final = 28
TREATED: Final = "takt_treated"  # the column of exposures that says who had lived under another variant by the ship

_TREATED: Final = "coalesce(e.flags <> 0 OR (e.diverged_us < {from_us} AND e.variant <> {control}), false)"
_MEMBERS: Final = f"""
SELECT u.unit, {{held}} AS is_held, {{older}} AS is_elsewhere, {_TREATED} OR u.unit = ANY({{testers}}::text[])
    AS is_treated, m.customer_id IS NOT NULL AS is_merged
FROM (
    SELECT customer_id AS unit FROM exposures WHERE experiment = {{number}} AND eligible_us < {{from_us}} {{one}}
    UNION SELECT customer_id FROM journal
    WHERE at_us >= {{since_us}} AND at_us < {{from_us}} AND ({{selected}}) {{one}}
) u
LEFT JOIN customers c ON c.customer_id = u.unit
LEFT JOIN exposures e ON e.customer_id = u.unit AND e.experiment = {{number}}
LEFT JOIN (
    SELECT DISTINCT g.customer_id FROM changes g JOIN customers o ON o.merged_into = g.customer_id
    WHERE g.kind = {Change.MERGED:d} AND g.at_us >= {{from_us}} {{merged_one}}
) m ON m.customer_id = u.unit
WHERE u.unit >= {{nobody}} AND c.merged_into IS NULL
"""
_ERASED: Final = "SELECT unit, is_held, false, is_treated, false FROM holdout_units WHERE experiment = {number}"
_COHORT: Final = "CREATE TEMP TABLE takt_cohort ON COMMIT DROP AS {members} UNION ALL {erased}"
_ENTERED: Final = """
CREATE TEMP TABLE takt_exposed ON COMMIT DROP AS
SELECT (row_number() OVER ())::int AS takt_unit, h.unit AS takt_customer_id,
    CASE WHEN h.is_held THEN {old} ELSE {new} END AS takt_variant, {from_us}::bigint AS takt_entered_us,
    0 AS takt_phase, h.is_treated AS takt_treated, c.time_zone AS takt_time_zone
FROM takt_cohort h LEFT JOIN customers c ON c.customer_id = h.unit WHERE NOT h.is_elsewhere AND NOT h.is_merged
"""


class Cut(NamedTuple):
    """How a cohort is cut. `control` is the control's place in the plan; `budgets` are those that variants change, in
    the policy that the holdout keeps, and `exempt` its exempt topics; `older` are the holdouts that were there before.
    """

    holdout: Holdout
    number: int
    control: int
    budgets: Sequence[Budget]
    exempt: frozenset[str]
    testers: Sequence[str] = ()
    older: Sequence[Holdout] = ()


class Side(NamedTuple):
    """How many of the cohort are on a side of the holdout. Not analysed are those who are `elsewhere` (in an older
    holdout), or who were `merged` with somebody since the ship; the `treated` had lived under another variant by then.
    """

    is_held: bool
    analysed: int
    treated: int
    elsewhere: int
    merged: int


class Ran(NamedTuple):
    """An experiment that ran among the others since the ship, with how many of the cohort it had."""

    experiment: str
    customers: int


class Cohort(Relations):
    """The relations of a holdout, within `one_instant`; everybody enters at the ship. `old` and `new` are what the two
    sides are called as variants."""

    def __init__(
        self, connection: SyncConnection[TupleRow], cut: Cut, old: str, new: str, until_us: int, days: int
    ) -> None:
        self._cut, self._new = cut, new
        from_us = sql.Literal(cut.holdout.from_us)
        erased = _sql(_ERASED).format(number=sql.Literal(cut.number))
        connection.execute(_sql(_COHORT).format(members=_members(cut), erased=erased))
        entered = _sql(_ENTERED).format(old=sql.Literal(old), new=sql.Literal(new), from_us=from_us)
        super().__init__(connection, entered, until_us, days=days)

    @property
    def from_us(self) -> int:
        """The ship."""
        return self._cut.holdout.from_us

    def sides(self) -> list[Side]:
        """Those held first."""
        rows = self._rows(
            "SELECT is_held, count(*) FILTER (WHERE NOT is_elsewhere AND NOT is_merged AND NOT is_treated),"
            " count(*) FILTER (WHERE NOT is_elsewhere AND NOT is_merged AND is_treated),"
            " count(*) FILTER (WHERE is_elsewhere), count(*) FILTER (WHERE is_merged AND NOT is_elsewhere)"
            " FROM takt_cohort GROUP BY is_held"
        )
        found = {row[0]: Side._make(row) for row in rows}
        return [found.get(each, Side(each, 0, 0, 0, 0)) for each in (True, False)]

    def policies(self) -> list[tuple[int, int]]:
        """The versions of the policy that were in force since the ship, the shipped one first, each with since when."""
        rows = self._rows(
            "SELECT policy_version, activated_us FROM rulesets WHERE activated_us >= %s AND activated_us < %s"
            " ORDER BY number",
            (self._cut.holdout.from_us, self.as_of_us),
        )
        return [row for place, row in enumerate(rows) if not place or row[0] != rows[place - 1][0]]

    def ran(self) -> list[Ran]:
        """The experiments that ran since the ship, and so among those alone who are not held."""
        rows = self._rows(
            "SELECT o.key, count(e.customer_id) FROM experiments o LEFT JOIN (exposures e JOIN takt_exposed x"
            "  ON x.takt_customer_id = e.customer_id AND x.takt_variant = %s)"
            " ON e.experiment = o.number AND e.eligible_us < %s WHERE o.number <> %s AND o.started_us < %s"
            " AND coalesce(o.ended_us, %s) > %s GROUP BY o.number, o.key ORDER BY o.number",
            (self._new, self.as_of_us, self._cut.number, *(2 * [self.as_of_us]), self._cut.holdout.from_us),
        )
        return [Ran._make(row) for row in rows]


async def unit_of(connection: Connection, cut: Cut, customer_id: str) -> Unit | None:
    """How a customer of the cohort is read; None for one whom its readouts do not analyse."""
    row = await (await connection.execute(_members(cut, customer_id))).fetchone()
    return None if row is None or row[2] or row[4] else Unit(is_held=row[1], is_treated=row[3])


def _members(cut: Cut, one: str | None = None) -> sql.Composed:
    """The cohort but for who was erased since; or whether one customer is in it."""
    from_us = cut.holdout.from_us
    return _sql(_MEMBERS).format(
        held=_held(cut.holdout),
        older=_either([_held(each) for each in cut.older]),
        testers=sql.Literal(list(cut.testers)),
        number=sql.Literal(cut.number),
        control=sql.Literal(cut.control),
        from_us=sql.Literal(from_us),
        since_us=sql.Literal(from_us - DAYS * DAY_US),
        selected=_either([_selected(each, cut.exempt) for each in cut.budgets]),
        one=_about("customer_id", one),
        merged_one=_about("g.customer_id", one),
        nobody=sql.Literal(AFTER_ANONYMOUS),
    )


def _about(column: str, one: str | None) -> sql.Composed:
    return _sql("").format() if one is None else _sql(f"AND {column} = {{}}").format(sql.Literal(one))


def _held(holdout: Holdout) -> sql.Composed:
    from experiments.assigning.sql import Dialect, held  # with numpy, which no erasure waits for that needs none
    from experiments.design import Holdout as Share

    return sql.Composed([_sql(held(Share(holdout.seed, holdout.share), Dialect.POSTGRES))])


def _selected(budget: Budget, exempt: frozenset[str]) -> sql.Composed:
    """Whether a budget selects a contact of the journal, and counts it."""
    selector, numbers = budget.selector, {name: number for number, name in CHANNELS.items()}
    parts = [_sql("true").format()]
    if selector.channels is not None:
        parts.append(_sql("channel = ANY({})").format(sql.Literal([numbers[each] for each in selector.channels])))
    for column, names in (("topic", selector.topics), ("campaign", selector.campaigns), ("team", selector.teams)):
        if names is not None:
            parts.append(_labelled(column, names, among=True))
        elif budget.per is not None and budget.per.value == column:
            parts.append(_sql("{} <> 0").format(sql.Identifier(column)))
    if exempt:
        parts.append(_labelled("topic", exempt, among=False))
    return _sql(" AND ").join(parts)


def _labelled(column: str, names: frozenset[str], *, among: bool) -> sql.Composed:
    test = "{} IN (SELECT number FROM labels WHERE name = ANY({}::text[]))"
    return _sql(test if among else f"NOT {test}").format(sql.Identifier(column), sql.Literal(sorted(names)))


def _either(parts: Sequence[sql.Composed]) -> sql.Composed:
    return _sql(" OR ").join([_sql("({})").format(each) for each in parts] or [_sql("false").format()])


def _sql(text: str) -> sql.SQL:
    """Of constants, and of what `experiments` writes, which quotes: whatever comes from elsewhere is a literal."""
    return sql.SQL(cast(LiteralString, text))
