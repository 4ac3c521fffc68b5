"""The tables of experiments: plans and what was done to them, who was exposed, readouts, holdouts."""

# pyright: reportAssignmentType=false, reportIncompatibleVariableOverride=false
# SQLModel types `__tablename__` as a declared attribute, which a plain name is not.

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Identity,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from engine.store.tables import BYTEWISE


class ExperimentRow(SQLModel, table=True):
    """An experiment: its plan as written and as read, and where it stands."""

    __tablename__ = "experiments"
    __table_args__ = (
        UniqueConstraint("key", name="experiments_key"),
        CheckConstraint("state IN ('draft', 'running', 'stopped', 'shipped')", name="experiments_state"),
        CheckConstraint("on_harm IN ('alert', 'stop')", name="experiments_on_harm"),
        CheckConstraint(
            "(state = 'draft') = (started_us IS NULL) AND (ended_us IS NULL) = (state IN ('draft', 'running'))"
            " AND (state = 'shipped') = (shipped IS NOT NULL)",
            name="experiments_times",
        ),
    )
    number: int = Field(sa_column=Column("number", Integer, Identity(always=False), primary_key=True))
    key: str = Field(sa_column=Column("key", BYTEWISE, nullable=False))
    state: str = Field(sa_type=Text, nullable=False)
    on_harm: str = Field(sa_type=Text, nullable=False)
    created_us: int = Field(sa_type=BigInteger, nullable=False)
    started_us: int | None = Field(default=None, sa_type=BigInteger)
    ended_us: int | None = Field(default=None, sa_type=BigInteger)
    shipped: str | None = Field(default=None, sa_type=Text)
    source: str = Field(sa_type=Text, nullable=False)
    plan: dict[str, Any] = Field(sa_type=JSONB, nullable=False)


class ExperimentLogRow(SQLModel, table=True):
    """Who did what to an experiment, and when: only ever appended to. Notes of people are entries too."""

    __tablename__ = "experiment_log"
    __table_args__ = (PrimaryKeyConstraint("experiment", "entry", name="experiment_log_pkey"),)
    experiment: int = Field(sa_type=Integer, nullable=False, foreign_key="experiments.number")
    entry: int = Field(sa_type=Integer, nullable=False)
    at_us: int = Field(sa_type=BigInteger, nullable=False)
    action: str = Field(sa_type=Text, nullable=False)
    author: str = Field(sa_type=Text, nullable=False)
    note: str = Field(sa_type=Text, nullable=False)
    data: dict[str, Any] = Field(sa_type=JSONB, nullable=False)


class ExposureRow(SQLModel, table=True):
    """One customer in one experiment: the assignment, and the instants from which readouts analyse.

    `variant` and `phase` are places in the plan. `eligible_us` of an experiment that changes no budget is the
    evaluation itself. `segments` are the declared attributes as they were at the assignment.
    """

    __tablename__ = "exposures"
    __table_args__ = (
        PrimaryKeyConstraint("customer_id", "experiment", name="exposures_pkey"),
        CheckConstraint(
            "variant >= 0 AND phase >= 0 AND flags >= 0 AND eligible_us >= assigned_us AND diverged_us >= eligible_us",
            name="exposures_sane",
        ),
    )
    assigned_us: int = Field(sa_type=BigInteger, nullable=False)
    eligible_us: int | None = Field(default=None, sa_type=BigInteger)
    diverged_us: int | None = Field(default=None, sa_type=BigInteger)
    experiment: int = Field(sa_type=Integer, nullable=False)
    variant: int = Field(sa_type=SmallInteger, nullable=False)
    phase: int = Field(sa_type=SmallInteger, nullable=False)
    flags: int = Field(sa_type=SmallInteger, nullable=False)
    customer_id: str = Field(sa_column=Column("customer_id", BYTEWISE, nullable=False))
    segments: dict[str, Any] | None = Field(default=None, sa_type=JSONB)


class SnapshotRow(SQLModel, table=True):
    """A readout as it was computed. `number` is its place in the order of all; `call` is the verdict's one word, of the
    treatments' the gravest."""

    __tablename__ = "snapshots"
    __table_args__ = (
        PrimaryKeyConstraint("experiment", "computed_us", name="snapshots_pkey"),
        UniqueConstraint("experiment", "number", name="snapshots_number"),
    )
    experiment: int = Field(sa_type=Integer, nullable=False, foreign_key="experiments.number")
    number: int = Field(sa_type=BigInteger, nullable=False)
    computed_us: int = Field(sa_type=BigInteger, nullable=False)
    as_of_us: int = Field(sa_type=BigInteger, nullable=False)
    took_us: int = Field(sa_type=BigInteger, nullable=False)
    call: str = Field(sa_type=Text, nullable=False)
    readout: dict[str, Any] = Field(sa_type=JSONB, nullable=False)


class HoldoutRow(SQLModel, table=True):
    """A share of all customers kept under a frozen version of the policy, out of all experiments, until an end."""

    __tablename__ = "holdouts"
    __table_args__ = (CheckConstraint("share > 0 AND share <= 0.5 AND from_us < until_us", name="holdouts_sane"),)
    name: str = Field(sa_column=Column("name", BYTEWISE, primary_key=True))
    seed: str = Field(sa_type=Text, nullable=False)
    share: float = Field(sa_type=Double, nullable=False)
    policy_version: int = Field(sa_type=Integer, nullable=False, foreign_key="policies.version")
    experiment: int | None = Field(default=None, sa_type=Integer, foreign_key="experiments.number")
    from_us: int = Field(sa_type=BigInteger, nullable=False)
    until_us: int = Field(sa_type=BigInteger, nullable=False)
    ended_us: int | None = Field(default=None, sa_type=BigInteger)


class HoldoutReadoutRow(SQLModel, table=True):
    """A readout of the holdout that shipping an experiment left, kept for good. `day`: the one that was due so many
    days after the ship, which there is once; NULL for one that somebody asked for."""

    __tablename__ = "holdout_readouts"
    __table_args__ = (
        PrimaryKeyConstraint("experiment", "computed_us", name="holdout_readouts_pkey"),
        UniqueConstraint("experiment", "day", name="holdout_readouts_day"),
        UniqueConstraint("experiment", "number", name="holdout_readouts_number"),
    )
    experiment: int = Field(sa_type=Integer, nullable=False, foreign_key="experiments.number")
    number: int = Field(sa_type=BigInteger, nullable=False)
    computed_us: int = Field(sa_type=BigInteger, nullable=False)
    as_of_us: int = Field(sa_type=BigInteger, nullable=False)
    took_us: int = Field(sa_type=BigInteger, nullable=False)
    day: int | None = Field(default=None, sa_type=Integer)
    call: str = Field(sa_type=Text, nullable=False)
    readout: dict[str, Any] = Field(sa_type=JSONB, nullable=False)


class HoldoutUnitRow(SQLModel, table=True):
    """Of who was erased after a ship: on which side of its holdout the anonymous unit was that is left of them, and
    whether they had lived under another variant before, or were testers. Of all others their ids tell."""

    __tablename__ = "holdout_units"
    __table_args__ = (PrimaryKeyConstraint("unit", "experiment", name="holdout_units_pkey"),)
    experiment: int = Field(sa_type=Integer, nullable=False, foreign_key="experiments.number")
    is_held: bool = Field(sa_type=Boolean, nullable=False)
    is_treated: bool = Field(sa_type=Boolean, nullable=False)
    unit: str = Field(sa_column=Column("unit", BYTEWISE, nullable=False))
