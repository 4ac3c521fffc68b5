"""The tables of counts: what was asked by the hour, for people who look. Of no customer, and read by no decision."""

# pyright: reportAssignmentType=false, reportIncompatibleVariableOverride=false
# SQLModel types `__tablename__` as a declared attribute, which a plain name is not.

from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Double, PrimaryKeyConstraint, Text
from sqlmodel import Field, SQLModel

from engine.store.tables import big_column, int_column, small_column


def _flag_column() -> Any:
    return Field(sa_type=Boolean, nullable=False)


class CountedUntilRow(SQLModel, table=True):
    """How far something is counted."""

    __tablename__ = "counted_until"
    __table_args__ = (PrimaryKeyConstraint("name", name="counted_until_pkey"),)
    until_us: int = big_column()
    name: str = Field(sa_type=Text, nullable=False)


class HourlyAsksRow(SQLModel, table=True):
    """Asks of an hour by what came of them (`hourly.Outcome`). `messages`: each counts once a day, if it was allowed as
    that, else with its first refusal. `rule` and `code` are of the first reason; labels are numbers, 0 for none."""

    __tablename__ = "hourly_asks"
    __table_args__ = (
        PrimaryKeyConstraint(
            "hour_us",
            "channel",
            "topic",
            "team",
            "sender",
            "outcome",
            "code",
            "rule",
            "is_exempt",
            name="hourly_asks_pkey",
        ),
        CheckConstraint(
            "hour_us % 3600000000 = 0 AND asks > 0 AND messages BETWEEN 0 AND asks", name="hourly_asks_sane"
        ),
    )
    hour_us: int = big_column()
    asks: int = big_column()
    messages: int = big_column()
    topic: int = int_column()
    team: int = int_column()
    sender: int = int_column()
    rule: int = int_column()
    channel: int = small_column()
    outcome: int = small_column()
    code: int = small_column()
    is_exempt: bool = _flag_column()


class HourlyCrowdingRow(SQLModel, table=True):
    """Messages refused by a budget, by who asked and who had filled it. `looked_at` of them were looked at, and stand
    for `stands_for`. `is_others`: what the asker had sent would alone have left room."""

    __tablename__ = "hourly_crowding"
    __table_args__ = (
        PrimaryKeyConstraint(
            "hour_us", "channel", "topic", "asker", "filler", "rule", "is_others", name="hourly_crowding_pkey"
        ),
        CheckConstraint("looked_at > 0 AND stands_for >= looked_at", name="hourly_crowding_sane"),
    )
    hour_us: int = big_column()
    stands_for: float = Field(sa_type=Double, nullable=False)
    looked_at: int = int_column()
    topic: int = int_column()
    asker: int = int_column()
    filler: int = int_column()
    rule: int = int_column()
    channel: int = small_column()
    is_others: bool = _flag_column()


class BudgetLevelRow(SQLModel, table=True):
    """How full a budget was at an instant: of a sample of so many `customers`, how many were at each level."""

    __tablename__ = "budget_levels"
    __table_args__ = (
        PrimaryKeyConstraint("at_us", "place", name="budget_levels_pkey"),
        CheckConstraint("least(saturated, close, comfortable, forgotten) >= 0", name="budget_levels_sane"),
    )
    at_us: int = big_column()
    customers: int = big_column()
    saturated: int = int_column()
    close: int = int_column()
    comfortable: int = int_column()
    forgotten: int = int_column()
    place: int = small_column()
    is_shadow: bool = _flag_column()
    budget: str = Field(sa_type=Text, nullable=False)


class DailyOutcomesRow(SQLModel, table=True):
    """What became of a day's messages in a channel. `audible`: delivered by providers that tell of complaints."""

    __tablename__ = "daily_outcomes"
    __table_args__ = (
        PrimaryKeyConstraint("day", "channel", name="daily_outcomes_pkey"),
        CheckConstraint("audible BETWEEN 0 AND delivered AND channel BETWEEN 0 AND 6", name="daily_outcomes_sane"),
    )
    delivered: int = big_column()
    audible: int = big_column()
    unsubscribed: int = big_column()
    complained: int = big_column()
    day: int = int_column()
    channel: int = small_column()
