"""Readouts as they go out over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from engine.api.answers import Out
from experiments.reporting.verdicts import Call


class EffectOut(Out):
    """Treatment less control, in the metric's own unit; null for an interval that has no end on that side."""

    metric: str
    variant: str
    effect: float
    low: float | None
    high: float | None


class EligibleOut(Out):
    """Of an experiment about budgets, all who were eligible: the readout itself is of those for whom variants differed
    (`share_diverged` of them). Their `effects` are the readout's times that share, which is taken as known."""

    customers: dict[str, int]
    share_diverged: float | None
    effects: list[EffectOut]


class StretchOut(Out):
    """When a pause was in force. `is_breaker`: the complaint breaker set it."""

    name: str
    from_: Annotated[datetime, Field(alias="from")]
    until: datetime
    is_breaker: bool


class PausesOut(Out):
    """Pauses during the experiment, and what decides without the customers who entered meanwhile."""

    stretches: list[StretchOut]
    customers_without: int
    effects_without: list[EffectOut]


class MetOut(Out):
    variant: str
    other: str
    customers: int


class ConcurrentOut(Out):
    """Customers who were in a variant of another experiment too, by both."""

    experiment: str
    customers: list[MetOut]


class WeekOut(Out):
    """The effect within one week since entry, 1 being the first; `why_not` where there is none."""

    week: int
    effect: float | None
    low: float | None
    high: float | None
    method: str
    why_not: str | None


class WeeksOut(Out):
    """A survival metric's effects by week since entry on a fixed cohort (`cohort` counts it by variant): everybody who
    was watched for all these weeks, left or not. Intervals hold for all weeks at once; they decide nothing."""

    metric: str
    variant: str
    cohort: dict[str, int]
    alpha: float
    effects: list[WeekOut]


class RefusedOut(Out):
    """Messages, each once, refused to customers of a variant who were in it for a week or longer; `weeks` are those of
    all of them together."""

    variant: str
    customers: int
    weeks: float
    messages: int


class RefusalsOut(Out):
    """What customers were refused in the last four weeks that were analysed: their refusals are kept for 30 days."""

    from_: Annotated[datetime, Field(alias="from")]
    until: datetime
    by_variant: list[RefusedOut]


class FoundOut(Out):
    """What a user test, an interview or a call found."""

    at: datetime
    author: str
    note: str


class ReadoutOut(Out):
    """`readout` is that of docs/readout.md, with its own schema; `standard` names the metrics that every experiment
    has. `call` is the gravest of its verdicts. `as_of`: what lies before was analysed."""

    experiment: str
    state: Literal["running", "stopped", "shipped"]
    computed_at: datetime
    age_s: int
    as_of: datetime
    took_ms: int
    call: Call
    schema_: Annotated[Literal[1], Field(alias="schema")]
    readout: dict[str, Any]
    standard: list[str]
    eligible: EligibleOut | None
    pauses: PausesOut | None
    concurrent: list[ConcurrentOut]
    refusals: RefusalsOut | None
    weeks: list[WeeksOut]
    cautions: list[str]
    findings: list[FoundOut]


class RunOut(Out):
    """How long the experiment ran before it was shipped. `is_short`: not for its horizon."""

    days: float
    horizon_days: int
    is_short: bool


class SideOut(Out):
    """One side of a holdout: customers who are analysed, and who are left out. `treated_before`: the experiment had
    them under another variant than the control before the ship; `merged`: with somebody, since."""

    variant: str
    customers: int
    treated_before: int
    in_older_holdout: int
    merged: int


class BesideOut(Out):
    """What decides, with those who are left out as treated before."""

    customers: int
    call: Call
    effects: list[EffectOut]


class ChangeOut(Out):
    """A version of the policy, and since when it was in force; the first is the shipped one."""

    version: int
    from_: Annotated[datetime, Field(alias="from")]


class RanOut(Out):
    """An experiment that ran since the ship, and how many of those who are not held back it had."""

    experiment: str
    customers: int


class SinceOut(Out):
    """What came after the ship: policies and experiments reach only those who are not held back, pauses everybody."""

    policies: list[ChangeOut]
    experiments: list[RanOut]
    pauses: list[StretchOut]


class HeldReadoutOut(Out):
    """Who stayed under the old policy (`policy_version`, variant "holdout") against everybody else, from the ship on.

    `day`: the one on which this was due; null for one that somebody asked for. Metrics are those of the plan and the
    standard ones, each over the first `days` days. `call`: what these numbers would say of shipping it now.
    """

    experiment: str
    shipped: str
    policy_version: int
    from_: Annotated[datetime, Field(alias="from")]
    until: datetime
    day: int | None
    days: int
    computed_at: datetime
    age_s: int
    as_of: datetime
    took_ms: int
    call: Call
    schema_: Annotated[Literal[1], Field(alias="schema")]
    readout: dict[str, Any]
    standard: list[str]
    run: RunOut
    cohort: list[SideOut]
    with_treated_before: BesideOut | None
    since: SinceOut
    cautions: list[str]
