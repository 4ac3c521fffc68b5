"""What comes in over HTTP, and what goes out: every field bounded, unknown ones refused.

Instants are RFC 3339 with an offset; answers speak UTC. Durations end in `_s`.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, StrictBool, StrictInt, StrictStr

from engine.core.policy import Channel, OnExpiry
from engine.core.suppression import SuppressionReason
from engine.core.windows import UnknownTimeZone, zone
from engine.operations.decide import Mode

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MAX_BATCH = 10_000


def instant(at_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=at_us)


def microseconds(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


def _with_offset(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("an instant needs an offset, as in 2026-10-05T09:00:00Z")
    if not 1970 <= at.year < 2190:
        raise ValueError("an instant between 1970 and 2190 was expected")
    return at


def _zone(name: str) -> str:
    try:
        zone(name)
    except UnknownTimeZone as error:
        raise ValueError(str(error)) from None
    return name


_PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
Id = Annotated[str, Field(min_length=1, max_length=200, pattern=_PRINTABLE, examples=["customer-42"])]
Label = Annotated[str, Field(min_length=1, max_length=200, pattern=_PRINTABLE)]
Text = Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00]*$")]
Instant = Annotated[datetime, AfterValidator(_with_offset)]
TimeZone = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_zone)]
AttributeValue = (
    StrictBool | StrictInt | FiniteFloat | Annotated[StrictStr, Field(max_length=500, pattern=r"^[^\x00]*$")]
)


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


class ReasonOut(BaseModel):
    code: str
    rule: str
    text: str
    frees_at: datetime | None


class BudgetOut(BaseModel):
    budget: str
    limit: int
    used: int
    left: int
    frees_at: datetime | None
    shadow: bool


class AnswerOut(BaseModel):
    """The answer. Only `state: reserved` permits sending; every verdict explains itself."""

    message_id: str | None
    customer_id: str
    verdict: Literal["allow", "defer", "deny"]
    state: str | None
    reasons: list[ReasonOut]
    retry_at: datetime | None
    retry_certain: bool
    retry_after_s: int | None
    lease_expires_at: datetime | None
    lease_s: int | None
    budgets: list[BudgetOut]
    variants: dict[str, str]
    observed: Literal["allow", "defer", "deny"] | None
    ruleset: int
    decided_at: datetime
    replayed: bool
    attempt: int


class ProblemOut(BaseModel):
    """An error, as RFC 9457 has it. `problems` names each place that is wrong."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    problems: list[dict[str, Any]] | None = None


class ErrorItem(BaseModel):
    error: ProblemOut


class AsksIn(In):
    """Up to 10,000 asks. Each is answered on its own: what is wrong with one harms no other."""

    asks: Annotated[list[AskIn], Field(min_length=1, max_length=MAX_BATCH)]


class AnswersOut(BaseModel):
    answers: list[AnswerOut | ErrorItem]


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


class ResolvedOut(BaseModel):
    """`applied`: this call made it so. The first resolution stands, whoever made it."""

    customer_id: str
    message_id: str
    attempt: int
    state: str
    applied: bool
    at: datetime


class ResolutionsOut(BaseModel):
    results: list[ResolvedOut | ErrorItem]


class ConsentIn(In):
    """A customer's yes, or (`given: false`) its withdrawal, with the evidence."""

    channel: Channel | None = None
    topic: Label | None = None
    given: StrictBool = True
    at: Instant
    source: Label
    text_version: Label | None = None


class CustomerIn(In):
    """Each field that is given replaces what is on file; null clears it; what is not given stays."""

    time_zone: TimeZone | None = None
    attributes: Annotated[dict[Label, AttributeValue] | None, Field(max_length=100)] = None
    consents: Annotated[list[ConsentIn] | None, Field(max_length=100)] = None


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


class PauseIn(In):
    """Contacts that stop at once, in every process. What is not named is every value."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
    channels: Annotated[list[Channel] | None, Field(min_length=1)] = None
    topics: Annotated[list[Label] | None, Field(min_length=1, max_length=500)] = None
    campaigns: Annotated[list[Label] | None, Field(min_length=1, max_length=500)] = None
    teams: Annotated[list[Label] | None, Field(min_length=1, max_length=500)] = None
    from_: Annotated[Instant | None, Field(alias="from")] = None
    until: Instant | None = None
