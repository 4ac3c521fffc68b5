"""What comes in over HTTP: every field bounded, unknown ones refused.

Instants are RFC 3339 with an offset. Durations end in `_s`.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from engine.core.policy import Channel, OnExpiry
from engine.core.reading_values import on_clock
from engine.core.suppression import SuppressionReason
from engine.core.windows import UnknownTimeZone, zone
from engine.operations.addresses import normalised
from engine.operations.decide import Mode

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MAX_BATCH = 10_000


@lru_cache(maxsize=8_192)  # the answers of a chunk share most of their instants
def instant(at_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=at_us)


def microseconds(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


def _as_text(given: object) -> object:
    """Pydantic also takes a number, alone or in quotes, for seconds since 1970."""
    if isinstance(given, str) and _RFC_3339.match(given):
        return on_clock(given)
    raise ValueError("an instant such as 2026-10-05T09:00:00Z")


def _with_offset(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("an instant needs an offset, as in 2026-10-05T09:00:00Z")
    if not 1970 <= at.year < 2190:
        raise ValueError("an instant between 1970 and 2190")
    return at


def _zone(name: str) -> str:
    try:
        zone(name)
    except UnknownTimeZone:
        raise ValueError("an IANA time zone such as Europe/Berlin, or UTC") from None
    return name


def _attribute(given: object) -> object:
    """Numbers as every JSON reader keeps them: whole ones beyond 2^53 would come back as others."""
    match given:
        case bool():
            return given
        case int() | float() if -(2**53) <= given <= 2**53:  # neither NaN nor an infinity
            return given
        case str() if len(given) <= 500 and "\0" not in given and _is_unicode(given):
            return given
        case _:
            raise ValueError("true, false, a text of at most 500 characters or a number of at most 2^53")


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= each <= "\udfff" for each in text)


_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")
_PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
Id = Annotated[str, Field(min_length=1, max_length=200, pattern=_PRINTABLE, examples=["customer-42"])]
Label = Annotated[str, Field(min_length=1, max_length=200, pattern=_PRINTABLE)]
Text = Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00]*$")]
Instant = Annotated[datetime, BeforeValidator(_as_text), AfterValidator(_with_offset)]
TimeZone = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_zone)]
AttributeValue = Annotated[
    Any,
    BeforeValidator(_attribute),
    WithJsonSchema(
        {"anyOf": [{"type": "boolean"}, {"type": "number"}, {"type": "string", "maxLength": 500}], "title": "Value"}
    ),
]
PauseName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[a-z0-9][a-z0-9_.-]*$")]


class In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AskIn(In):
    """One ask: may this message be sent to this customer now?"""

    message_id: Annotated[
        Id | None, Field(description="Yours, and the customer's own; needed in the mode `reserve`.")
    ] = None
    customer_id: Id
    channel: Channel
    topic: Label
    campaign: Label | None = None
    team: Label | None = None
    sender: Label | None = None
    priority: Annotated[StrictInt, Field(ge=0, le=100)] = 50
    weight: Annotated[StrictInt, Field(ge=1, le=1000)] = 1
    mode: Mode = Mode.RESERVE
    send_at: Instant | None = None
    lease_s: Annotated[StrictInt | None, Field(ge=1, le=14 * 86_400)] = None
    on_expiry: OnExpiry | None = None


class AsksIn(In):
    """Up to 10,000 asks. Each is answered on its own: what is wrong with one harms no other."""

    asks: Annotated[list[AskIn], Field(min_length=1, max_length=MAX_BATCH)]


class ContactIn(In):
    customer_id: Id
    message_id: Id
    attempt: Annotated[StrictInt | None, Field(ge=1, le=32_000)] = None


class ContactsIn(In):
    contacts: Annotated[list[ContactIn], Field(min_length=1, max_length=MAX_BATCH)]


class RecordIn(In):
    """A contact that happened without an ask."""

    customer_id: Id
    message_id: Id
    channel: Channel
    topic: Label
    at: Instant
    campaign: Label | None = None
    team: Label | None = None
    sender: Label | None = None
    priority: Annotated[StrictInt, Field(ge=0, le=100)] = 50
    weight: Annotated[StrictInt, Field(ge=1, le=1000)] = 1


class RecordsIn(In):
    contacts: Annotated[list[RecordIn], Field(min_length=1, max_length=MAX_BATCH)]


class ConsentIn(In):
    """A customer's yes, or (`given: false`) its withdrawal, with the evidence. A yes lies at most a minute ahead."""

    channel: Channel | None = None
    topic: Label | None = None
    given: StrictBool = True
    at: Instant
    source: Label
    text_version: Label | None = None


class AddressIn(In):
    """Where a customer is reached: an e-mail address, a number, a device's token. Hashed, and never kept."""

    channel: Channel
    address: Annotated[str, Field(min_length=1, max_length=1_000, pattern=_PRINTABLE, examples=["ada@example.com"])]

    @field_validator("address")
    @classmethod
    def _is_one(cls, address: str, info: ValidationInfo) -> str:
        channel: Channel | None = info.data.get("channel")
        return address if channel is None else normalised(channel, address)


class CustomerIn(In):
    """Each field that is given replaces what is on file; null clears it; what is not given stays."""

    time_zone: TimeZone | None = None
    attributes: Annotated[dict[Label, AttributeValue] | None, Field(max_length=100)] = None
    consents: Annotated[list[ConsentIn] | None, Field(max_length=100)] = None
    addresses: Annotated[list[AddressIn] | None, Field(max_length=50)] = None


class CustomerRowIn(CustomerIn):
    customer_id: Id


class CustomersIn(In):
    customers: Annotated[list[CustomerRowIn], Field(min_length=1, max_length=MAX_BATCH)]


class PreferenceIn(In):
    """The customer's own limit for one channel or one topic; null is as many as you like."""

    channel: Channel | None = None
    topic: Label | None = None
    limit: Annotated[StrictInt | None, Field(ge=0, le=1_000)]


class PreferencesIn(In):
    preferences: Annotated[list[PreferenceIn], Field(max_length=100)]


class SuppressionIn(In):
    """No contact in this scope from now on. Without a channel and a topic: none at all."""

    customer_id: Id
    channel: Channel | None = None
    topic: Label | None = None
    reason: SuppressionReason = SuppressionReason.BY_HAND
    at: Instant | None = None
    source: Label = "api"
    binds_exempt: Annotated[StrictBool | None, Field(description="By default as the reason has it.")] = None


class LiftIn(In):
    """The customer agreed to contacts again, explicitly: ends the suppression of exactly this scope."""

    customer_id: Id
    channel: Channel | None = None
    topic: Label | None = None


class PolicyIn(In):
    """A policy as YAML, to be kept as a new version and put in force."""

    yaml: Annotated[str, Field(min_length=1, max_length=262_144)]
    note: Text = ""
    if_version: Annotated[
        StrictInt | None,
        Field(ge=0, lt=2**31, description="Only in place of this version: 409 where another is in force. 0: of none."),
    ] = None


class PauseIn(In):
    """Contacts that stop at once, in every process. What is not named is every value."""

    name: PauseName
    channels: Annotated[list[Channel] | None, Field(min_length=1, max_length=6)] = None
    topics: Annotated[list[Label] | None, Field(min_length=1, max_length=500)] = None
    campaigns: Annotated[list[Label] | None, Field(min_length=1, max_length=500)] = None
    teams: Annotated[list[Label] | None, Field(min_length=1, max_length=500)] = None
    from_: Annotated[Instant | None, Field(alias="from")] = None
    until: Instant | None = None


class PageIn(In):
    """Which entries of a journal. `before`: only those with a smaller seq, the next page."""

    limit: Annotated[int, Field(ge=1, le=1_000)] = 50
    before: Annotated[int | None, Field(ge=1, lt=2**31)] = None
