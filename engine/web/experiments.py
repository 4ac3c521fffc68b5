"""Pages of experiments: all of them, one with what it found, and the steps that are taken there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response

from engine.core.errors import Conflict, Invalid, NotFound, Problem
from engine.core.policy import DAY_US
from engine.operations import experiments, plan_changes, programme
from engine.operations.experiments import By, State, day_of
from engine.operations.plan_file import read_plan
from engine.operations.programme import Seen
from engine.operations.readouts import Readouts
from engine.operations.ship import LEAST_HELD, MOST_HELD, end_holdout, readouts_us, ship
from engine.render import explorer
from engine.render.drawing import drawn
from engine.render.experiment import (
    Held,
    Read,
    Refused,
    Subject,
    experiment_page,
    experiments_page,
    holdout_page,
    read,
)
from engine.render.treatment import treatments
from engine.store.database import Database
from engine.store.snapshots import Reading
from engine.web.answers import PageRoute, of_html, see, sentence
from engine.web.asking import Who, database_of
from engine.web.framing import framed
from engine.web.signing_in import Reader, Viewer, form
from experiments.design import Experiment

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Key = Annotated[str, Path(min_length=1, max_length=100, pattern="^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
At = Annotated[int, Path(ge=0, lt=2**62)]
Day = Annotated[int, Path(ge=1, le=10_000)]
_PLACE: Final = "/experiments"
_NOTE_MOST: Final = 2_000

Fields = Mapping[str, str]


@router.get(_PLACE)
async def listed(request: Request, who: Reader, state: State | None = None) -> Response:
    found = await programme.lines(database_of(request), state)
    frame = await framed(request, who, "Experiments", _PLACE)
    return of_html(experiments_page(frame, found, state and state.value))


@router.get("/experiments/{key}")
async def one(key: Key, request: Request, who: Reader) -> Response:
    return await _shown(request, who, key)


@router.get("/experiments/{key}/readouts/{at_us}")
async def as_of(key: Key, at_us: At, request: Request, who: Reader) -> Response:
    """A permanent address: what is there was computed at that instant."""
    return await _shown(request, who, key, at_us)


@router.get("/experiments/{key}/holdout")
async def holdout(key: Key, request: Request, who: Reader) -> Response:
    """The newest readout of the holdout that shipping left."""
    return await _shown_held(request, who, key, None)


@router.get("/experiments/{key}/holdout/{day:int}")  # else GET of a step there would be a day
async def holdout_of_day(key: Key, day: Day, request: Request, who: Reader) -> Response:
    """The one of a day that was planned: it never changes."""
    return await _shown_held(request, who, key, day)


@router.post("/experiments/{key}/preflight")
async def look_ahead(key: Key, request: Request, who: Who) -> Response:
    """What a start would meet. Writes nothing, so the page itself is the answer."""
    await form(request, who)
    try:
        record = (await experiments.whole(database_of(request), key)).record
        checked = await experiments.validate(database_of(request), record.source, key)
    except (Conflict, Invalid) as error:
        return await _refused(request, who, key, "preflight", error, {})
    ahead = {**checked.preflight.data(), "warnings": list(checked.preflight.warnings)}
    return await _shown(request, who, key, ahead=ahead)


@router.post("/experiments/{key}/start")
async def start(key: Key, request: Request, who: Who) -> Response:
    async def step(database: Database, by: By, _: Fields) -> None:
        await experiments.start(database, key, by)

    return await _taken(request, who, key, "start", step)


@router.post("/experiments/{key}/ramp")
async def ramp(key: Key, request: Request, who: Who) -> Response:
    async def step(database: Database, by: By, fields: Fields) -> None:
        await experiments.ramp(database, key, by, traffic=_percent(fields, "traffic"))

    return await _taken(request, who, key, "ramp", step)


@router.post("/experiments/{key}/phase")
async def begin_phase(key: Key, request: Request, who: Who) -> Response:
    async def step(database: Database, by: By, fields: Fields) -> None:
        plan = read_plan((await experiments.whole(database, key)).record.plan)
        weights = {
            each.name: _number(fields, f"weight-{place + 1}", f"the weight of {each.name}")
            for place, each in enumerate(plan.variants)
        }
        await experiments.begin_phase(database, key, by, weights=weights)

    return await _taken(request, who, key, "phase", step)


@router.post("/experiments/{key}/stop")
async def stop(key: Key, request: Request, who: Who) -> Response:
    async def step(database: Database, by: By, _: Fields) -> None:
        await experiments.stop(database, key, by)

    return await _taken(request, who, key, "stop", step)


@router.post("/experiments/{key}/ship")
async def ship_it(key: Key, request: Request, who: Who) -> Response:
    async def step(database: Database, by: By, fields: Fields) -> None:
        share = _percent(fields, "holdout") if fields.get("holdout") else None
        await ship(database, key, by, variant=fields.get("variant", ""), held=share)

    return await _taken(request, who, key, "ship", step)


@router.post("/experiments/{key}/notes")
async def note(key: Key, request: Request, who: Who) -> Response:
    async def step(database: Database, by: By, fields: Fields) -> None:
        text = fields.get("note", "")
        if len(text) > _NOTE_MOST:
            raise Invalid([Problem("note", f"{len(text):,} characters", f"at most {_NOTE_MOST:,}")])
        await experiments.note(database, key, By(by.author, text))

    return await _taken(request, who, key, "notes", step)


@router.post("/experiments/{key}/readout")
async def read_now(key: Key, request: Request, who: Who) -> Response:
    """Takes seconds; asks go on meanwhile."""

    async def step(_database: Database, _by: By, _: Fields) -> None:
        await _readouts(request).refresh(key)

    return await _taken(request, who, key, "readout", step)


@router.post("/experiments/{key}/holdout/readout")
async def read_holdout_now(key: Key, request: Request, who: Who) -> Response:
    async def step(_database: Database, _by: By, _: Fields) -> None:
        await _readouts(request).refresh_held(key)

    return await _taken(request, who, key, "holdout/readout", step, f"{_PLACE}/{key}/holdout")


@router.post("/experiments/{key}/holdout/end")
async def end_the_holdout(key: Key, request: Request, who: Who) -> Response:
    async def step(database: Database, by: By, _: Fields) -> None:
        await end_holdout(database, key, by)

    return await _taken(request, who, key, "holdout/end", step)


async def seen_at(request: Request, key: str, at_us: int | None) -> tuple[Seen, Read, list[Reading]]:
    """An experiment with a readout as it can be shown, its charts with it, and how the effects went up to it."""
    readouts = _readouts(request)
    seen = await programme.seen(database_of(request), readouts, key, at_us)
    if seen.kept is None:
        return seen, read(None), []
    snapshot = seen.kept.snapshot
    readings = await readouts.course(snapshot.experiment, snapshot.computed_us)
    return seen, await asyncio.to_thread(read, snapshot, readings), readings


def subject_of(seen: Seen, readings: list[Reading], now_us: int) -> Subject:
    """What its page tells of an experiment at an instant."""
    whole, plan, kept = seen.whole, seen.plan, seen.kept
    return Subject(
        record=whole.record,
        plan=plan,
        treatments=treatments(seen.changes),
        log=whole.log,
        holdout=whole.holdout,
        held=_held(whole, now_us),
        held_newest_us=None,
        holdout_is_open=whole.holdout is not None and whole.holdout.over_us > now_us,
        snapshot=kept and kept.snapshot,
        days=seen.days,
        readings=readings,
        is_newest=seen.is_newest,
        shares_held=(LEAST_HELD, MOST_HELD),
        traffic_now=plan_changes.traffic_of(plan, day_of(now_us)),
        weights_now=_weights(plan, now_us),
    )


async def draw(found: Read) -> Read:
    """Have the charts of a page drawn beside the asks. What is returned knows those that could not be."""
    shown = [each for name, each in found.figures.items() if name != "others"]
    return found._replace(undrawn=await drawn(spec for each in shown for spec in (each.wide, each.narrow)))


async def _taken(
    request: Request,
    who: Viewer,
    key: str,
    name: str,
    step: Callable[[Database, By, Fields], Awaitable[None]],
    then: str | None = None,
) -> Response:
    """A step of this experiment, by somebody who may take it; what is wrong with it is told at its form."""
    fields = await form(request, who)
    try:
        await step(database_of(request), By(who.key.name), fields)
    except (Conflict, Invalid) as error:
        return await _refused(request, who, key, name, error, fields)
    return see(then or f"{_PLACE}/{key}", name)


async def _refused(
    request: Request, who: Viewer, key: str, name: str, error: Conflict | Invalid, fields: Fields
) -> Response:
    request.app.state.metrics.errors.labels(error.code).inc()
    refused = Refused(name, sentence(error.message), fields)
    return await _shown(request, who, key, refused=refused, status=409 if isinstance(error, Conflict) else 422)


async def _shown(
    request: Request,
    who: Viewer,
    key: str,
    at_us: int | None = None,
    *,
    refused: Refused | None = None,
    ahead: Mapping[str, Any] | None = None,
    status: int = 200,
) -> Response:
    seen, found, readings = await seen_at(request, key, at_us)
    frame = await framed(request, who, key, _PLACE)
    held_newest_us = await _newest_asked(request, key) if seen.whole.holdout else None
    subject = replace(
        subject_of(seen, readings, frame.now_us), held_newest_us=held_newest_us, ahead=ahead, refused=refused
    )
    found = await draw(found)
    if found.figures:
        explorer.begun()
    return of_html(await asyncio.to_thread(experiment_page, frame, subject, found, explorer.ADDRESS), status)


async def _shown_held(request: Request, who: Viewer, key: str, day: int | None) -> Response:
    kept = await _readouts(request).newest_held(key, day)
    frame = await framed(request, who, f"{key}: holdout", _PLACE)
    found = await asyncio.to_thread(read, kept.snapshot)
    found = await draw(found)
    return of_html(await asyncio.to_thread(holdout_page, frame, kept.record, kept.holdout, kept.snapshot, found))


async def _newest_asked(request: Request, key: str) -> int | None:
    try:
        return (await _readouts(request).newest_held(key)).snapshot.computed_us
    except NotFound:
        return None


def _held(whole: experiments.Whole, now_us: int) -> list[Held]:
    """The days on which the holdout is read, with what was read."""
    holdout = whole.holdout
    if holdout is None:
        return []
    found: list[Held] = []
    for at_us in readouts_us(holdout):
        day = (at_us - holdout.from_us) // DAY_US
        done = whole.held_readouts.get(day)
        found.append(Held(day, at_us, at_us <= now_us, done.call if done else None))
    return found


def _weights(plan: Experiment, now_us: int) -> dict[str, float]:
    """By which those who enter now are divided."""
    begun = [each for each in plan.phases if each.start <= day_of(now_us)] or list(plan.phases[:1])
    own = {each.name: each.weight for each in plan.variants}
    return {**own, **begun[-1].weights} if begun else own


def _percent(fields: Fields, name: str) -> float:
    return _number(fields, name, "a number of percent") / 100


def _number(fields: Fields, name: str, expected: str) -> float:
    text = fields.get(name, "")
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not abs(found) < float("inf"):
        raise Invalid([Problem(name, repr(text), f"{expected}, as a number")])
    return found


def _readouts(request: Request) -> Readouts:
    return request.app.state.readouts
