"""POST /v1/decisions and /v1/decisions/batch: the way of every ask.

These two parse and render by themselves: between a message and its customer stands every microsecond spent here.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from engine.api.answers import AnswerOut, AnswersOut
from engine.api.auth import bearer, team_of
from engine.api.batches import batch_response, items_of, json_response, read_items
from engine.api.bodies import body_of
from engine.api.examples import ASK, batch_of, body
from engine.api.schemas import AskIn, AsksIn, instant, microseconds
from engine.core.errors import InvalidAsk, Problem
from engine.core.tokens import Scope
from engine.core.verdict import Ask
from engine.operations.authenticate import allow
from engine.operations.decide import Answer, AskCommand, Mode
from engine.operations.links import Links
from engine.store.keys import Key

_SECOND_US = 1_000_000


class Direct(APIRoute):
    """Hands its function the request as it is: there is nothing that FastAPI would have to work out for it."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        return self.endpoint


router = APIRouter(tags=["decisions"], route_class=Direct)


@router.post(
    "/v1/decisions",
    summary="May I send this message to this customer now?",
    response_model=AnswerOut,
    openapi_extra=body(AskIn, ASK, Scope.DECIDE),
)
async def ask(request: Request) -> Response:
    """Answers one ask. `reserve` holds the budget until the message is confirmed, released, or its lease ends."""
    key = allow(await bearer(request), Scope.DECIDE)
    given = await body_of(request, AskIn)
    command = command_of(given, key)
    answer = await request.app.state.decider.ask(command, given.mode)
    links: Links = request.app.state.links
    return json_response(answer_data(answer, links.headers(command, answer)))


@router.post(
    "/v1/decisions/batch",
    summary="Ask for up to 10,000 messages at once",
    response_model=AnswersOut,
    openapi_extra=body(AsksIn, batch_of("asks", ASK), Scope.DECIDE),
)
async def ask_batch(request: Request) -> Response:
    """Answers in the order asked, each on its own. One customer's asks are decided by priority, then by that order."""
    key = allow(await bearer(request), Scope.DECIDE)
    items = await items_of(request, "asks")
    results: list[Any] = [None] * len(items)
    commands: list[AskCommand] = []
    modes: list[Mode] = []

    def take(given: AskIn) -> None:
        commands.append(command_of(given, key))
        modes.append(given.mode)

    places = await read_items(items, "asks", AskIn, results, take)
    for place, answer in zip(places, await request.app.state.decider.ask_all(commands, modes), strict=True):
        results[place] = answer
    links: Links = request.app.state.links
    if not links.are_given:
        return await batch_response(request, "answers", results, places, answer_data)
    asked = {id(results[place]): command for place, command in zip(places, commands, strict=True)}

    def with_headers(answer: Answer) -> Mapping[str, Any]:
        return answer_data(answer, links.headers(asked[id(answer)], answer))

    return await batch_response(request, "answers", results, places, with_headers)


def command_of(given: AskIn, key: Key) -> AskCommand:
    """An ask as the operation takes it; raises `InvalidAsk` or `Forbidden`."""
    if given.message_id is None and given.mode is Mode.RESERVE:
        raise InvalidAsk([Problem("message_id", "nothing", "an id: a reservation is confirmed or released by it")])
    ask = Ask(
        given.channel.value,
        given.topic,
        given.campaign,
        team_of(key, given.team),
        given.priority,
        given.weight,
        None if given.send_at is None else microseconds(given.send_at),
        None if given.lease_s is None else given.lease_s * _SECOND_US,
        given.on_expiry,
        given.mode is Mode.RESERVE,
    )
    return AskCommand(given.customer_id, given.message_id, ask, given.sender)


def answer_data(answer: Answer, headers: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    """An answer as `AnswerOut` describes it."""
    retry_at_us = answer.retry_at_us
    return {
        "message_id": answer.message_id,
        "customer_id": answer.customer_id,
        "verdict": answer.verdict,
        "state": answer.state,
        "reasons": [
            {
                "code": each.code,
                "rule": each.rule,
                "text": each.code.sentence,
                "frees_at": None if each.frees_at_us is None else instant(each.frees_at_us),
            }
            for each in answer.reasons
        ],
        "retry_at": None if retry_at_us is None else instant(retry_at_us),
        "retry_certain": answer.retry_certain,
        "retry_after_s": None if retry_at_us is None else -((answer.now_us - retry_at_us) // _SECOND_US),
        "lease_expires_at": None if answer.lease_expires_us is None else instant(answer.lease_expires_us),
        "lease_s": None if answer.lease_us is None else answer.lease_us // _SECOND_US,
        "budgets": [
            {
                "budget": each.budget,
                "limit": each.limit,
                "used": each.used,
                "left": max(each.limit - each.used, 0),
                "frees_at": None if each.frees_at_us is None else instant(each.frees_at_us),
                "shadow": each.shadow,
            }
            for each in answer.budgets
        ],
        "variants": dict(answer.variants),
        "observed": answer.observed,
        "recorded": answer.recorded,
        "ruleset": answer.ruleset,
        "decided_at": instant(answer.decided_us),
        "replayed": answer.replayed,
        "attempt": answer.attempt,
        "headers": headers,
    }
