"""One experiment's exposures and events as Ibis relations on the service's own PostgreSQL, all of one instant.

What is analysed is brought together first, in temporary tables of a connection of its own: the tables that grow are
read once, however many queries follow. One transaction (REPEATABLE READ) sees exposures and events as of one snapshot,
and is read-only once they are together. Nothing leaves the database here but counts.

Contacts come from the journal, as `sent`: confirmed, recorded, unasked, late, and presumed sent at the end of their
lease; never what was released, expired or revoked. `sent` among the events tells of the same contacts, and is left out.
"""

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import Connection, IsolationLevel, sql
from psycopg.rows import TupleRow

from engine.core.errors import DatabaseUnavailable
from engine.core.events import EventType
from engine.core.policy import DAY_US
from engine.store import analysis_sql
from engine.store.analysis_sql import ACTIVE_WEEK, BOUNCED_AGAIN, CHANNELS, COMPLAINED_AGAIN, LEAVES, LEFT, RETURNED
from engine.store.exposures import ExposureFlag
from engine.store.pruning import REFUSALS
from experiments.design import Columns
from experiments.errors import ExperimentError

STATEMENT_LIMIT_S: Final = 900
COLUMNS: Final = Columns(
    unit="takt_unit",  # a number: what is grouped and joined most
    variant="takt_variant",
    entered="takt_entered_us",
    phase="takt_phase",
    event="takt_type",
    at="takt_at_us",
    channel="takt_channel",
    suspect="takt_suspect",
    time_zone="takt_time_zone",
)  # attributes and fields of events stand beside these, under names of their own
RESERVED: Final = frozenset({"hard", "id", "source"})  # no names of fields: to `experiments` they mean something
_SETTINGS: Final = {
    "timezone": "UTC",
    "jit": "off",
    "statement_timeout": f"{STATEMENT_LIMIT_S}s",
    "lock_timeout": f"{STATEMENT_LIMIT_S}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_LIMIT_S}s",
    "client_connection_check_interval": "1s",  # a reader that went away stops what it asked for, and lets others in
    "work_mem": "128MB",
    "hash_mem_multiplier": "6",  # a group a customer: a million take 500 MB
    "temp_buffers": "64MB",
    "cursor_tuple_fraction": "1.0",  # all rows of an aggregate are fetched, not the first few
}
LOCK_CLASS: Final = 7_236_874
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SOURCES: Final[Mapping[str, Collection[EventType]]] = {
    RETURNED: (EventType.SESSION,),
    ACTIVE_WEEK: (EventType.SESSION,),
    BOUNCED_AGAIN: (EventType.BOUNCED,),
    COMPLAINED_AGAIN: (EventType.COMPLAINED,),
    LEFT: LEAVES,
}


class Wanted(NamedTuple):
    """What of an experiment is analysed. `by_divergence`: customers enter when variants first differ for them, not when
    they became eligible. `segments` are attributes; `time_zones`: whether those of customers are needed. `testers` are
    never analysed, even if they were none when they entered."""

    number: int
    variants: tuple[str, ...]
    by_divergence: bool = False
    segments: tuple[str, ...] = ()
    time_zones: bool = False
    testers: tuple[str, ...] = ()


class Entered(NamedTuple):
    """Customers of a variant and phase, by place in the plan: how many are eligible, and of them analysed."""

    variant: int
    phase: int
    eligible: int
    analysed: int


class Met(NamedTuple):
    """How many customers of a variant were in a variant of another experiment at the same time."""

    variant: int
    experiment: str
    other: str
    customers: int


class Refused(NamedTuple):
    """Messages first refused to customers of a variant who were watched for a week or longer: `watched_us` together."""

    variant: str
    customers: int
    watched_us: int
    messages: int


class Relations:
    """What is analysed, within `one_instant`, which is `now_us`: those whom the statement `entered` brings into
    `takt_exposed`, and what happened to them before `as_of_us`: now, or `until_us` where that is earlier. What is
    derived of events is looked for in the first `days` days of each."""

    def __init__(
        self,
        connection: Connection[TupleRow],
        entered: sql.Composed,
        until_us: int | None = None,
        segments: Sequence[str] = (),
        days: int = analysis_sql.DAYS,
    ) -> None:
        self._connection = connection
        self._segments, self._days = segments, days
        self._fields: Mapping[str, str] = {}
        self.now_us: int = self._rows("SELECT takt_clock()")[0][0]
        self.as_of_us = self.now_us if until_us is None else min(self.now_us, until_us)
        self._bring("takt_exposed", entered)
        self._bring("takt_contacts", analysis_sql.contacts(self.as_of_us))

    def channels(self) -> list[str]:
        """Those in which anything was sent to whom is analysed."""
        return [CHANNELS[number] for (number,) in self._rows("SELECT DISTINCT channel FROM takt_contacts ORDER BY 1")]

    def tables(self, kinds: Collection[str], values: Collection[str]) -> tuple[Any, Any]:
        """Exposures and events, as Ibis tables under `COLUMNS`: events of these types, with these fields as numbers.

        From here on the transaction is read-only.
        """
        fields = sorted(values)
        needed = frozenset(kinds).union(*(sources for name, sources in _SOURCES.items() if name in kinds))
        numbers = self._numbers(needed)
        tables, view = analysis_sql.happened(kinds, numbers, fields, self.as_of_us, self._days)
        for name, statement in tables.items():
            self._bring(name, statement)
        self._connection.execute(view)
        self._connection.execute("SET TRANSACTION READ ONLY")
        backend = import_module("ibis.backends.postgres").Backend.from_connection(self._connection)
        exposures = backend.table("takt_exposed").drop("takt_customer_id")
        events = backend.table("takt_happened")
        self._fields = {name: f"takt_v{place}" for place, name in enumerate(fields)}
        segments = {name: f"takt_s{place}" for place, name in enumerate(self._segments)}
        return exposures.rename(segments), events.rename(self._fields)

    def has(self, kind: str, field: str | None = None) -> bool:
        """Whether there is any event of this type, among those of `tables`, that has this field if one is named."""
        column = sql.SQL("takt_unit") if field is None else sql.Identifier(self._fields[field])
        query = sql.SQL("SELECT EXISTS (SELECT FROM takt_happened WHERE takt_type = {} AND {} IS NOT NULL)")
        found = self._connection.execute(query.format(sql.Literal(kind), column)).fetchone()
        return found is not None and found[0]

    def pauses(self, since_us: int) -> list[tuple[int, list[dict[str, Any]]]]:
        """The pauses that were in force from `since_us` on, each time with the instant from which they were."""
        rows = self._rows(
            "SELECT activated_us, pauses FROM rulesets WHERE activated_us < %s AND number >= coalesce("
            "(SELECT max(number) FROM rulesets WHERE activated_us <= %s), 0) ORDER BY number",
            (self.as_of_us, since_us),
        )
        return [(at_us, pauses) for at_us, pauses in rows]

    def refused(self, days: int) -> tuple[int, list[Refused]]:
        """What those who entered were refused in the last days of what is analysed, or of them as far as refusals are
        on record: from when on, and by variant. Nobody where less than a week of that time is."""
        query = "SELECT coalesce(max(since_us), 0) FROM kept_since WHERE name = %s"
        since_us = max(self.as_of_us - days * DAY_US, self._rows(query, (REFUSALS,))[0][0])
        rows = self._connection.execute(analysis_sql.refused_lately(since_us, self.as_of_us)).fetchall()
        return since_us, [Refused._make(each) for each in rows]

    def _numbers(self, names: Iterable[str]) -> dict[str, int]:
        """The numbers of labels; what was never interned has none, and no event."""
        return dict(self._rows("SELECT name, number FROM labels WHERE name = ANY(%s)", (sorted(names),)))

    def _bring(self, table: str, statement: sql.Composed) -> None:
        self._connection.execute(statement)
        self._connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[TupleRow]:
        return self._connection.execute(query.encode(), values).fetchall()


class Analysis(Relations):
    """The relations of one experiment."""

    def __init__(self, connection: Connection[TupleRow], wanted: Wanted, until_us: int | None = None) -> None:
        instant = "diverged_us" if wanted.by_divergence else "eligible_us"
        entered = analysis_sql.entered(
            wanted.number, wanted.variants, instant, wanted.segments, wanted.time_zones, wanted.testers
        )
        super().__init__(connection, entered, until_us, wanted.segments)
        self._wanted = wanted

    def entered(self) -> list[Entered]:
        """How many entered, by variant and phase, without those who are never analysed."""
        analysed = "diverged_us" if self._wanted.by_divergence else "eligible_us"
        rows = self._rows(
            f"SELECT variant, phase, count(eligible_us), count({analysed}) FROM exposures"
            " WHERE experiment = %s AND flags = 0 AND eligible_us < %s GROUP BY variant, phase ORDER BY variant, phase",
            (self._wanted.number, self.as_of_us),
        )
        return [Entered._make(each) for each in rows]

    def left_out(self) -> Mapping[ExposureFlag, int]:
        """How many of those who entered are never analysed, and why."""
        instant = "diverged_us" if self._wanted.by_divergence else "eligible_us"
        rows = self._rows(
            f"SELECT flags, count(*) FROM exposures WHERE experiment = %s AND {instant} < %s"
            " AND (flags <> 0 OR customer_id = ANY(%s)) GROUP BY flags ORDER BY flags",
            (self._wanted.number, self.as_of_us, list(self._wanted.testers)),
        )
        return {ExposureFlag(flags): count for flags, count in rows}

    def met(self) -> list[Met]:
        """With which variants of other experiments those of this one met in one customer."""
        rows = self._rows(
            "SELECT e.variant, o.key, coalesce(o.plan->'variants'->p.variant->>'name', p.variant::text), count(*)"
            " FROM exposures e JOIN exposures p ON p.customer_id = e.customer_id AND p.experiment <> e.experiment"
            " JOIN experiments o ON o.number = p.experiment WHERE e.experiment = %s AND e.flags = 0 AND p.flags = 0"
            " AND e.eligible_us < %s AND p.eligible_us < %s AND coalesce(o.ended_us, %s) > e.eligible_us"
            " GROUP BY o.number, o.key, e.variant, p.variant, 3 ORDER BY o.number, e.variant, p.variant",
            (self._wanted.number, *(3 * [self.as_of_us])),
        )
        return [Met._make(each) for each in rows]

    def changed_under(self) -> list[tuple[int, int, list[str] | None]]:
        """With which versions of the policy, and when, what the experiment compares became another: what of it was
        besides its own budgets, in words, or None where it was one of these."""
        return self._rows(
            "SELECT (data->>'version')::integer, at_us, data->'beside' FROM experiment_log"
            " WHERE experiment = %s AND action = 'policy' ORDER BY entry",
            (self._wanted.number,),
        )


def outside(exposures: Any, stretches: Iterable[tuple[int, int]]) -> Any:
    """The exposures without those that lie in one of these stretches [from, until)."""
    entered = exposures[COLUMNS.entered]
    for from_us, until_us in stretches:
        exposures = exposures.filter((entered < from_us) | (entered >= until_us))
    return exposures


def instant(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)


@contextmanager
def alone(url: str, number: int) -> Generator[Connection[TupleRow]]:
    """A connection for one readout of this experiment: who comes meanwhile waits for it to end."""
    options = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
    try:
        with psycopg.connect(
            url, autocommit=True, connect_timeout=5, application_name="takt-readout", options=options
        ) as connection:
            connection.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, number))
            yield connection
    except psycopg.errors.QueryCanceled as error:
        raise DatabaseUnavailable("the database took too long for a readout") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DatabaseUnavailable("the database is not reachable") from error


@contextmanager
def one_instant(connection: Connection[TupleRow]) -> Generator[None]:
    """A transaction that sees everything as it is at its beginning."""
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with connection.transaction():
            yield
    except ExperimentError as error:
        if isinstance(error.__cause__, psycopg.errors.QueryCanceled | psycopg.OperationalError):
            raise error.__cause__ from error  # the database gave up: nothing is wrong with the tables
        raise
    finally:
        connection.isolation_level = None
