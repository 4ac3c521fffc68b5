"""Pages of experiments: all of them, one with what it found, and the steps that are taken there."""

import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response

from engine.core.errors import Invalid, NotFound, Problem
from engine.operations import experiments, programme
from engine.operations.experiments import By, State
from engine.operations.plan_file import read_plan
from engine.operations.programme import Seen
from engine.operations.readouts import Readouts
from engine.operations.ship import LEAST_HELD, MOST_HELD, readouts_us, ship
from engine.render.experiment import Line, Subject, experiment_page, experiments_page
from engine.render.page import page as file_page
from engine.web.answers import PageRoute, of_html, saved, see
from engine.web.asking import Who, database_of
from engine.web.framing import framed
from engine.web.signing_in import Reader, Viewer, form
from experiments.reporting.json_form import from_document

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Key = Annotated[str, Path(min_length=1, max_length=100, pattern="^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
At = Annotated[int, Path(ge=0, lt=2**62)]
_PLACE: Final = "/experiments"
_NOTE_MOST: Final = 2_000


@router.get(_PLACE)
async def listed(request: Request, who: Reader, state: State | None = None) -> Response:
    found = await programme.lines(database_of(request), state)
    frame = await framed(request, who, "Experiments", _PLACE)
    lines = [Line(each.record, each.call, each.computed_us) for each in found]
    return of_html(experiments_page(frame, lines, state and state.value))


@router.get("/experiments/{key}")
async def one(key: Key, request: Request, who: Reader) -> Response:
    return await _shown(request, who, key, None)


@router.get("/experiments/{key}/readouts/{at_us}")
async def as_of(key: Key, at_us: At, request: Request, who: Reader) -> Response:
    """A permanent address: what is there was computed at that instant."""
    return await _shown(request, who, key, at_us)


@router.get("/experiments/{key}/readouts/{at_us}/readout.json")
async def as_json(key: Key, at_us: At, request: Request, _who: Reader) -> Response:
    seen = await _seen(request, key, at_us)
    body = json.dumps(_document(seen)["readout"], indent=2, ensure_ascii=False)
    return saved(body, "application/json", f"{key}-{at_us}.json")


@router.get("/experiments/{key}/readouts/{at_us}/readout.html")
async def as_file(key: Key, at_us: At, request: Request, _who: Reader) -> Response:
    """A page that is whole by itself: to be sent, printed and kept."""
    seen = await _seen(request, key, at_us)
    readout = from_document(_document(seen)["readout"])
    return saved(file_page(readout), "text/html", f"{key}-{at_us}.html")


@router.post("/experiments/{key}/start")
async def start(key: Key, request: Request, who: Who) -> Response:
    await form(request, who)
    await experiments.start(database_of(request), key, By(who.key.name))
    return _done(key, "start")


@router.post("/experiments/{key}/stop")
async def stop(key: Key, request: Request, who: Who) -> Response:
    await form(request, who)
    await experiments.stop(database_of(request), key, By(who.key.name))
    return _done(key, "stop")


@router.post("/experiments/{key}/ship")
async def ship_it(key: Key, request: Request, who: Who) -> Response:
    fields = await form(request, who)
    held = fields.get("holdout")
    share = None if not held else _share(held)
    await ship(database_of(request), key, By(who.key.name), variant=fields.get("variant", ""), held=share)
    return _done(key, "ship")


@router.post("/experiments/{key}/notes")
async def note(key: Key, request: Request, who: Who) -> Response:
    fields = await form(request, who)
    text = fields.get("note", "")
    if len(text) > _NOTE_MOST:
        raise Invalid([Problem("note", f"{len(text):,} characters", f"at most {_NOTE_MOST:,}")])
    await experiments.note(database_of(request), key, By(who.key.name, text))
    return _done(key, "notes")


@router.post("/experiments/{key}/readout")
async def read(key: Key, request: Request, who: Who) -> Response:
    """Takes seconds; asks go on meanwhile."""
    await form(request, who)
    await _readouts(request).refresh(key)
    return _done(key, "readout")


async def _shown(request: Request, who: Viewer, key: str, at_us: int | None) -> Response:
    seen = await _seen(request, key, at_us)
    frame = await framed(request, who, key, _PLACE)
    whole, kept = seen.whole, seen.kept
    subject = Subject(
        record=whole.record,
        plan=read_plan(whole.record.plan),
        log=whole.log,
        holdout=whole.holdout,
        due_us=readouts_us(whole.holdout) if whole.holdout else (),
        snapshot=kept and kept.snapshot,
        days=seen.days,
        is_newest=seen.is_newest,
        shares_held=(LEAST_HELD, MOST_HELD),
    )
    return of_html(experiment_page(frame, subject))


async def _seen(request: Request, key: str, at_us: int | None) -> Seen:
    return await programme.seen(database_of(request), _readouts(request), key, at_us)


def _document(seen: Seen) -> dict[str, Any]:
    if seen.kept is None:
        raise NotFound("There is no readout yet.")
    return dict(seen.kept.snapshot.readout)


def _share(percent: str) -> float:
    try:
        return float(percent) / 100
    except ValueError:
        raise Invalid([Problem("holdout", repr(percent), "a number of percent")]) from None


def _done(key: str, step: str) -> Response:
    return see(f"{_PLACE}/{key}", step)


def _readouts(request: Request) -> Readouts:
    return request.app.state.readouts
