"""What is asked about every customer of an audience, and what the answers come to.

All values: they cross to worker processes and back.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Final, NamedTuple, TypeAlias

from engine.core.account import State
from engine.core.errors import InvalidAsk, Problem, TaktError
from engine.core.policy import HOUR_US, OnExpiry
from engine.core.verdict import Ask, Verdict
from engine.operations.audience import ID_CHARS_MAX, LABEL, BadRow
from engine.operations.decide import Answer
from engine.operations.result_file import Column, Kind

BAD_ROWS_KEPT: Final = 20
_ID_CHARS_LEFT: Final = 20

COLUMNS: Final = (
    Column("message_id", Kind.TEXT),
    Column("verdict", Kind.TEXT),
    Column("state", Kind.TEXT),
    Column("reasons", Kind.TEXT),
    Column("retry_at", Kind.INSTANT),
    Column("retry_certain", Kind.FLAG),
    Column("lease_expires_at", Kind.INSTANT),
)

Row: TypeAlias = tuple[str, str, str | None, str, int | None, bool, int | None]  # the values of `COLUMNS`


class Outcome(StrEnum):
    """What became of a customer. `SENT`: this run was started before, and the message is on its way or there."""

    ALLOWED = "allowed"
    DEFERRED = "deferred"
    DENIED = "denied"
    SENT = "sent already"


@dataclass(frozen=True)
class Screening:
    """What is asked about every customer. Instants and durations in microseconds.

    Without `reserves` nobody's budget is taken. With it each allowed message is held for `lease_us` from its send on,
    and counts as sent when nobody says otherwise by then, unless `on_expiry` says that it was not.
    """

    channel: str
    topic: str
    campaign: str
    run: str
    team: str | None = None
    sender: str | None = None
    priority: int = 50
    send_at_us: int | None = None
    reserves: bool = False
    lease_us: int | None = None
    on_expiry: OnExpiry = OnExpiry.PRESUME_SENT

    def __post_init__(self) -> None:
        problems = [
            Problem(name, repr(value), "1 to 200 characters, none of them a control character")
            for name in ("topic", "campaign", "run", "team", "sender")
            if (value := getattr(self, name)) is not None and not LABEL.fullmatch(value)
        ]
        if ":" in self.run:
            problems.append(Problem("run", repr(self.run), "a name without a colon"))
        if self.id_chars_max < _ID_CHARS_LEFT:
            problems.append(Problem("campaign", "with the run so long a name", "room for ids in campaign:run:customer"))
        if not 0 <= self.priority <= 100:
            problems.append(Problem("priority", str(self.priority), "a whole number from 0 to 100"))
        if problems:
            raise InvalidAsk(problems)

    def message_id(self, customer_id: str) -> str:
        return self._prefix + customer_id

    @property
    def id_chars_max(self) -> int:
        """How long a customer's id may be, for a message id to fit."""
        return ID_CHARS_MAX - len(self._prefix)

    @cached_property
    def _prefix(self) -> str:
        return f"{self.campaign}:{self.run}:"

    @cached_property
    def ask(self) -> Ask:
        return Ask(
            self.channel,
            self.topic,
            self.campaign,
            self.team,
            self.priority,
            1,
            self.send_at_us,
            self.lease_us if self.reserves else None,
            self.on_expiry,
            self.reserves,
        )


@dataclass
class Tally:
    """What a screening found. `reasons` counts customers by code and rule (one may have several), `frees` the deferred
    by the hour in which they may be asked again. `resumed` were reserved by an earlier start of the same run."""

    outcomes: Counter[Outcome] = field(default_factory=Counter[Outcome])
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    frees: Counter[int] = field(default_factory=Counter[int])
    observed: Counter[Verdict] = field(default_factory=Counter[Verdict])
    held_until_us: int | None = None
    resumed: int = 0
    duplicates: int = 0
    bad: int = 0
    bad_rows: list[BadRow] = field(default_factory=list[BadRow])

    @property
    def rows(self) -> int:
        """The rows of the audience that were looked at."""
        return sum(self.outcomes.values()) + self.duplicates + self.bad

    def freed_by_us(self, share: float) -> int | None:
        """The hour by whose end that share of the deferred may be asked again; None where nobody is deferred."""
        wanted, found = share * self.frees.total(), 0
        for hour, count in sorted(self.frees.items()):
            found += count
            if found >= wanted:
                return (hour + 1) * HOUR_US
        return None

    def add(self, other: "Tally") -> None:
        """Count in what another part of the audience brought."""
        self.outcomes.update(other.outcomes)
        self.reasons.update(other.reasons)
        self.frees.update(other.frees)
        self.observed.update(other.observed)
        self.held_until_us = max(self.held_until_us or 0, other.held_until_us or 0) or None
        self.resumed += other.resumed
        self.duplicates += other.duplicates
        self.add_bad(other.bad_rows, other.bad)

    def add_bad(self, rows: Sequence[BadRow], count: int | None = None) -> None:
        self.bad += len(rows) if count is None else count
        self.bad_rows += rows[: BAD_ROWS_KEPT - len(self.bad_rows)]


class Sorted(NamedTuple):
    """The answers to a portion, told apart: who may be sent to and who may not, by their index in it."""

    allowed: list[int]
    allowed_rows: list[Row]
    refused: list[int]
    refused_rows: list[Row]
    tally: Tally


def sort(places: Sequence[int], answers: Sequence[Answer | TaktError]) -> Sorted:
    """Tell answers apart and count them; an ask that met an error is a bad row of its place."""
    found = Sorted([], [], [], [], Tally())
    tally = found.tally
    for index, answer in enumerate(answers):
        if isinstance(answer, TaktError):
            tally.add_bad([BadRow(places[index], str(answer))])
            continue
        outcome = _outcome(answer)
        tally.outcomes[outcome] += 1
        tally.resumed += answer.replayed
        pairs = tuple([(each.code.value, each.rule) for each in answer.reasons])
        tally.reasons.update(pairs)
        if answer.observed is not None:
            tally.observed[answer.observed] += 1
        row: Row = (
            answer.message_id or "",
            answer.verdict.value,
            None if answer.state is None else answer.state.value,
            _text(pairs),
            answer.retry_at_us,
            answer.retry_certain,
            answer.lease_expires_us,
        )
        if outcome is Outcome.ALLOWED:
            found.allowed.append(index)
            found.allowed_rows.append(row)
            continue
        found.refused.append(index)
        found.refused_rows.append(row)
        if outcome is Outcome.DEFERRED and answer.retry_at_us is not None:
            tally.frees[answer.retry_at_us // HOUR_US] += 1
    tally.held_until_us = max((row[-1] for row in found.allowed_rows if row[-1] is not None), default=None)
    return found


@lru_cache(maxsize=1_000)
def _text(pairs: tuple[tuple[str, str], ...]) -> str:
    """Reasons as `limit email-weekly; min_gap spacing`."""
    return "; ".join(f"{code} {rule}" for code, rule in pairs)


def _outcome(answer: Answer) -> Outcome:
    match answer.verdict:
        case Verdict.ALLOW:
            return Outcome.ALLOWED if answer.state is None or answer.state is State.RESERVED else Outcome.SENT
        case Verdict.DEFER:
            return Outcome.DEFERRED
        case Verdict.DENY:
            return Outcome.DENIED
