"""What happened, as it comes in over HTTP: Takt's own form of an event, and CloudEvents 1.0. Every field is bounded."""

from typing import Annotated, Any, Final, Literal, cast

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StrictBool, WithJsonSchema

from engine.api.schemas import MAX_BATCH, Id, In, Instant, Label
from engine.core.events import OWN_TYPE, TAKT_SOURCE, TAKT_TYPES
from engine.core.policy import Channel

PROPERTIES_MAX: Final = 500  # values in all, however they are nested
CHARS_MAX: Final = 8_000  # of all names and texts together
DEPTH_MAX: Final = 4
_BEYOND: Final = 2**53
_OF_TAKT: Final = "takt."


def _type(given: str) -> str:
    if given in TAKT_TYPES:
        raise ValueError("a type that Takt does not tell itself")
    return given


def _cloud_type(given: object) -> object:
    """CloudEvents' types begin with whose they are; those of Takt's own may."""
    return given.removeprefix(_OF_TAKT) if isinstance(given, str) else given


def _source(given: str) -> str:
    if given == TAKT_SOURCE:
        raise ValueError("a source other than Takt")
    return given


def _number(given: object) -> object:
    """Finite, and small enough that every reader of JSON keeps it as it is."""
    if isinstance(given, int | float) and not isinstance(given, bool) and -_BEYOND <= given <= _BEYOND:
        return float(given)
    raise ValueError("a number of at most 2^53")


def _properties(given: object) -> object:
    """What every database keeps and every JSON reader reads: bounded, and without what is no text."""
    left, chars = [(given, 1)], 0
    count = 0
    while left:
        value, depth = left.pop()
        count += 1
        if isinstance(value, dict | list) and depth > DEPTH_MAX:
            raise ValueError(f"at most {DEPTH_MAX} levels")
        match value:
            case dict():
                entries = cast("dict[str, object]", value)
                chars += sum(map(_chars, entries))
                left += [(each, depth + 1) for each in entries.values()]
            case list():
                left += [(each, depth + 1) for each in cast("list[object]", value)]
            case str():
                chars += _chars(value)
            case None | bool():
                pass
            case int() | float() if -_BEYOND <= value <= _BEYOND:  # neither NaN nor an infinity
                pass
            case _:
                raise ValueError("texts, numbers of at most 2^53, true, false, null, lists and objects")
        if count + len(left) > PROPERTIES_MAX or chars > CHARS_MAX:
            raise ValueError(f"at most {PROPERTIES_MAX} values with {CHARS_MAX:,} characters in all")
    return given


def _chars(text: str) -> int:
    if "\0" in text or (not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text)):
        raise ValueError("texts without NUL and lone surrogates")
    return len(text)


EventName = Annotated[str, Field(pattern=f"^{OWN_TYPE.pattern}$", examples=["session"]), AfterValidator(_type)]
CloudName = Annotated[EventName, BeforeValidator(_cloud_type)]
Source = Annotated[Label, AfterValidator(_source)]
Number = Annotated[float, BeforeValidator(_number), WithJsonSchema({"type": "number"})]
Properties = Annotated[
    dict[str, Any],
    BeforeValidator(_properties),
    Field(description=f"At most {PROPERTIES_MAX} values with {CHARS_MAX:,} characters in all."),
]


class EventDataIn(In):
    """What an event says beside its type, time and id. It names its customer, or an address and its channel."""

    customer_id: Id | None = None
    address: Annotated[
        str | None,
        Field(min_length=1, max_length=1_000, pattern=r"^[^\x00-\x1f\x7f]+$", description="Hashed, and never kept."),
    ] = None
    channel: Channel | None = None
    topic: Label | None = None
    campaign: Label | None = None
    message_id: Id | None = None
    value: Annotated[Number | None, Field(description="Money, a score, or the seconds of a session.")] = None
    margin: Annotated[Number | None, Field(description="What of a purchase's value stays.")] = None
    bounce: Annotated[Literal["hard", "soft"] | None, Field(description="Of `bounced`; soft if it is not said.")] = None
    suspect: Annotated[StrictBool, Field(description="A machine did it.")] = False
    properties: Properties | None = None


class EventIn(EventDataIn):
    """One event. It is the same one as another of its customer with the same `source` and `id`."""

    id: Id
    source: Source
    type: EventName
    at: Instant


class EventsIn(In):
    """Up to 10,000 events. Each is answered on its own: what is wrong with one harms no other."""

    events: Annotated[list[EventIn], Field(min_length=1, max_length=MAX_BATCH)]


class CloudEventIn(In):
    """An event as CloudEvents 1.0 has it. Attributes that Takt does not know are passed over, as they demand."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    specversion: Literal["1.0"]
    id: Id
    source: Source
    type: CloudName
    time: Instant
    subject: Annotated[Id | None, Field(description="The customer, where `data` names none.")] = None
    datacontenttype: Annotated[
        str | None, Field(max_length=200, pattern=r"^[Aa]pplication/([A-Za-z0-9.+-]+\+)?[Jj][Ss][Oo][Nn]\s*(;.*)?$")
    ] = None
    data: EventDataIn | None = None
    data_base64: Annotated[None, Field(description="Not read: `data` is JSON.")] = None
