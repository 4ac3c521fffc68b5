"""A whole audience asked about before a campaign: who may be sent to, who may not, why, and from when on.

Streams: some ten thousand customers are asked at a time, a few such portions are on their way at once, and nothing is
kept but the counts. A message id is campaign:run:customer, so whoever starts the same run again charges nobody twice:
what was reserved is answered again, the rest is decided. That is also how a killed run is resumed.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from engine.core.errors import InvalidAsk, NotFound, Problem, TaktError, Unavailable
from engine.operations import policies
from engine.operations.audience import Audience, Portion, taken
from engine.operations.decide import FARTHEST_SEND_US, Answer, AskCommand
from engine.operations.decider import Decider
from engine.operations.result_file import ResultFile
from engine.operations.screening import COLUMNS, Screening, Sorted, Tally, sort

IN_FLIGHT: Final = 2
LEASE_US_MAX: Final = FARTHEST_SEND_US
_PATIENCE_S: Final = 60.0
_AGAIN_S: Final = 1.0

Progress: TypeAlias = Callable[[int], None]  # told how many rows are done
Asker: TypeAlias = Callable[[Portion], Awaitable[Sorted]]


async def screen(
    decider: Decider,
    audience: Audience,
    screening: Screening,
    allowed: Path,
    refused: Path | None = None,
    progress: Progress | None = None,
    asker: Asker | None = None,
    in_flight: int = IN_FLIGHT,
) -> Tally:
    """Ask about everybody in the audience, and write who may be sent to (and who may not, with the reasons).

    The files appear once all is answered; until then whatever they held before stays. `asker` asks about a portion in
    another way than through this decider. Raises `TaktError` where the screening could not be finished: start it again,
    with the same run.
    """
    await _check(decider, screening)

    async def ask_here(portion: Portion) -> Sorted:
        return await ask(decider, screening, portion.customer_ids, portion.places)

    tally = Tally()
    with ExitStack() as stack:
        allowed_file, refused_file = (
            None
            if path is None
            else stack.enter_context(ResultFile(path, audience.schema, COLUMNS, audience.delimiter))
            for path in (allowed, refused)
        )
        async for portion, answered in _answered(_once(audience, tally), asker or ask_here, in_flight):
            _write(allowed_file, portion, answered.allowed, answered.allowed_rows)
            _write(refused_file, portion, answered.refused, answered.refused_rows)
            tally.add(answered.tally)
            if progress is not None:
                progress(tally.rows)
        for file in (refused_file, allowed_file):
            if file is not None:
                file.finish()
    return tally


async def ask(decider: Decider, screening: Screening, customer_ids: Sequence[str], places: Sequence[int]) -> Sorted:
    """Ask about some customers. Whoever could not be answered is asked again for a while: the message ids replay."""
    wanted, sender, message_id = screening.ask, screening.sender, screening.message_id
    commands = [AskCommand(each, message_id(each), wanted, sender) for each in customer_ids]
    answers: list[Any] = await decider.settle_all(commands)
    give_up = asyncio.get_running_loop().time() + _PATIENCE_S
    while open_ := [index for index, answer in enumerate(answers) if isinstance(answer, Unavailable)]:
        if asyncio.get_running_loop().time() > give_up:
            raise answers[open_[0]]
        await asyncio.sleep(_AGAIN_S)
        again = await decider.settle_all([commands[index] for index in open_])
        for index, answer in zip(open_, again, strict=True):
            answers[index] = answer
    found: list[Answer | TaktError] = answers
    return sort(places, found)


@asynccontextmanager
async def _in_flight() -> AsyncGenerator[deque[tuple[Portion, asyncio.Future[Sorted]]]]:
    """What was asked and is not written yet; nobody waits for it any more once something failed."""
    asked: deque[tuple[Portion, asyncio.Future[Sorted]]] = deque()
    try:
        yield asked
    finally:
        for _, future in asked:
            future.cancel()
        await asyncio.gather(*(future for _, future in asked), return_exceptions=True)


async def _answered(
    portions: Iterator[Portion], asker: Asker, in_flight: int
) -> AsyncGenerator[tuple[Portion, Sorted]]:
    """The portions with their answers, in order, so many asked about ahead."""
    async with _in_flight() as asked:
        for portion in portions:
            if len(asked) >= in_flight:
                before, future = asked.popleft()
                yield before, await future
            asked.append((portion, asyncio.ensure_future(asker(portion))))
            await asyncio.sleep(0)  # it is begun while the next is read
        while asked:
            before, future = asked.popleft()
            yield before, await future


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


def _write(file: ResultFile | None, portion: Portion, indices: list[int], rows: Sequence[Sequence[object]]) -> None:
    if file is not None and indices:
        everybody = len(indices) == len(portion.customer_ids)
        carried = portion.carried if everybody else taken(portion.carried, indices)
        file.write(carried, list(zip(*rows, strict=True)))


async def _check(decider: Decider, screening: Screening) -> None:
    """Before anything is asked: what would be wrong with every ask."""
    if await policies.in_force(decider.database) is None:
        raise NotFound("no policy is active: `takt policy activate considerate`")
    if screening.reserves and not 0 < (screening.lease_us or 1) <= LEASE_US_MAX:
        raise InvalidAsk([Problem("lease", "another time", "more than nothing, and at most 14 days")])
    send_at_us = screening.send_at_us
    if send_at_us is not None and send_at_us > await decider.database.clock_us() + FARTHEST_SEND_US:
        raise InvalidAsk([Problem("send_at", "an instant more than 14 days ahead", "one at most 14 days ahead")])
