"""The tables of events and addresses, and the scheduler's book. As in `tables`: CHECKs hold, and no model validates."""

# pyright: reportAssignmentType=false, reportIncompatibleVariableOverride=false
# SQLModel types `__tablename__` as a declared attribute, which a plain name is not.

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from engine.store.tables import big_column, customer_column, int_column, small_column


def text_column() -> Any:
    return Field(sa_type=Text, nullable=False)


def address_column() -> Any:
    return Field(sa_type=LargeBinary, nullable=False)


class EventRow(SQLModel, table=True):
    """Something that a customer did, or that became of a message. `event_key` is the hash of (source, id): the same
    event once a customer. Labels are numbers, 0 for none; `flags` are `store.events.Flag`."""

    __tablename__ = "events"
    __table_args__ = (
        PrimaryKeyConstraint("customer_id", "event_key", name="events_pkey"),
        CheckConstraint(
            "kind > 0 AND source > 0 AND channel BETWEEN 0 AND 6 AND flags >= 0 AND length(event_id) BETWEEN 1 AND 200",
            name="events_sane",
        ),
        Index("events_at_us", "at_us"),
        Index("events_message_key", "message_key", postgresql_where=text("message_key <> 0")),
    )
    at_us: int = big_column()
    received_us: int = big_column()
    event_key: int = big_column()
    message_key: int = big_column()
    value: float | None = Field(default=None, sa_type=Double)
    margin: float | None = Field(default=None, sa_type=Double)
    kind: int = int_column()
    source: int = int_column()
    topic: int = int_column()
    campaign: int = int_column()
    channel: int = small_column()
    flags: int = small_column()
    customer_id: str = customer_column()
    event_id: str = text_column()
    message_id: str | None = Field(default=None, sa_type=Text)
    properties: dict[str, Any] | None = Field(default=None, sa_type=JSONB)


class UnresolvedEventRow(SQLModel, table=True):
    """An event that named an address which leads to nobody yet: kept whole until it does."""

    __tablename__ = "unresolved_events"
    __table_args__ = (
        PrimaryKeyConstraint("address", "channel", "event_key", name="unresolved_events_pkey"),
        CheckConstraint("octet_length(address) = 16", name="unresolved_events_sane"),
    )
    received_us: int = big_column()
    event_key: int = big_column()
    channel: int = small_column()
    address: bytes = address_column()
    data: dict[str, Any] = Field(sa_type=JSONB, nullable=False)


class AddressRow(SQLModel, table=True):
    """A customer's address in a channel, as a keyed hash: what leads a webhook to its customer."""

    __tablename__ = "addresses"
    __table_args__ = (
        PrimaryKeyConstraint("address", "channel", "customer_id", name="addresses_pkey"),
        CheckConstraint("octet_length(address) = 16 AND channel BETWEEN 1 AND 6", name="addresses_sane"),
    )
    channel: int = small_column()
    address: bytes = address_column()
    customer_id: str = customer_column()


class SuppressedAddressRow(SQLModel, table=True):
    """An address that bounced or complained: whoever has it, or comes to have it, is suppressed in its channel."""

    __tablename__ = "suppressed_addresses"
    __table_args__ = (
        PrimaryKeyConstraint("address", "channel", "reason", name="suppressed_addresses_pkey"),
        CheckConstraint("octet_length(address) = 16 AND channel BETWEEN 1 AND 6", name="suppressed_addresses_sane"),
    )
    at_us: int = big_column()
    channel: int = small_column()
    address: bytes = address_column()
    reason: str = text_column()
    source: str = text_column()


class ErasedRow(SQLModel, table=True):
    """That somebody was erased, by a keyed hash of the customer id: all that is kept of it."""

    __tablename__ = "erased"
    __table_args__ = (
        PrimaryKeyConstraint("digest", name="erased_pkey"),
        CheckConstraint("octet_length(digest) = 32", name="erased_sane"),
    )
    erased_us: int = big_column()
    digest: bytes = Field(sa_type=LargeBinary, nullable=False)


class ProviderRateRow(SQLModel, table=True):
    """A complaint rate that a mail provider published for a day (days since 1970-01-01)."""

    __tablename__ = "provider_rates"
    __table_args__ = (
        PrimaryKeyConstraint("provider", "channel", "day", name="provider_rates_pkey"),
        CheckConstraint("complaint_rate BETWEEN 0 AND 1", name="provider_rates_sane"),
    )
    day: int = int_column()
    channel: int = small_column()
    provider: str = text_column()
    complaint_rate: float = Field(sa_type=Double, nullable=False)
    delivered: int | None = Field(default=None, sa_type=BigInteger)
    received_us: int = big_column()


class SecretRow(SQLModel, table=True):
    """256 random bits for a purpose, made once where the environment gives no secret."""

    __tablename__ = "secrets"
    __table_args__ = (CheckConstraint("octet_length(value) = 32", name="secrets_sane"),)
    name: str = Field(sa_type=Text, primary_key=True)
    value: bytes = Field(sa_type=LargeBinary, nullable=False)


class JobRunRow(SQLModel, table=True):
    """A run of a job of the scheduler: once a slot."""

    __tablename__ = "job_runs"
    __table_args__ = (PrimaryKeyConstraint("job", "slot_us", name="job_runs_pkey"),)
    slot_us: int = big_column()
    started_us: int = big_column()
    ended_us: int | None = Field(default=None, sa_type=BigInteger)
    job: str = text_column()
    outcome: str | None = Field(default=None, sa_type=Text)
    note: str = Field(sa_type=Text, nullable=False, sa_column_kwargs={"server_default": ""})


class AlarmRow(SQLModel, table=True):
    """Something that somebody should look at, to be told by a signed webhook until it was."""

    __tablename__ = "alarms"
    number: int = Field(sa_column=Column("number", Integer, Identity(always=False), primary_key=True))
    at_us: int = big_column()
    kind: str = text_column()
    subject: str = text_column()
    data: dict[str, Any] = Field(sa_type=JSONB, nullable=False)
    sent_us: int | None = Field(default=None, sa_type=BigInteger)
    attempts: int = Field(sa_type=Integer, nullable=False, sa_column_kwargs={"server_default": "0"})
    next_us: int = big_column()


class KeptSinceRow(SQLModel, table=True):
    """From when on the rows of a table are all there: what was before is in the daily totals alone. And, as `round`,
    when it was for the last round that let go of anything."""

    __tablename__ = "kept_since"
    name: str = Field(sa_type=Text, primary_key=True)
    since_us: int = big_column()


class DailyTotalRow(SQLModel, table=True):
    """What remains of pruned refusals and events: how many a day, by labels, rule and code."""

    __tablename__ = "daily_totals"
    __table_args__ = (
        PrimaryKeyConstraint(
            "day", "kind", "channel", "topic", "campaign", "team", "rule", "code", name="daily_totals_pkey"
        ),
    )
    count: int = big_column()
    day: int = int_column()
    kind: int = small_column()
    channel: int = small_column()
    topic: int = int_column()
    campaign: int = int_column()
    team: int = int_column()
    rule: int = int_column()
    code: int = small_column()
