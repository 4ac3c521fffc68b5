"""What became of a message: confirm, release, record. Lists, each item answered on its own."""

from typing import Any

from fastapi import APIRouter, Request, Response

from engine.api.answers import ResolutionsOut
from engine.api.auth import Decides, Ingests, team_of
from engine.api.batches import settle_items
from engine.api.examples import CONTACT, RECORD, batch_of, body
from engine.api.schemas import ContactIn, ContactsIn, RecordIn, RecordsIn, instant, microseconds
from engine.core.tokens import Scope
from engine.operations.resolve import ConfirmCommand, RecordCommand, ReleaseCommand, Resolved

router = APIRouter(tags=["contacts"])


@router.post(
    "/v1/contacts/confirm",
    summary="These messages were sent",
    response_model=ResolutionsOut,
    openapi_extra=body(ContactsIn, batch_of("contacts", CONTACT), Scope.DECIDE),
)
async def confirm(request: Request, _key: Decides) -> Response:
    """Stamped when it arrives. After its lease ended, a release or a revocation it adds a late contact."""
    return await _resolve(request, ConfirmCommand)


@router.post(
    "/v1/contacts/release",
    summary="These messages will not be sent",
    response_model=ResolutionsOut,
    openapi_extra=body(ContactsIn, batch_of("contacts", CONTACT), Scope.DECIDE),
)
async def release(request: Request, _key: Decides) -> Response:
    """Gives the budget back at once, exactly once. What was sent before stays sent (`applied: false`)."""
    return await _resolve(request, ReleaseCommand)


@router.post(
    "/v1/contacts/record",
    summary="These contacts happened without an ask",
    response_model=ResolutionsOut,
    openapi_extra=body(RecordsIn, batch_of("contacts", RECORD), Scope.INGEST),
)
async def record(request: Request, key: Ingests) -> Response:
    """Never refused, counted in its own time (clamped to the past 400 days); the same message id counts once."""

    def command_of(given: RecordIn) -> RecordCommand:
        return RecordCommand(
            given.customer_id,
            given.message_id,
            given.channel.value,
            given.topic,
            microseconds(given.at),
            given.campaign,
            team_of(key, given.team),
            given.sender,
            given.weight,
            given.priority,
        )

    return await settle_items(request, "contacts", RecordIn, command_of, resolved_data)


async def _resolve(request: Request, command: type[ConfirmCommand | ReleaseCommand]) -> Response:
    def command_of(given: ContactIn) -> ConfirmCommand | ReleaseCommand:
        return command(given.customer_id, given.message_id, given.attempt)

    return await settle_items(request, "contacts", ContactIn, command_of, resolved_data)


def resolved_data(resolved: Resolved) -> dict[str, Any]:
    return {
        "customer_id": resolved.customer_id,
        "message_id": resolved.message_id,
        "attempt": resolved.attempt,
        "state": resolved.state.value,
        "applied": resolved.applied,
        "at": instant(resolved.at_us),
    }
