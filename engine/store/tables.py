"""The tables, as SQLModel declares them and Alembic compares them with the database.

They validate nothing (a table model accepts anything): values are checked where they enter, and CHECKs hold in the
database. `customer_id` comes first in the key of every table that grows with customers, and sorts by bytes. Instants
are microseconds since the epoch. Labels (topics, campaigns, ...) are the numbers of `labels`, 0 for none. Fixed-width
columns come first, so that a row has no gaps.
"""

# pyright: reportAssignmentType=false, reportIncompatibleVariableOverride=false
# SQLModel types `__tablename__` as a declared attribute, which a plain name is not.

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

BYTEWISE = Text(collation="C")
WEEKLY = {"postgresql_partition_by": "RANGE (at_us)"}
PARTITIONED = ("journal", "refusals", "resolutions")
_SANE_ASK = (
    "seq > 0 AND attempt > 0 AND weight > 0 AND priority BETWEEN 0 AND 100"
    " AND channel BETWEEN 1 AND 6 AND start_us <= end_us"
)


def _by_time(name: str) -> Index:
    """Finds the rows of an hour in a table whose rows come in the order of their time, and costs an insert little."""
    return Index(name, "at_us", postgresql_using="brin", postgresql_with={"pages_per_range": 32, "autosummarize": "on"})


def big_column() -> Any:
    return Field(sa_type=BigInteger, nullable=False)


def int_column() -> Any:
    return Field(sa_type=Integer, nullable=False)


def small_column() -> Any:
    return Field(sa_type=SmallInteger, nullable=False)


def customer_column() -> Any:
    return Field(sa_type=BYTEWISE, nullable=False)


class Deployment(SQLModel, table=True):
    """One row: what this database is for. Only one made as `demo` or `test` may hold a clock that differs."""

    __tablename__ = "deployment"
    __table_args__ = (
        CheckConstraint("single", name="deployment_single"),
        CheckConstraint("kind IN ('production', 'demo', 'test')", name="deployment_kind"),
        CheckConstraint("clock_offset_us = 0 OR kind IN ('demo', 'test')", name="deployment_clock"),
    )
    single: bool = Field(default=True, primary_key=True)
    kind: str = Field(sa_type=Text, nullable=False)
    clock_offset_us: int = big_column()


class Label(SQLModel, table=True):
    """The interned labels. The six channels and `*` have fixed numbers."""

    __tablename__ = "labels"
    __table_args__ = (UniqueConstraint("name", name="labels_name"),)
    number: int = Field(sa_column=Column("number", Integer, Identity(always=False, start=100), primary_key=True))
    name: str = Field(sa_column=Column("name", BYTEWISE, nullable=False))


class AccountRow(SQLModel, table=True):
    """One row a customer: the digest of the journal that decisions read, in `core.account`'s form."""

    __tablename__ = "accounts"
    __table_args__ = (
        PrimaryKeyConstraint("customer_id", name="accounts_pkey"),
        CheckConstraint("length(customer_id) BETWEEN 1 AND 200", name="accounts_customer_id"),
        CheckConstraint("seq >= 0", name="accounts_seq"),
        # A row of 64 contacts is some 2.6 kB: kept whole, where PostgreSQL would compress and move it from 2 kB on.
        # Room on the page for the next version keeps updates off the index.
        {"postgresql_with": {"fillfactor": "70", "toast_tuple_target": "8160"}},
    )
    latest_us: int = Field(sa_type=BigInteger, nullable=False, sa_column_kwargs={"server_default": "0"})
    complete_since_us: int = Field(sa_type=BigInteger, nullable=False, sa_column_kwargs={"server_default": "0"})
    seq: int = Field(sa_type=Integer, nullable=False, sa_column_kwargs={"server_default": "0"})
    customer_id: str = customer_column()
    contacts: bytes = Field(sa_type=LargeBinary, nullable=False, sa_column_kwargs={"server_default": ""})


class OpeningRow(SQLModel, table=True):
    """What of a customer's journal was let go of, added up: where the account that is told by the rest begins.

    `seq` is that of the newest contact that went, `latest_us` the newest instant at which one was asked or recorded;
    of those that counted every one had ended before `complete_since_us`, and is in `totals`, in `core.account`'s form.
    """

    __tablename__ = "openings"
    __table_args__ = (
        PrimaryKeyConstraint("customer_id", name="openings_pkey"),
        CheckConstraint("seq > 0", name="openings_seq"),
    )
    latest_us: int = big_column()
    complete_since_us: int = big_column()
    seq: int = int_column()
    customer_id: str = customer_column()
    totals: bytes = Field(sa_type=LargeBinary, nullable=False)


class CustomerRow(SQLModel, table=True):
    """What decisions read about a person. Every change of it is in `changes` too; NULL is "nothing on file".

    Of who was `merged_into` another customer nothing else is on file.
    """

    __tablename__ = "customers"
    __table_args__ = (
        PrimaryKeyConstraint("customer_id", name="customers_pkey"),
        Index("customers_merged_into", "merged_into", "customer_id", postgresql_where=text("merged_into IS NOT NULL")),
    )
    customer_id: str = customer_column()
    time_zone: str | None = Field(default=None, sa_type=Text)
    attributes: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    consents: list[Any] | None = Field(default=None, sa_type=JSONB)
    suppressions: list[Any] | None = Field(default=None, sa_type=JSONB)
    preferences: list[Any] | None = Field(default=None, sa_type=JSONB)
    outcomes: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    addresses: list[Any] | None = Field(default=None, sa_type=JSONB)
    variants: list[Any] | None = Field(default=None, sa_type=JSONB)
    merged_into: str | None = Field(default=None, sa_column=Column("merged_into", BYTEWISE, nullable=True))


class _AskedRow(SQLModel):
    """What contacts and refusals have in common."""

    at_us: int = big_column()
    start_us: int = big_column()
    end_us: int = big_column()
    seq: int = int_column()
    ruleset: int = int_column()
    topic: int = int_column()
    campaign: int = int_column()
    team: int = int_column()
    sender: int = int_column()
    channel: int = small_column()
    weight: int = small_column()
    priority: int = small_column()
    attempt: int = small_column()
    flags: int = small_column()
    customer_id: str = customer_column()
    message_id: str = Field(sa_type=Text, nullable=False)
    reasons: bytes | None = Field(default=None, sa_type=LargeBinary)


class JournalRow(_AskedRow, table=True):
    """A contact as it was allowed or recorded. Never updated: what became of it stands in `resolutions`."""

    __tablename__ = "journal"
    # One index serves both ways in: a customer's history, and a customer's message.
    __table_args__ = (
        PrimaryKeyConstraint("customer_id", "message_key", "seq", "at_us", name="journal_pkey"),
        CheckConstraint(f"{_SANE_ASK} AND length(message_id) BETWEEN 1 AND 200", name="journal_sane"),
        _by_time("journal_at_us"),
        WEEKLY,
    )
    message_key: int = big_column()
    uncharged: bytes | None = Field(default=None, sa_type=LargeBinary)


class RefusalRow(_AskedRow, table=True):
    """An ask that made no contact: refused, or merely checked."""

    __tablename__ = "refusals"
    __table_args__ = (
        PrimaryKeyConstraint("customer_id", "seq", "at_us", name="refusals_pkey"),
        CheckConstraint(f"{_SANE_ASK} AND length(message_id) <= 200", name="refusals_sane"),
        _by_time("refusals_at_us"),
        WEEKLY,
    )
    retry_at_us: int = big_column()


class ResolutionRow(SQLModel, table=True):
    """What became of a contact: confirmed, released, revoked, or confirmed too late. The first one stands."""

    __tablename__ = "resolutions"
    __table_args__ = (
        PrimaryKeyConstraint("customer_id", "contact_seq", "seq", "at_us", name="resolutions_pkey"),
        CheckConstraint("contact_seq > 0 AND seq > contact_seq AND kind > 0", name="resolutions_sane"),
        WEEKLY,
    )
    at_us: int = big_column()
    end_us: int = big_column()
    seq: int = int_column()
    contact_seq: int = int_column()
    kind: int = small_column()
    customer_id: str = customer_column()


class ChangeRow(SQLModel, table=True):
    """A change of what decisions read about a customer: the new value whole."""

    __tablename__ = "changes"
    __table_args__ = (
        PrimaryKeyConstraint("customer_id", "seq", name="changes_pkey"),
        CheckConstraint("seq > 0 AND kind > 0", name="changes_sane"),
    )
    at_us: int = big_column()
    seq: int = int_column()
    kind: int = small_column()
    customer_id: str = customer_column()
    data: Any = Field(sa_type=JSONB, nullable=False)


class PolicyRow(SQLModel, table=True):
    """A version of the policy: the text as written, and what it means."""

    __tablename__ = "policies"
    version: int = Field(sa_column=Column("version", Integer, Identity(always=False), primary_key=True))
    created_us: int = big_column()
    author: str = Field(sa_type=Text, nullable=False)
    note: str = Field(sa_type=Text, nullable=False)
    source: str = Field(sa_type=Text, nullable=False)
    data: dict[str, Any] = Field(sa_type=JSONB, nullable=False)


class RulesetRow(SQLModel, table=True):
    """All global inputs of decisions under one number. The highest number is in force."""

    __tablename__ = "rulesets"
    number: int = Field(sa_column=Column("number", Integer, primary_key=True, autoincrement=False))
    activated_us: int = big_column()
    policy_version: int = Field(sa_type=Integer, nullable=False, foreign_key="policies.version")
    tzdata_version: str = Field(sa_type=Text, nullable=False)
    author: str = Field(sa_type=Text, nullable=False)
    pauses: list[Any] = Field(sa_type=JSONB, nullable=False)
    experiments: list[Any] = Field(sa_type=JSONB, nullable=False, sa_column_kwargs={"server_default": "[]"})
    holdouts: list[Any] = Field(sa_type=JSONB, nullable=False, sa_column_kwargs={"server_default": "[]"})


class KeyRow(SQLModel, table=True):
    """An API key, by the SHA-256 of its secret."""

    __tablename__ = "keys"
    __table_args__ = (
        UniqueConstraint("digest", name="keys_digest"),
        CheckConstraint("octet_length(digest) = 32 AND cardinality(scopes) > 0", name="keys_sane"),
    )
    key_id: str = Field(sa_type=Text, primary_key=True)
    name: str = Field(sa_type=Text, nullable=False)
    digest: bytes = Field(sa_type=LargeBinary, nullable=False)
    scopes: list[str] = Field(sa_column=Column("scopes", ARRAY(Text), nullable=False))
    teams: list[str] | None = Field(default=None, sa_column=Column("teams", ARRAY(Text), nullable=True))
    created_us: int = big_column()
    expires_us: int | None = Field(default=None, sa_type=BigInteger)
    revoked_us: int | None = Field(default=None, sa_type=BigInteger)


class SignInLinkRow(SQLModel, table=True):
    """A link that signs in whoever follows it first, with that key; by the SHA-256 of its code."""

    __tablename__ = "sign_in_links"
    __table_args__ = (CheckConstraint("octet_length(digest) = 32", name="sign_in_links_sane"),)
    expires_us: int = big_column()
    digest: bytes = Field(sa_type=LargeBinary, primary_key=True)
    key_id: str = Field(sa_column=Column("key_id", Text, ForeignKey("keys.key_id"), nullable=False))
