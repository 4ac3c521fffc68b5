"""A whole audience asked about before a campaign: who may be sent to, who may not, why, and from when on.

Streams: some ten thousand customers are asked at a time, two such portions are on their way at once, and nothing is
kept but the counts. A message id is campaign:run:customer, so whoever starts the same run again charges nobody twice:
what was reserved is answered again, the rest is decided. Run twice, that is also how a killed run is resumed.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias

from engine.core.account import State
from engine.core.errors import InvalidAsk, NotFound, Problem, TaktError, Unavailable
from engine.core.policy import HOUR_US, OnExpiry
from engine.core.verdict import Ask, Verdict
from engine.operations import policies
from engine.operations.audience import ID_CHARS_MAX, LABEL, Audience, BadRow, Portion, taken
from engine.operations.decide import FARTHEST_SEND_US, Answer, AskCommand
from engine.operations.decider import Decider
from engine.operations.result_file import Column, Kind, ResultFile

IN_FLIGHT: Final = 2
BAD_ROWS_KEPT: Final = 20
LEASE_US_MAX: Final = FARTHEST_SEND_US
_ID_CHARS_LEFT: Final = 20
_PATIENCE_S: Final = 60.0
_AGAIN_S: Final = 1.0

COLUMNS: Final = (
    Column("message_id", Kind.TEXT),
    Column("verdict", Kind.TEXT),
    Column("state", Kind.TEXT),
    Column("reasons", Kind.TEXT),
    Column("retry_at", Kind.INSTANT),
    Column("retry_certain", Kind.FLAG),
    Column("lease_expires_at", Kind.INSTANT),
)

Progress: TypeAlias = Callable[[int], None]  # told how many rows are done
_Row: TypeAlias = tuple[str, str, str | None, str, int | None, bool, int | None]


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

    def add_bad(self, rows: Sequence[BadRow]) -> None:
        self.bad += len(rows)
        self.bad_rows += rows[: BAD_ROWS_KEPT - len(self.bad_rows)]


async def screen(
    decider: Decider,
    audience: Audience,
    screening: Screening,
    allowed: Path,
    refused: Path | None = None,
    progress: Progress | None = None,
) -> Tally:
    """Ask about everybody in the audience, and write who may be sent to (and who may not, with the reasons).

    The files appear once all is answered; until then whatever they held before stays. Raises `TaktError` where the
    screening could not be finished: start it again, with the same run.
    """
    await _check(decider, screening)
    tally = Tally()
    sorter = _Sorter(tally)
    with ResultFile(allowed, audience.schema, COLUMNS, audience.delimiter) as allowed_file:
        if refused is None:
            await _stream(decider, audience, screening, sorter, allowed_file, None, progress)
        else:
            with ResultFile(refused, audience.schema, COLUMNS, audience.delimiter) as refused_file:
                await _stream(decider, audience, screening, sorter, allowed_file, refused_file, progress)
                refused_file.finish()
        allowed_file.finish()
    return tally


async def _stream(
    decider: Decider,
    audience: Audience,
    screening: Screening,
    sorter: "_Sorter",
    allowed: ResultFile,
    refused: ResultFile | None,
    progress: Progress | None,
) -> None:
    async with _in_flight() as asked:
        for portion in _once(audience, sorter.tally):
            if len(asked) >= IN_FLIGHT:
                await _write(*asked.popleft(), sorter, allowed, refused, progress)
            task = asyncio.create_task(_ask(decider, screening, portion))
            asked.append((portion, task))
            await asyncio.sleep(0)  # the lanes begin on it while the next is read
        while asked:
            await _write(*asked.popleft(), sorter, allowed, refused, progress)


_Answers: TypeAlias = "asyncio.Task[list[Answer | TaktError]]"


@asynccontextmanager
async def _in_flight() -> AsyncGenerator[deque[tuple[Portion, _Answers]]]:
    """What was asked and is not written yet; nobody waits for it any more once something failed."""
    asked: deque[tuple[Portion, _Answers]] = deque()
    try:
        yield asked
    finally:
        for _, task in asked:
            task.cancel()
        await asyncio.gather(*(task for _, task in asked), return_exceptions=True)


def _once(audience: Audience, tally: Tally) -> Iterator[Portion]:
    """The portions without customers who were there before: the first row of each stands."""
    seen: set[str] = set()
    for portion in audience.portions():
        tally.add_bad(portion.bad)
        if not audience.repeated:
            yield portion
            continue
        first: list[int] = []
        for index, customer_id in enumerate(portion.customer_ids):
            if hash(customer_id) in audience.repeated:
                if customer_id in seen:
                    tally.duplicates += 1
                    continue
                seen.add(customer_id)
            first.append(index)
        yield portion if len(first) == len(portion.customer_ids) else _chosen(portion, first)


def _chosen(portion: Portion, indices: list[int]) -> Portion:
    """Some rows of a portion."""
    return portion._replace(
        customer_ids=[portion.customer_ids[each] for each in indices],
        places=[portion.places[each] for each in indices],
        carried=taken(portion.carried, indices),
    )


async def _ask(decider: Decider, screening: Screening, portion: Portion) -> list[Answer | TaktError]:
    """The answers in order. Whoever could not be answered is asked again for a while: the message ids replay."""
    ask, sender, message_id = screening.ask, screening.sender, screening.message_id
    commands = [AskCommand(each, message_id(each), ask, sender) for each in portion.customer_ids]
    answers: list[Any] = await decider.settle_all(commands)
    give_up = asyncio.get_running_loop().time() + _PATIENCE_S
    while open_ := [index for index, answer in enumerate(answers) if isinstance(answer, Unavailable)]:
        if asyncio.get_running_loop().time() > give_up:
            raise answers[open_[0]]
        await asyncio.sleep(_AGAIN_S)
        again = await decider.settle_all([commands[index] for index in open_])
        for index, answer in zip(open_, again, strict=True):
            answers[index] = answer
    return answers


async def _write(
    portion: Portion,
    task: _Answers,
    sorter: "_Sorter",
    allowed: ResultFile,
    refused: ResultFile | None,
    progress: Progress | None,
) -> None:
    may, may_not = sorter.sort(portion, await task)
    for indices, rows, file in ((*may, allowed), (*may_not, refused)):
        if indices and file is not None:
            everybody = len(indices) == len(portion.customer_ids)
            file.write(portion.carried if everybody else taken(portion.carried, indices), list(zip(*rows, strict=True)))
    if progress is not None:
        progress(sorter.tally.rows)


class _Sorter:
    """Sorts answers into who may be sent to and who may not, and counts them."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self._texts: dict[tuple[tuple[str, str], ...], str] = {(): ""}

    def sort(
        self, portion: Portion, answers: Sequence[Answer | TaktError]
    ) -> tuple[tuple[list[int], list[_Row]], tuple[list[int], list[_Row]]]:
        tally = self.tally
        allowed: list[int] = []
        refused: list[int] = []
        allowed_rows: list[_Row] = []
        refused_rows: list[_Row] = []
        outcomes: Counter[Outcome] = Counter()
        for index, answer in enumerate(answers):
            if isinstance(answer, TaktError):
                tally.add_bad([BadRow(portion.places[index], str(answer))])
                continue
            outcome = _outcome(answer)
            outcomes[outcome] += 1
            reasons = answer.reasons
            row: _Row = (
                answer.message_id or "",
                answer.verdict.value,
                None if answer.state is None else answer.state.value,
                self._text(tuple([(each.code, each.rule) for each in reasons])) if reasons else "",
                answer.retry_at_us,
                answer.retry_certain,
                answer.lease_expires_us,
            )
            if answer.replayed:
                tally.resumed += 1
            if answer.observed is not None:
                tally.observed[answer.observed] += 1
            if outcome is Outcome.ALLOWED:
                allowed.append(index)
                allowed_rows.append(row)
                continue
            refused.append(index)
            refused_rows.append(row)
            if outcome is Outcome.DEFERRED and answer.retry_at_us is not None:
                tally.frees[answer.retry_at_us // HOUR_US] += 1
        for row in allowed_rows:
            if row[-1] is not None and (tally.held_until_us is None or row[-1] > tally.held_until_us):
                tally.held_until_us = row[-1]
        tally.outcomes.update(outcomes)
        return (allowed, allowed_rows), (refused, refused_rows)

    def _text(self, pairs: tuple[tuple[str, str], ...]) -> str:
        """Reasons as `limit email-weekly; min_gap spacing`, counted."""
        self.tally.reasons.update(pairs)
        text = self._texts.get(pairs)
        if text is None:
            text = self._texts[pairs] = "; ".join(f"{code} {rule}" for code, rule in pairs)
        return text


def _outcome(answer: Answer) -> Outcome:
    match answer.verdict:
        case Verdict.ALLOW:
            return Outcome.ALLOWED if answer.state is None or answer.state is State.RESERVED else Outcome.SENT
        case Verdict.DEFER:
            return Outcome.DEFERRED
        case Verdict.DENY:
            return Outcome.DENIED


async def _check(decider: Decider, screening: Screening) -> None:
    """Before anything is asked: what would be wrong with every ask."""
    if await policies.in_force(decider.database) is None:
        raise NotFound("no policy is active: `takt policy activate considerate`")
    if screening.reserves and not 0 < (screening.lease_us or 1) <= LEASE_US_MAX:
        raise InvalidAsk([Problem("lease", "another time", "more than nothing, and at most 14 days")])
    send_at_us = screening.send_at_us
    if send_at_us is not None and send_at_us > await decider.database.clock_us() + FARTHEST_SEND_US:
        raise InvalidAsk([Problem("send_at", "an instant more than 14 days ahead", "one at most 14 days ahead")])
