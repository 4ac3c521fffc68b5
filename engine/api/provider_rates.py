"""What mail providers publish: complaint rates by day, for the complaint breaker."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, Field, StrictFloat, StrictInt

from engine.api.answers import Out
from engine.api.auth import Ingests
from engine.api.batches import json_response
from engine.api.bodies import body_of
from engine.api.examples import body
from engine.api.schemas import In, Label
from engine.core.breaker import provider_name
from engine.core.errors import Invalid, Problem
from engine.core.policy import DAY_US, Channel
from engine.core.tokens import Scope
from engine.store import complaints
from engine.store.complaints import Published
from engine.store.database import clock_us

router = APIRouter(tags=["events"])

_EPOCH: Final = date(1970, 1, 1)
_OLDEST_DAYS: Final = 400
_EXAMPLE: Final[dict[str, Any]] = {
    "provider": "gmail",
    "channel": "email",
    "day": "2026-10-05",
    "complaint_rate": 0.0008,
    "delivered": 41_200,
}


def _a_day(text: str) -> str:
    date.fromisoformat(text)
    return text


class ProviderRateIn(In):
    """The share of a day's delivered messages that a provider's users complained about, as the provider published it.

    Without `delivered` nobody knows what the rate is worth: it can raise an alarm, and stops nothing.
    """

    provider: Label
    channel: Channel = Channel.EMAIL
    day: Annotated[
        str, Field(pattern=r"^\d{4}-\d\d-\d\d$", json_schema_extra={"format": "date"}), AfterValidator(_a_day)
    ]
    complaint_rate: Annotated[StrictFloat, Field(ge=0, le=1, allow_inf_nan=False)]
    delivered: Annotated[StrictInt | None, Field(ge=0, lt=2**53)] = None


class ProviderRateOut(Out):
    """What was kept. `can_stop`: whether it is evidence to the complaint breaker, or only a reason to look."""

    provider: str
    channel: Channel
    day: str
    complaint_rate: float
    delivered: int | None
    can_stop: bool


@router.post(
    "/v1/provider-rates",
    summary="A mail provider published a complaint rate",
    response_model=ProviderRateOut,
    openapi_extra=body(ProviderRateIn, _EXAMPLE, Scope.INGEST),
)
async def publish_rate(request: Request, _key: Ingests) -> Response:
    """Some providers send no complaints, and publish a rate by day instead. The same day again takes the place of what
    was said before."""
    given = await body_of(request, ProviderRateIn)
    day = (date.fromisoformat(given.day) - _EPOCH).days
    database = request.app.state.decider.database
    async with database.transaction() as connection:
        today = await clock_us(connection) // DAY_US
        if not today - _OLDEST_DAYS <= day <= today + 1:
            latest = datetime.fromtimestamp((today + 1) * 86_400, UTC).date()
            raise Invalid([Problem("day", given.day, f"a day of the last {_OLDEST_DAYS}, until {latest}")])
        rate = Published(provider_name(given.provider), given.channel.value, day, given.complaint_rate, given.delivered)
        await complaints.publish(connection, [rate])
    return json_response(
        {
            "provider": rate.provider,
            "channel": rate.channel,
            "day": given.day,
            "complaint_rate": rate.complaint_rate,
            "delivered": rate.delivered,
            "can_stop": rate.delivered is not None,
        }
    )
