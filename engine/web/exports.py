"""Readouts and their charts as files: JSON, CSV, PNG, and a page that is whole by itself, at permanent addresses."""

import asyncio
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request, Response

from engine.core.cells import as_csv
from engine.core.errors import NotFound
from engine.operations.readout_data import course_data, held_readout_data, readout_data
from engine.render.drawing import png
from engine.render.experiment import Read, experiment_file
from engine.render.figures import Figure, interactive, intervals
from engine.render.svg import ChartError
from engine.web.answers import PageRoute, saved
from engine.web.experiments import At, Day, Key, draw, seen_at, subject_of
from engine.web.signing_in import Reader
from experiments.readout import Readout

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Name = Annotated[str, Path(pattern="^[a-z]{1,20}(-[0-9]{1,4})?$")]


@router.get("/experiments/{key}/readouts/{at_us}/readout.json")
async def as_json(key: Key, at_us: At, request: Request, _who: Reader) -> Response:
    """As the API tells it, with how the effects went up to it."""
    seen, _, readings = await seen_at(request, key, at_us)
    if seen.kept is None:
        raise NotFound("There is no readout yet.")
    told = {**readout_data(seen.kept), "over_time": course_data(readings)}
    return _json(told, f"{key}-{at_us}.json")


@router.get("/experiments/{key}/readouts/{at_us}/readout.html")
async def as_file(key: Key, at_us: At, request: Request, _who: Reader) -> Response:
    """The page as a file that is whole by itself: to be sent, printed and kept."""
    seen, found, readings = await seen_at(request, key, at_us)
    _readable(found)
    subject = subject_of(seen, readings, seen.kept.now_us if seen.kept else 0)
    text = await asyncio.to_thread(experiment_file, subject, await draw(found))
    return saved(text, "text/html", f"{key}-{at_us}.html")


@router.get("/experiments/{key}/readouts/{at_us}/intervals.csv")
async def as_sheet(key: Key, at_us: At, request: Request, _who: Reader) -> Response:
    """One interval a metric and variant, as it decides."""
    _, found, _ = await seen_at(request, key, at_us)
    return saved(as_csv(*intervals(_readable(found))), "text/csv", f"{key}-{at_us}.csv")


@router.get("/experiments/{key}/readouts/{at_us}/charts/{chart}.png")
async def chart_as_png(key: Key, at_us: At, chart: Name, request: Request, _who: Reader) -> Response:
    figure = await _figure(request, key, at_us, chart)
    try:
        pixels = await png(figure.wide)
    except ChartError:
        raise NotFound("This chart cannot be drawn. Its numbers are in the table and the CSV.") from None
    return saved(pixels, "image/png", f"{key}-{at_us}-{chart}.png")


@router.get("/experiments/{key}/readouts/{at_us}/charts/{chart}.csv")
async def chart_as_sheet(key: Key, at_us: At, chart: Name, request: Request, _who: Reader) -> Response:
    """The numbers that a chart shows, not rounded."""
    figure = await _figure(request, key, at_us, chart)
    return saved(as_csv(*figure.sheet), "text/csv", f"{key}-{at_us}-{chart}.csv")


@router.get("/experiments/{key}/readouts/{at_us}/charts/{chart}.json")
async def chart_as_spec(
    key: Key, at_us: At, chart: Name, request: Request, _who: Reader, narrow: bool = False
) -> Response:
    """A chart as a Vega-Lite spec that answers to a pointer."""
    figure = await _figure(request, key, at_us, chart)
    return _json(interactive(figure.narrow if narrow else figure.wide), f"{key}-{at_us}-{chart}.json")


@router.get("/experiments/{key}/holdout/newest.json")
async def newest_held_as_json(key: Key, request: Request, _who: Reader) -> Response:
    return await _held_as_json(request, key, None)


@router.get("/experiments/{key}/holdout/{day}.json")
async def held_as_json(key: Key, day: Day, request: Request, _who: Reader) -> Response:
    return await _held_as_json(request, key, day)


async def _held_as_json(request: Request, key: str, day: int | None) -> Response:
    kept = await request.app.state.readouts.newest_held(key, day)
    return _json(held_readout_data(kept), f"{key}-holdout-{'newest' if day is None else day}.json")


async def _figure(request: Request, key: str, at_us: int, name: str) -> Figure:
    _, found, _ = await seen_at(request, key, at_us)
    if name not in found.figures:
        raise NotFound("This readout has no chart of that name.")
    return found.figures[name]


def _readable(found: Read) -> Readout:
    if found.readout is None:
        raise NotFound(f"This readout was made by another version of Takt, and cannot be read ({found.unreadable}).")
    return found.readout


def _json(found: Any, name: str) -> Response:
    return saved(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z), "application/json", name)
