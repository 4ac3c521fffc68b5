"""The statements that bring together what a readout analyses: who entered, what was sent, and what happened.

Derived events, which nobody sends, are what the standard metrics count; their names have a colon, which no sender's
type has. Except for returns they begin with entry (what happened before is shared by all variants), and they are looked
for in the first `DAYS` days after it.
"""

from collections.abc import Iterable, Mapping, Sequence
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
_HAPPENED: Final = """
CREATE TEMP TABLE takt_happened ON COMMIT DROP AS
WITH told AS MATERIALIZED ({told})
SELECT unit AS takt_unit, kind AS takt_type, at_us AS takt_at_us,
    {channel} AS takt_channel, flags & {suspect} <> 0 AS takt_suspect, flags & {hard} <> 0 AS hard{names}
FROM ({parts}) happened (unit, kind, at_us, channel, flags{names})
"""
_TOLD: Final = """
SELECT x.takt_unit AS unit, x.takt_entered_us AS entered_us, {kind} AS kind, e.at_us, e.channel, e.flags{values}
FROM events e JOIN takt_exposed x ON x.takt_customer_id = e.customer_id
WHERE e.kind = ANY({kinds}::int[]) AND e.at_us < {as_of}
"""
_SENT: Final = "SELECT unit, 'sent', at_us, channel, 0{nulls} FROM takt_contacts"
# Not `= 0`, of which the planner believes that it holds for one row in 200.
_TRUSTED: Final = f"flags & {int(SUSPECT)} < 1"
# A stretch is 28 days before entry, a week after it: who was away for 28 days between two sessions came back with the
# first of a stretch, from the last of the one before. So no more than these are sorted.
_OF_SESSIONS: Final = f"""
SELECT s.unit, derived.kind, s.at_us, NULL::smallint, 0{{nulls}} FROM (
    SELECT unit, at_us, stretch >= 0 AS active,
        at_us - lag(last_us) OVER (PARTITION BY unit ORDER BY stretch) >= {AWAY_DAYS * DAY_US} AS returned
    FROM (
        SELECT unit, stretch, min(at_us) AS at_us, max(at_us) AS last_us FROM (
            SELECT x.takt_unit AS unit, e.at_us, CASE WHEN e.at_us >= x.takt_entered_us
                THEN (e.at_us - x.takt_entered_us) / {7 * DAY_US}
                ELSE (e.at_us - x.takt_entered_us + 1) / {AWAY_DAYS * DAY_US} - 1 END AS stretch
            FROM events e JOIN takt_exposed x ON x.takt_customer_id = e.customer_id
            WHERE e.kind = {{session}} AND e.{_TRUSTED} AND e.at_us < {{as_of}}
                AND e.at_us < x.takt_entered_us + {DAYS * DAY_US}
        ) sessions GROUP BY unit, stretch
    ) stretches
) s CROSS JOIN LATERAL (VALUES ('{RETURNED}', returned), ('{ACTIVE_WEEK}', active)) derived (kind, holds)
WHERE derived.holds
"""
# Of what recurs, only what is there already at the instant of a later one.
_AGAIN: Final = """
SELECT unit, {again}, at_us, NULL::smallint, 0{nulls} FROM (
    SELECT unit, at_us, lag(at_us, {before}) OVER (PARTITION BY unit ORDER BY at_us) AS before_us
    FROM ({recurring}) r (unit, entered_us, at_us) WHERE at_us >= entered_us AND at_us < entered_us + {window}
) recurring WHERE at_us - before_us < {within}
"""
_TROUBLE: Final = f"SELECT unit, entered_us, at_us FROM told WHERE kind = {{kind}} AND {_TRUSTED}"
# A message that is asked for again and again is refused once.
_REFUSED: Final = f"""
SELECT x.takt_unit, x.takt_entered_us, min(r.at_us)
FROM refusals r JOIN takt_exposed x ON x.takt_customer_id = r.customer_id
WHERE r.{WAS_REFUSED} AND r.at_us >= x.takt_entered_us AND r.at_us < {{as_of}}
GROUP BY x.takt_unit, x.takt_entered_us, r.message_id, CASE WHEN r.message_id = '' THEN r.seq END
"""


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


def happened(wanted: Iterable[str], numbers: Mapping[str, int], values: Sequence[str], as_of_us: int) -> sql.Composed:
    """Events of the types wanted, derived ones too, of those who entered. `numbers`: of the labels that are known.

    `values` are fields of events, as `takt_v0`, `takt_v1`, ...: `value`, `margin`, or numbers among the properties.
    """
    asked = frozenset(wanted)
    nulls = _sql(", NULL::float8" * len(values))
    as_of = sql.Literal(as_of_us)
    parts: list[sql.Composed] = [
        _sql(_SENT).format(nulls=nulls)
        if EventType.SENT in asked
        else _sql("SELECT NULL::int, NULL::text, NULL::bigint, NULL::smallint, 0{} WHERE false").format(nulls)
    ]
    told = {numbers[name]: name for name in sorted(asked - _OUR_OWN) if name in numbers}
    if told:
        names = _sql(", {}" * len(values)).format(*(sql.Identifier(f"v{place}") for place in range(len(values))))
        parts.append(_sql("SELECT unit, kind, at_us, channel, flags{} FROM told").format(names))
    if asked & {RETURNED, ACTIVE_WEEK} and EventType.SESSION in numbers:
        session = sql.Literal(numbers[EventType.SESSION])
        parts.append(_sql(_OF_SESSIONS).format(session=session, as_of=as_of, nulls=nulls))
    refused = _sql(_REFUSED).format(as_of=as_of)
    if REFUSED in asked:
        parts.append(
            _sql("SELECT unit, {}, at_us, NULL::smallint, 0{} FROM ({}) r (unit, entered_us, at_us)").format(
                sql.Literal(REFUSED), nulls, refused
            )
        )
    if REFUSED_AGAIN in asked:
        parts.append(_again(REFUSED_AGAIN, refused, nulls))
    if THREE_IN_24H in asked:
        sent = _sql("SELECT unit, entered_us, at_us FROM takt_contacts").format()
        parts.append(_again(THREE_IN_24H, sent, nulls, before=2, within_us=DAY_US))
    for again, kind in ((COMPLAINED_AGAIN, EventType.COMPLAINED), (BOUNCED_AGAIN, EventType.BOUNCED)):
        if again in asked and kind in numbers:
            trouble = _sql(_TROUBLE).format(kind=sql.Literal(kind.value))
            parts.append(_again(again, trouble, nulls))
    return _sql(_HAPPENED).format(
        channel=_case("channel", CHANNELS),
        suspect=sql.Literal(int(SUSPECT)),
        hard=sql.Literal(int(Flag.HARD)),
        told=_told(told, values, as_of),
        names=sql.Composed([_sql(", {}").format(sql.Identifier(f"takt_v{place}")) for place in range(len(values))]),
        parts=_sql(" UNION ALL ").join(parts),
    )


def _told(kinds: Mapping[int, str], values: Sequence[str], as_of: sql.Literal) -> sql.Composed:
    named = [_sql(", {} AS {}").format(_value(each), sql.Identifier(f"v{place}")) for place, each in enumerate(values)]
    numbers = sql.Literal(sorted(kinds))
    return _sql(_TOLD).format(kind=_case("e.kind", kinds), values=sql.Composed(named), kinds=numbers, as_of=as_of)


def _again(
    name: str, recurring: sql.Composed, nulls: sql.SQL, before: int = 1, within_us: int = DAYS * DAY_US
) -> sql.Composed:
    return _sql(_AGAIN).format(
        again=sql.Literal(name),
        nulls=nulls,
        before=sql.Literal(before),
        recurring=recurring,
        window=sql.Literal(DAYS * DAY_US),
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
