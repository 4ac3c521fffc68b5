"""The statements that bring together what a readout analyses: who entered, what was sent, and what happened.

Derived events, which nobody sends, are what the standard metrics count; their names have a colon, which no sender's
type has. Except for returns they begin with entry (what happened before is shared by all variants), and they are looked
for in the first days after it, `DAYS` unless told.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, LiteralString, cast

from psycopg import sql

from engine.core.account import Lease
from engine.core.events import SUSPECT, EventType, Flag
from engine.core.policy import DAY_US, Channel
from engine.store.journal import Resolution
from engine.store.journal_rows import LEASE_BITS, WAS_REFUSED

DAYS: Final = 28
AWAY_DAYS: Final = 28
REFUSED: Final = "takt:refused"
RETURNED: Final = "takt:returned"
ACTIVE_WEEK: Final = "takt:active_week"
THREE_IN_24H: Final = "takt:three_in_24h"
REFUSED_AGAIN: Final = "takt:refused_again"
BOUNCED_AGAIN: Final = "takt:bounced_again"
COMPLAINED_AGAIN: Final = "takt:complained_again"
LEFT: Final = "left"  # as a plan says it, and as a company may tell it itself
LEAVES: Final = (EventType.ACCOUNT_CLOSED, EventType.UNINSTALLED, EventType.ERASED)
OF_REFUSALS: Final = frozenset({REFUSED, REFUSED_AGAIN})
CHANNELS: Final = {number: name.value for number, name in enumerate(Channel, start=1)}  # as migration 0001 numbers them
# That which nothing but Takt tells of: no event of the table is of these types.
_OUR_OWN: Final = frozenset({EventType.SENT})

_ENTERED: Final = """
CREATE TEMP TABLE takt_exposed ON COMMIT DROP AS
SELECT (row_number() OVER ())::int AS takt_unit, e.customer_id AS takt_customer_id, {variant} AS takt_variant,
    {entered} AS takt_entered_us, e.phase::int AS takt_phase{more}
FROM exposures e {join}
WHERE e.experiment = {number} AND e.flags = 0 AND {entered} IS NOT NULL AND NOT e.customer_id = ANY({testers}::text[])
"""
_CONTACTS: Final = f"""
CREATE TEMP TABLE takt_contacts ON COMMIT DROP AS
SELECT unit, entered_us, at_us, channel FROM (
    SELECT x.takt_unit AS unit, x.takt_entered_us AS entered_us, j.channel,
        CASE WHEN r.kind IN ({Resolution.CONFIRMED}, {Resolution.LATE}) THEN r.end_us ELSE j.end_us END AS at_us
    FROM takt_exposed x JOIN journal j ON j.customer_id = x.takt_customer_id
    LEFT JOIN resolutions r ON r.customer_id = j.customer_id AND r.contact_seq = j.seq
    WHERE r.kind IN ({Resolution.CONFIRMED}, {Resolution.LATE}, {Resolution.MARKED})
        OR (r.kind IS NULL AND j.flags & {LEASE_BITS} IN ({Lease.SETTLED}, {Lease.PRESUMED}))
) sent WHERE at_us < {{as_of}}
"""
_TOLD: Final = """
CREATE TEMP TABLE takt_told ON COMMIT DROP AS
SELECT x.takt_unit AS unit, x.takt_entered_us AS entered_us, {kind} AS kind, e.at_us, {channel} AS channel,
    e.flags & {suspect} <> 0 AS suspect, e.flags & {hard} <> 0 AS hard{values}
FROM events e JOIN takt_exposed x ON x.takt_customer_id = e.customer_id
WHERE e.kind = ANY({kinds}::int[]) AND e.at_us < {as_of}
"""
# Not `= 0`, of which the planner believes that it holds for one row in 200.
_TRUSTED: Final = f"flags & {int(SUSPECT)} < 1"
# A row a customer, grouped by its number alone and never sorted: the first session of each week since entry, and the
# last before each stretch of 28 days. Who was away for 28 days comes back at most once a stretch, with the first in it.
_SESSIONS: Final = f"""
CREATE TEMP TABLE takt_sessions ON COMMIT DROP AS
SELECT unit, {{weeks}}, {{returns}} FROM (
    SELECT x.takt_unit AS unit, {{instants}} FROM events e JOIN takt_exposed x ON x.takt_customer_id = e.customer_id
    WHERE e.kind = {{session}} AND e.{_TRUSTED} AND e.at_us < {{as_of}} AND e.at_us < x.takt_entered_us + {{window}}
    GROUP BY x.takt_unit
) sessions
"""
_SINCE_ENTRY: Final = "e.at_us - x.takt_entered_us"
_FIRST: Final = f"min(e.at_us) FILTER (WHERE {_SINCE_ENTRY} >= {{low}} AND {_SINCE_ENTRY} < {{high}}) AS {{name}}"
_LAST: Final = f"max(e.at_us) FILTER (WHERE {_SINCE_ENTRY} < {{high}}) AS {{name}}"
_BACK: Final = f"CASE WHEN {{first}} - {{last}} >= {AWAY_DAYS * DAY_US} THEN {{first}} END AS {{name}}"
_DERIVED: Final = """
CREATE TEMP TABLE takt_derived ON COMMIT DROP AS
SELECT unit, kind, at_us FROM ({parts}) derived (unit, kind, at_us)
"""
# The events as they are read: what makes up most of them stays where it is, under a type that is a constant there, so
# that who asks for one type reads no other.
_HAPPENED: Final = """
CREATE TEMP VIEW takt_happened AS
SELECT unit AS takt_unit, kind AS takt_type, at_us AS takt_at_us, channel AS takt_channel, suspect AS takt_suspect, hard
    {names} FROM ({parts}) happened (unit, kind, at_us, channel, suspect, hard{names})
"""
_NOBODY: Final = "SELECT NULL::int, NULL::text, NULL::bigint, NULL::text, false, false{nulls} WHERE false"
_SENT: Final = "SELECT unit, 'sent'::text, at_us, {channel}, false, false{nulls} FROM takt_contacts"
_PLAIN: Final = "SELECT unit, {kind}::text, {at}, NULL::text, false, false{nulls} FROM {table} WHERE {at} IS NOT NULL"
_LEFT: Final = """
SELECT unit, 'left'::text, at_us, channel, suspect, hard{names} FROM takt_told WHERE kind = ANY({kinds}::text[])
"""
# Of what recurs, only what is there already at the instant of a later one.
_AGAIN: Final = """
SELECT unit, {again}::text, at_us FROM (
    SELECT unit, at_us, lag(at_us, {before}) OVER (PARTITION BY unit ORDER BY at_us) AS before_us
    FROM ({recurring}) r (unit, entered_us, at_us) WHERE at_us >= entered_us AND at_us < entered_us + {window}
) recurring WHERE at_us - before_us < {within}
"""
_TROUBLE: Final = "SELECT unit, entered_us, at_us FROM takt_told WHERE kind = {kind} AND NOT suspect"
# Of three contacts within less than a day two are in the same 24 hours since entry: who never had two in one of them is
# not looked at. The bits are of a whole number, in which day 63 stands for the later ones too.
_CROWDED: Final = f"""
SELECT c.unit, c.entered_us, c.at_us FROM takt_contacts c JOIN (
    SELECT unit FROM takt_contacts WHERE at_us >= entered_us AND at_us < entered_us + {{window}} GROUP BY unit
    HAVING count(*) > bit_count(bit_or(1::bigint << least((at_us - entered_us) / {DAY_US}, 63)::int)::bit(64))
) crowded ON crowded.unit = c.unit
"""
# A message that is asked for again and again is refused once.
_REFUSED: Final = f"""
SELECT x.takt_unit, x.takt_entered_us, min(r.at_us)
FROM refusals r JOIN takt_exposed x ON x.takt_customer_id = r.customer_id
WHERE r.{WAS_REFUSED} AND r.at_us >= x.takt_entered_us AND r.at_us < {{as_of}}
GROUP BY x.takt_unit, x.takt_entered_us, r.message_id, CASE WHEN r.message_id = '' THEN r.seq END
"""

# A look at the newest weeks alone, as far as refusals are on record, and at those who were there for one of them at
# least, as with contacts received: of each variant how many, for how long together, and their messages refused.
_LATELY: Final = f"""
SELECT takt_variant, count(*), sum({{as_of}} - greatest(takt_entered_us, {{since}}))::bigint,
    coalesce(sum(messages), 0)::bigint
FROM takt_exposed LEFT JOIN (
    SELECT unit, count(*) AS messages FROM ({_REFUSED}) refused (unit, entered_us, at_us)
    WHERE at_us >= {{since}} GROUP BY unit
) refused ON unit = takt_unit
WHERE {{as_of}} - greatest(takt_entered_us, {{since}}) >= {7 * DAY_US} GROUP BY takt_variant
"""


def refused_lately(since_us: int, as_of_us: int) -> sql.Composed:
    """The refusals of those who entered, from an instant to another. Rows of `analysis.Refused`."""
    return _sql(_LATELY).format(since=sql.Literal(since_us), as_of=sql.Literal(as_of_us))


def entered(
    number: int,
    variants: Sequence[str],
    instant: str,
    segments: Sequence[str],
    time_zones: bool,
    testers: Sequence[str],
) -> sql.Composed:
    """One row a customer who entered, under a number for this analysis; `instant` is the column that says when.

    Segments are `takt_s0`, `takt_s1`, ... `testers` are left out.
    """
    more = [
        _sql(", e.segments->>{} AS {}").format(sql.Literal(name), sql.Identifier(f"takt_s{place}"))
        for place, name in enumerate(segments)
    ]
    if time_zones:
        more.append(_sql(", c.time_zone AS takt_time_zone").format())
    return _sql(_ENTERED).format(
        variant=_case("e.variant", dict(enumerate(variants))),
        entered=sql.Identifier("e", instant),
        more=sql.Composed(more),
        join=_sql("LEFT JOIN customers c ON c.customer_id = e.customer_id" if time_zones else ""),
        number=sql.Literal(number),
        testers=sql.Literal(list(testers)),
    )


def contacts(as_of_us: int) -> sql.Composed:
    """What was sent to those who entered."""
    return _sql(_CONTACTS).format(as_of=sql.Literal(as_of_us))


def happened(
    wanted: Iterable[str], numbers: Mapping[str, int], values: Sequence[str], as_of_us: int, days: int = DAYS
) -> tuple[dict[str, sql.Composed], sql.Composed]:
    """Events of the types wanted, derived ones too, of those who entered. `numbers`: of the labels that are known.

    First the tables to be brought together, in this order, then the view of them all. `values` are fields of events, as
    `takt_v0`, `takt_v1`, ...: `value`, `margin`, or numbers among the properties. What is derived is looked for in the
    first `days` days.
    """
    asked, as_of, window_us = frozenset(wanted), sql.Literal(as_of_us), days * DAY_US
    columns = [sql.Identifier(f"takt_v{place}") for place in range(len(values))]
    names = sql.Composed([_sql(", {}").format(each) for each in columns])
    nulls = _sql(", NULL::float8" * len(values))
    tables: dict[str, sql.Composed] = {}
    parts = [_sql(_NOBODY).format(nulls=nulls)]
    if EventType.SENT in asked:
        parts.append(_sql(_SENT).format(channel=_case("channel", CHANNELS), nulls=nulls))
    recurring = {COMPLAINED_AGAIN: EventType.COMPLAINED, BOUNCED_AGAIN: EventType.BOUNCED}
    told = (asked - _OUR_OWN) | {kind for again, kind in recurring.items() if again in asked}
    if LEFT in asked:
        told |= frozenset(LEAVES)
    if kinds := {numbers[name]: str(name) for name in sorted(told) if name in numbers}:
        tables["takt_told"] = _told(kinds, dict(zip(values, columns, strict=True)), as_of)
        parts.append(_sql("SELECT unit, kind, at_us, channel, suspect, hard{} FROM takt_told").format(names))
        if LEFT in asked:
            parts.append(_sql(_LEFT).format(names=names, kinds=sql.Literal([str(each) for each in LEAVES])))
    if asked & {RETURNED, ACTIVE_WEEK} and EventType.SESSION in numbers:
        tables["takt_sessions"], of_sessions = _sessions(numbers[EventType.SESSION], as_of, window_us)
        parts += [
            _plain(sql.Literal(kind), each, "takt_sessions", nulls)
            for kind, instants in of_sessions.items()
            for each in instants
            if kind in asked
        ]
    trouble = {again: kind.value for again, kind in recurring.items() if again in asked and kind in numbers}
    if derived := _derived(asked, trouble, as_of, window_us):
        tables["takt_derived"] = _sql(_DERIVED).format(parts=_sql(" UNION ALL ").join(derived))
        parts.append(_plain(sql.Identifier("kind"), "at_us", "takt_derived", nulls))
    return tables, _sql(_HAPPENED).format(names=names, parts=_sql(" UNION ALL ").join(parts))


def _plain(kind: sql.Composable, at: str, table: str, nulls: sql.SQL) -> sql.Composed:
    """Events that have nothing but a type and an instant."""
    return _sql(_PLAIN).format(kind=kind, at=sql.Identifier(at), table=sql.Identifier(table), nulls=nulls)


def _sessions(session: int, as_of: sql.Literal, window_us: int) -> tuple[sql.Composed, dict[str, list[str]]]:
    """What is kept of a customer's sessions, and by type the columns in which its events have their instants."""
    week_us, stretch_us = 7 * DAY_US, AWAY_DAYS * DAY_US
    weeks = [f"week{place}" for place in range(-(-window_us // week_us))]
    instants = [
        _FIRST.format(low=place * week_us, high=min((place + 1) * week_us, window_us), name=name)
        for place, name in enumerate(weeks)
    ]
    instants += [
        _FIRST.format(low=-stretch_us, high=0, name="early"),
        _LAST.format(high=-stretch_us, name="last_early"),
    ]
    returns = [_BACK.format(first="early", last="last_early", name="back_early")]
    for place in range(-(-window_us // stretch_us)):
        of_stretch = weeks[4 * place : 4 * place + 4]
        instants.append(_LAST.format(high=place * stretch_us, name=f"last{place}"))
        returns.append(_BACK.format(first=f"least({', '.join(of_stretch)})", last=f"last{place}", name=f"back{place}"))
    statement = _sql(_SESSIONS).format(
        weeks=_sql(", ".join(weeks)),
        returns=_sql(", ".join(returns)),
        instants=_sql(", ".join(instants)),
        session=sql.Literal(session),
        as_of=as_of,
        window=sql.Literal(window_us),
    )
    return statement, {
        RETURNED: ["back_early", *(f"back{place}" for place in range(len(returns) - 1))],
        ACTIVE_WEEK: weeks,
    }


def _derived(
    asked: Collection[str], trouble: Mapping[str, str], as_of: sql.Literal, window_us: int
) -> list[sql.Composed]:
    """Of what is there, what follows from it; `trouble`: what happens again, by the name that it then has."""
    refused = _sql(_REFUSED).format(as_of=as_of)
    crowded = _sql(_CROWDED).format(window=sql.Literal(window_us))
    found: list[sql.Composed] = []
    if REFUSED in asked:
        one = _sql("SELECT unit, {}::text, at_us FROM ({}) r (unit, entered_us, at_us)")
        found.append(one.format(sql.Literal(REFUSED), refused))
    if REFUSED_AGAIN in asked:
        found.append(_again(REFUSED_AGAIN, refused, window_us, window_us))
    if THREE_IN_24H in asked:
        found.append(_again(THREE_IN_24H, crowded, window_us, DAY_US, before=2))
    for again, kind in trouble.items():
        found.append(_again(again, _sql(_TROUBLE).format(kind=sql.Literal(kind)), window_us, window_us))
    return found


def _told(kinds: Mapping[int, str], values: Mapping[str, sql.Identifier], as_of: sql.Literal) -> sql.Composed:
    named = [_sql(", {} AS {}").format(_value(name), column) for name, column in values.items()]
    return _sql(_TOLD).format(
        kind=_case("e.kind", kinds),
        channel=_case("e.channel", CHANNELS),
        suspect=sql.Literal(int(SUSPECT)),
        hard=sql.Literal(int(Flag.HARD)),
        values=sql.Composed(named),
        kinds=sql.Literal(sorted(kinds)),
        as_of=as_of,
    )


def _again(name: str, recurring: sql.Composed, window_us: int, within_us: int, before: int = 1) -> sql.Composed:
    return _sql(_AGAIN).format(
        again=sql.Literal(name),
        before=sql.Literal(before),
        recurring=recurring,
        window=sql.Literal(window_us),
        within=sql.Literal(within_us),
    )


def _case(column: str, names: Mapping[int, str]) -> sql.Composed:
    """A name for each number; null for any other."""
    if not names:
        return _sql("NULL::text").format()
    branches = [
        _sql(" WHEN {} THEN {}").format(sql.Literal(number), sql.Literal(name)) for number, name in names.items()
    ]
    return _sql("CASE {}{} END").format(_sql(column), sql.Composed(branches))


def _value(name: str) -> sql.Composable:
    if name in ("value", "margin"):
        return sql.Identifier("e", name)
    return _sql("CASE WHEN jsonb_typeof(e.properties->{0}) = 'number' THEN (e.properties->>{0})::float8 END").format(
        sql.Literal(name)
    )


def _sql(text: str) -> sql.SQL:
    """Of constants of this file alone: whatever comes from elsewhere is a literal or an identifier."""
    return sql.SQL(cast(LiteralString, text))
