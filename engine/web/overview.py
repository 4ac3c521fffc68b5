"""The first page: what runs, what is stopped, and where to look."""

from typing import Final

from fastapi import APIRouter, Request, Response

from engine.operations import programme
from engine.operations.experiments import State
from engine.operations.jobs import Standing
from engine.operations.overview import USUAL_DAYS, Overview, overview
from engine.render.overview import JobLine, Now, overview_page
from engine.web.answers import PageRoute, of_html
from engine.web.asking import database_of
from engine.web.framing import framed
from engine.web.signing_in import Reader

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_LATE_US: Final = 120_000_000  # a job that fires at its slot's begin has run by then


@router.get("/")
async def first(request: Request, who: Reader) -> Response:
    frame = await framed(request, who, "Overview", "/")
    found = await overview(database_of(request))
    running = await programme.lines(database_of(request), State.RUNNING)
    return of_html(overview_page(frame, _now(found), running))


def _now(found: Overview) -> Now:
    return Now(
        until_us=found.until_us,
        is_late=found.is_late,
        today=found.today,
        yesterday=found.yesterday,
        usual=found.usual,
        usual_days=USUAL_DAYS,
        rates=found.rates,
        leader=found.status.leader,
        jobs=[_job(each, found.now_us) for each in found.status.jobs],
        alarms=found.status.alarms,
    )


def _job(standing: Standing, now_us: int) -> JobLine:
    job, last = standing.job, standing.last
    if last is None:
        return JobLine(job.name, job.about, "never", None, "", is_overdue=False)
    state = last.outcome or "running"
    # While one runs, the next slots are passed over: it may take one of them, and then something is wrong.
    most_us = 2 * job.every_us if state == "running" else job.every_us + _LATE_US
    is_overdue = now_us - last.started_us > most_us
    return JobLine(job.name, job.about, state, last.started_us, last.note, is_overdue)
