"""The first page: today, what customers make of it, what runs, and whether everything does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from markupsafe import Markup

from engine.core.breaker import DELIVERED_LEAST, STOP_AT, WARN_AT, Level
from engine.render.frame import Frame, at, name, page, stopped
from engine.render.page import CALLS
from engine.store.alarms import Alarm
from engine.store.outcomes import Rates
from engine.store.programme import Line
from engine.store.volumes import Tally

_LEVELS: Final = {Level.QUIET: ("calm", "good"), Level.WARN: ("near", "open"), Level.STOP: ("too many", "bad")}


class JobLine(NamedTuple):
    """A job and its newest run. `state`: done, failed, running, never. `is_overdue`: it should have run again by now,
    or ended."""

    name: str
    about: str
    state: str
    at_us: int | None
    note: str
    is_overdue: bool


@dataclass(frozen=True, slots=True)
class Now:
    """All that the page says. `usual` is of `usual_days` together; `leader`: where the scheduler runs."""

    until_us: int | None
    is_late: bool
    today: Tally
    yesterday: Tally
    usual: Tally
    usual_days: int
    rates: Sequence[Rates]
    leader: str | None
    jobs: Sequence[JobLine]
    alarms: Sequence[Alarm]


def overview_page(frame: Frame, now: Now, running: Sequence[Line]) -> str:
    """The page. `running` are the experiments that run."""
    days = [
        ("Today", now.today, 1),
        ("Yesterday", now.yesterday, 1),
        ("A day of the week before", now.usual, now.usual_days),
    ]
    return page(
        "overview.html",
        frame,
        now=now,
        days=[(said, tally.asked / over, tally.refused / over, tally.past / over) for said, tally, over in days],
        troubles=troubles(frame, now),
        levels=_LEVELS,
        warn_at=WARN_AT,
        stop_at=STOP_AT,
        least=DELIVERED_LEAST,
        whole=round,
        lines=running,
        calls=CALLS,
    )


def troubles(frame: Frame, now: Now) -> list[Markup]:
    """What somebody should look at, the worst first; empty where everything is as it should be."""
    found: list[Markup] = []
    if now.leader is None:
        found.append(
            Markup(
                "No scheduler runs: asks are answered, but nothing is counted, read or cleared away."
                " Start one: <code>takt scheduler serve</code>."
            )
        )
    if frame.ruleset is None:
        found.append(
            Markup('No policy is in force, so nothing can be asked. <a href="/policy">Start from a preset.</a>')
        )
    found += [Markup("Paused: {} ({}).").format(stopped(each), name(each.name)) for each in frame.pauses]
    for each in now.jobs:
        if each.state == "failed":
            found.append(Markup("The job {} failed: {}.").format(each.name, name(each.note or "no reason is known")))
        elif each.is_overdue and each.state == "running" and now.leader is not None:
            since = Markup(
                "The job {} has been running since {}, and should have ended: until it does, it runs no more."
            )
            found.append(since.format(each.name, at(each.at_us)))
        elif each.is_overdue and now.leader is not None:
            found.append(Markup("The job {} has not run when it should have.").format(each.name))
    for rate in now.rates:
        if rate.week.level is not Level.QUIET:
            how = "are more than" if rate.week.level is Level.STOP else "come near"
            found.append(Markup("Complaints in {} {} what mail providers bear.").format(rate.channel, how))
    return found
