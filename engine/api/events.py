"""What happened: events of customers and of messages, in Takt's form or as CloudEvents, each answered on its own."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence, Set
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response

from engine.api.auth import Ingests
from engine.api.batches import SLICE
from engine.api.bodies import validated
from engine.api.cloud_events import Form, form_of
from engine.api.event_answers import EventsOut
from engine.api.event_examples import events_body
from engine.api.event_schemas import CloudEventIn, EventDataIn, EventIn
from engine.api.problems import problem_of
from engine.api.schemas import instant, microseconds
from engine.core.errors import Invalid, Problem, TaktError, Unavailable
from engine.core.events import NO_PROPERTIES, Event, EventType, Flag, allows_again
from engine.core.outcomes import SENDS, only_ends
from engine.core.policy import DAY_US, Channel
from engine.core.scanners import is_scanner
from engine.core.suppression import YES_AHEAD_US
from engine.operations.addresses import PURPOSE, NoAddress, hashed
from engine.operations.intake import Outcome, Result
from engine.operations.patience import in_time

router = APIRouter(tags=["events"])

EARLY_US: Final = DAY_US  # how far a sender's clock may be ahead
OLDEST_US: Final = 946_684_800_000_000  # 2000-01-01
_NO_DATA: Final = EventDataIn()
_ANSWERS: Final = {each: orjson.dumps({"result": each.value}) for each in Result}
_IN_A_CHANNEL: Final = frozenset({*SENDS, EventType.BOUNCED})
_BOUNCES: Final = {"hard": Flag.HARD, "soft": Flag.SOFT}


@router.post(
    "/v1/events",
    summary="These things happened",
    response_model=EventsOut,
    openapi_extra=events_body(),
)
async def bring_events(request: Request, _key: Ingests) -> Response:
    """Up to 10,000 events as `{"events": [...]}`, one by itself, or CloudEvents 1.0: structured, binary, or a batch.

    Each is kept once by `source` and `id`, in whatever order they come. `accepted`: kept, and done what it asks for;
    `duplicate`: it was already; `unresolved`: its address is nobody's yet, and it is kept until it is somebody's;
    `unplaced`: it says that a message was sent or bounced, but not in which channel, and Takt was asked for no such
    message: it is kept, and does nothing; `too_old`: it happened before what is kept of events, and nothing of it is
    kept but what it forbids or allows. In a list, what is wrong with one stands in its place. Nothing is answered
    before all of it is on disk."""
    state = request.app.state
    form = await form_of(request)
    key = await state.decider.secret(PURPOSE)
    now_us: int = await in_time(state.decider.database.clock_us(), state.decider.settings.deadline_ms / 1000)
    newest = state.decider.rulebook.newest
    ends = only_ends(newest.policy) if newest else frozenset[str]()
    events: list[Event] = []
    places: list[int] = []
    results: list[Any] = [None] * len(form.items)
    for place, item in enumerate(form.items):
        if place % SLICE == SLICE - 1:
            await asyncio.sleep(0)
        try:
            events.append(_event(form, validated(item, form.model, form.place(place)), place, now_us, ends, key))
        except TaktError as error:
            if not form.is_list:
                raise
            results[place] = error
        else:
            places.append(place)
    outcomes: list[Outcome] = await state.intake.take(events) if events else []
    for place, outcome in zip(places, outcomes, strict=True):
        results[place] = outcome
    state.metrics.took(events, outcomes, len(form.items) - len(events))
    if places and all(isinstance(each, Unavailable) for each in outcomes):
        raise results[places[0]]
    return _response(results, state.metrics.errors)


def _event(form: Form, given: EventIn | CloudEventIn, place: int, now_us: int, ends: Set[str], key: bytes) -> Event:
    """The event as the core knows it; raises `Invalid` where its fields do not go together. `ends`: the types that do
    nothing but end pauses."""
    problems: list[Problem] = []

    def wrong(name: str, found: str, expected: str) -> None:
        path = f"{form.place(place)}.{name}".removeprefix(".")
        problems.append(Problem(path, found, expected))

    if isinstance(given, EventIn):
        said, at, customer_id = given, given.at, given.customer_id
    else:
        said, at = given.data or _NO_DATA, given.time
        customer_id = said.customer_id or given.subject
        if said.customer_id and given.subject and said.customer_id != given.subject:
            wrong("subject", "another customer than in `data`", "the same, or only one of the two")
    at_us = microseconds(at)
    if not OLDEST_US <= at_us <= now_us + EARLY_US:
        wrong(
            form.at, at.isoformat()[:80], f"an instant from 2000 to 24 hours after now, {instant(now_us).isoformat()}"
        )
    elif at_us > now_us + YES_AHEAD_US and (
        given.type in ends or allows_again(given.type, said.properties or NO_PROPERTIES)
    ):
        expected = f"at most a minute after now, {instant(now_us).isoformat()}: what allows again may not lie ahead"
        wrong(form.at, at.isoformat()[:80], expected)
    if said.bounce is not None and given.type != EventType.BOUNCED:
        wrong(f"{form.data}bounce", f"'{said.bounce}'", "it only of the type `bounced`")
    if customer_id is None and said.address is None:
        wrong(f"{form.data}customer_id", "nothing", "a customer, or an address and its channel")
    if given.type in _IN_A_CHANNEL and said.channel is None and said.message_id is None:
        wrong(f"{form.data}channel", "nothing", "where it was sent, or the `message_id` of what Takt was asked for")
    digest = None
    if said.address is not None:
        digest = _digest(
            said.address, said.channel, key, lambda name, found, expected: wrong(form.data + name, found, expected)
        )
    if problems:
        raise Invalid(problems)
    return Event(
        customer_id or "",
        given.source,
        given.id,
        given.type,
        at_us,
        said.channel.value if said.channel else None,
        said.topic,
        said.campaign,
        said.message_id,
        said.value,
        said.margin,
        _flags(said) if said.suspect or said.bounce or said.properties else 0,
        digest,
        said.properties or NO_PROPERTIES,
    )


def _digest(address: str, channel: Channel | None, key: bytes, wrong: Callable[[str, str, str], None]) -> str | None:
    """The address as it may be kept. It is not repeated, also where it is none."""
    if channel is None:
        wrong("channel", "nothing", "the channel of the address")
        return None
    try:
        return hashed(key, channel, address).digest
    except NoAddress as error:
        wrong("address", "something else", str(error))
        return None


def _flags(said: EventDataIn) -> int:
    user_agent = said.properties.get("user_agent") if said.properties else None
    suspect = said.suspect or (isinstance(user_agent, str) and is_scanner(user_agent))
    return (Flag.SUSPECT_SAID if suspect else 0) | (_BOUNCES[said.bounce] if said.bounce else 0)


def _response(results: Sequence[Outcome], errors: Any) -> Response:
    counts = Counter(each for each in results if isinstance(each, Result))
    parts: list[bytes] = []
    for each in results:
        if isinstance(each, TaktError):
            errors.labels(each.code).inc()
            parts.append(orjson.dumps({"error": problem_of(each)}))
        else:
            parts.append(_ANSWERS[each])
    head = b'{"accepted":%d,"duplicates":%d,"unresolved":%d,"unplaced":%d,"too_old":%d,"failed":%d,"results":[%b]}' % (
        counts[Result.ACCEPTED],
        counts[Result.DUPLICATE],
        counts[Result.UNRESOLVED],
        counts[Result.UNPLACED],
        counts[Result.TOO_OLD],
        len(results) - counts.total(),
        b",".join(parts),
    )
    return Response(head, media_type="application/json")
