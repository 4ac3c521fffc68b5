"""What was asked and what came of it over the last days, as the page of budgets shows it."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from engine.api.answers import Out
from engine.api.auth import Reads
from engine.api.batches import json_response
from engine.api.examples import scoped
from engine.api.schemas import Label, instant
from engine.core.policy import Channel
from engine.core.tokens import Scope
from engine.core.verdict import Code
from engine.operations.volumes import volumes
from engine.store.volumes import Named, Ruled, Tally, Volumes

router = APIRouter(tags=["policies"])
_EPOCH: Final = date(1970, 1, 1)


class TallyOut(Out):
    """Messages by what came of them, each once a day (of UTC): as allowed if it was allowed on that day, else with its
    first refusal. `asks` are attempts. Of the allowed, `would_refuse` were so because the policy only observed, and
    `at_last` were refused before, on the same day. `unasked` and `recorded` were sent past Takt."""

    allowed: int
    deferred: int
    denied: int
    would_refuse: int
    unasked: int
    recorded: int
    asks: int
    at_last: int


class TrafficDayOut(TallyOut):
    """A day of UTC."""

    day: date


class TrafficNameOut(TallyOut):
    """A channel or a topic; null of who was erased since."""

    name: str | None


class PartyOut(TallyOut):
    """A team, or a sender that names none; null of nobody by name. `exempt` of the allowed passed as exempt."""

    name: str | None
    exempt: int


class TrafficRuleOut(Out):
    """Messages of which this was the first reason. Of a budget in shadow, allowed ones that it would have refused,
    under `deferred`."""

    code: Code | None
    rule: str | None
    deferred: int
    denied: int


class CrowdingOut(Out):
    """About so many `messages` that budgets refused to `asker`, told by those `looked_at`. `by_others`: what the asker
    had sent would alone have left room, and `filler` had the most in the budget."""

    asker: str | None
    filler: str | None
    by_others: bool
    messages: float
    looked_at: int


class LevelOut(Out):
    """How full a budget is, for customers drawn at random from `customers`."""

    budget: str
    shadow: bool
    customers: int
    saturated: int
    close: int
    comfortable: int
    forgotten: int


class TrafficOut(Out):
    """`counted_until` is null where the scheduler never counted. `levels` are as of `levels_at`, of everything."""

    counted_until: datetime | None
    total: TallyOut
    days: list[TrafficDayOut]
    rules: list[TrafficRuleOut]
    observed: list[TrafficRuleOut]
    shadows: list[TrafficRuleOut]
    channels: list[TrafficNameOut]
    topics: list[TrafficNameOut]
    parties: list[PartyOut]
    crowding: list[CrowdingOut]
    levels: list[LevelOut]
    levels_at: datetime | None


@router.get(
    "/v1/traffic",
    summary="What was asked, and what came of it",
    response_model=TrafficOut,
    openapi_extra=scoped(Scope.READ),
)
async def get_traffic(
    request: Request,
    _key: Reads,
    days: Annotated[Literal["7", "28", "84"], Query(description="The last days, today among them.")] = "28",
    channel: Channel | None = None,
    topic: Label | None = None,
    team: Label | None = None,
) -> Response:
    """By day, rule, channel, topic and who asked, from counts that are made every ten minutes."""
    name = None if channel is None else channel.value
    return json_response(_data(await volumes(request.app.state.decider.database, int(days), name, topic, team)))


def _data(found: Volumes) -> dict[str, Any]:
    return {
        "counted_until": _at(found.until_us),
        "total": _tally(found.total),
        "days": [{"day": (_EPOCH + timedelta(days=day)).isoformat(), **_tally(tally)} for day, tally in found.days],
        "rules": _rules(found.rules),
        "observed": _rules(found.would),
        "shadows": _rules(found.shadows),
        "channels": _names(found.channels),
        "topics": _names(found.topics),
        "parties": [{"name": each.name, **_tally(each.tally), "exempt": each.exempt} for each in found.parties],
        "crowding": [
            {
                "asker": each.asker,
                "filler": each.filler,
                "by_others": each.is_others,
                "messages": each.messages,
                "looked_at": each.looked_at,
            }
            for each in found.crowding
        ],
        "levels": [
            {
                "budget": each.budget,
                "shadow": each.is_shadow,
                "customers": each.customers,
                "saturated": each.saturated,
                "close": each.close,
                "comfortable": each.comfortable,
                "forgotten": each.forgotten,
            }
            for each in found.levels
        ],
        "levels_at": _at(found.levels_us),
    }


def _tally(tally: Tally) -> dict[str, int]:
    return {"would_refuse" if name == "would" else name: value for name, value in tally._asdict().items()}


def _rules(rules: Iterable[Ruled]) -> list[dict[str, Any]]:
    return [each._asdict() for each in rules]


def _names(names: Iterable[Named]) -> list[dict[str, Any]]:
    return [{"name": each.name, **_tally(each.tally)} for each in names]


def _at(at_us: int | None) -> datetime | None:
    return None if at_us is None else instant(at_us).astimezone(UTC)
