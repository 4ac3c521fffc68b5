"""The complaint breaker at work: what `core.breaker` says of the events becomes pauses in the next ruleset."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from engine.core.breaker import (
    BLIND,
    DELIVERED_LEAST,
    LOOKED_AT_HOURS,
    PREFIX,
    WARN_AT,
    Count,
    Judged,
    Ruling,
    Scope,
    Stream,
    from_published,
    provider_name,
    rule,
)
from engine.core.policy import DAY_US
from engine.core.windows import tzdata_version
from engine.operations.rulebook import pause_data, pause_of
from engine.store import alarms, complaints, policies
from engine.store.complaints import Heard, Published
from engine.store.database import Connection, Database, clock_us

_DAYS: Final = 9
_WARN_AGAIN_US: Final = 7 * DAY_US
_AUTHOR: Final = "takt"


async def look(database: Database) -> str:
    """Judge what customers complained about, and pause or let go on: in one ruleset, with its alarms."""
    async with database.transaction() as connection:
        now_us = await clock_us(connection)
        heard = await complaints.heard(connection, now_us, LOOKED_AT_HOURS, DELIVERED_LEAST, BLIND)
        rates = await complaints.published(connection, now_us // DAY_US - _DAYS)
    streams = [*streams_of(heard), *published_streams(rates, now_us)]
    async with database.transaction() as connection:
        await policies.lock_activation(connection)
        newest = await policies.newest_ruleset(connection)
        if newest is None:
            return "no policy is active"
        pauses = [pause_of(each) for each in newest.pauses]
        ruling = rule(streams, pauses, await complaints.lifted_us(connection), now_us)
        if ruling.begin or ruling.end:
            kept = [each for each in pauses if each.name not in ruling.end]
            kept += [scope.pause(now_us) for scope in ruling.begin]
            data = [pause_data(each) for each in kept]
            await policies.add_ruleset(connection, tzdata_version(), _AUTHOR, pauses=data)
        unseen = blind_share(heard)
        await _raise(connection, ruling, unseen)
        await _warn_of_rates(connection, rates)
    found = f"{len(ruling.begin)} stopped, {len(ruling.end)} let go on, {len(ruling.warn)} near"
    return found + (f"; nobody can see complaints of {', '.join(sorted(unseen))}" if unseen else "")


def streams_of(heard: Iterable[Heard]) -> list[Stream]:
    """By channel, by topic of a channel, by provider of a channel; without the providers that tell no complaints."""
    counts: dict[Scope, dict[int, Count]] = defaultdict(dict)
    for each in heard:
        provider = provider_name(each.provider) if each.provider else None
        if provider in BLIND:
            continue
        scopes = [Scope(each.channel)]
        scopes += [Scope(each.channel, topic=each.topic)] if each.topic else []
        scopes += [Scope(each.channel, provider=provider)] if provider else []
        for scope in scopes:
            before = counts[scope].get(each.hours_ago, Count(0, 0))
            counts[scope][each.hours_ago] = Count(
                before.delivered + each.delivered, before.complaints + each.complaints
            )
    return [Stream(scope, hours) for scope, hours in counts.items()]


def published_streams(rates: Iterable[Published], now_us: int) -> list[Stream]:
    days: dict[Scope, list[tuple[int, float, int | None]]] = defaultdict(list)
    for each in rates:
        scope = Scope(each.channel, provider=provider_name(each.provider), is_published=True)
        days[scope].append((each.day, each.complaint_rate, each.delivered))
    return [Stream(scope, from_published(told, now_us)) for scope, told in days.items()]


def blind_share(heard: Iterable[Heard]) -> dict[str, int]:
    """How much was delivered by providers whose complaints nobody can see."""
    found: dict[str, int] = defaultdict(int)
    for each in heard:
        provider = provider_name(each.provider) if each.provider else ""
        if provider in BLIND:
            found[provider] += each.delivered
    return dict(found)


async def _raise(connection: Connection, ruling: Ruling, unseen: dict[str, int]) -> None:
    for scope, judged in ruling.begin.items():
        data = {"what": str(scope), **_figures(judged), "unseen": unseen}
        await alarms.add(connection, "breaker.stopped", scope.name, data, quiet_us=0)
    for name, judged in ruling.end.items():
        figures = {} if judged is None else _figures(judged)
        await alarms.add(connection, "breaker.lifted", name, figures, quiet_us=0)
    for scope, judged in ruling.warn.items():
        data = {"what": str(scope), **_figures(judged), "unseen": unseen}
        await alarms.add(connection, "breaker.near", scope.name, data, quiet_us=_WARN_AGAIN_US)


async def _warn_of_rates(connection: Connection, rates: Iterable[Published]) -> None:
    """A rate without how many it is of is no ground to stop, but one to look."""
    for each in rates:
        if each.delivered is None and each.complaint_rate >= WARN_AT:
            subject = f"{PREFIX}{each.channel}.{provider_name(each.provider)}"
            data = {"what": f"{each.channel}, published by {each.provider}", "rate": each.complaint_rate}
            await alarms.add(connection, "breaker.near", subject, data, quiet_us=_WARN_AGAIN_US)


def _figures(judged: Judged) -> dict[str, Any]:
    return {
        "delivered": judged.delivered,
        "complaints": judged.complaints,
        "rate": judged.rate,
        "lower_bound": judged.lower,
        "days": 7,
        "delivered_least": DELIVERED_LEAST,
    }
