"""Experiments as they come in and go out over HTTP. A plan is YAML for people or JSON for programs, the same fields."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from engine.api.answers import Out
from engine.api.schemas import In, Label, Text
from engine.operations.experiments import OnHarm
from engine.operations.ship import HELD_DAYS, LEAST_HELD, MOST_HELD
from experiments.reporting.verdicts import Call

Share = Annotated[StrictFloat | StrictInt, Field(gt=0, le=1, allow_inf_nan=False)]
Weight = Annotated[StrictFloat | StrictInt, Field(ge=0, le=1e6, allow_inf_nan=False)]
RequestId = Annotated[
    Label | None,
    Field(description="Yours, for one request to this experiment: the same again does nothing, and answers as it is."),
]


class PlanIn(In):
    """The plan of an experiment, as YAML (`yaml`) or as a JSON document with the same fields (`plan`): one of them."""

    yaml: Annotated[str | None, Field(min_length=1, max_length=262_144)] = None
    plan: dict[str, Any] | None = None


class ExperimentIn(PlanIn):
    """A plan to be kept as a draft. `replace`: take the place of the draft of that key, if there is one."""

    on_harm: Annotated[OnHarm, Field(description="When a readout says stop: tell somebody, or stop too.")] = (
        OnHarm.ALERT
    )
    note: Text = ""
    replace: StrictBool = False


class StepIn(In):
    """Why, for whoever reads the log."""

    note: Text = ""
    request_id: RequestId = None


class RampIn(StepIn):
    """The share of the audience that enters from now on; it can only grow."""

    traffic: Share


class PhaseIn(StepIn):
    """Weights by variant for those who enter from now on; 0 for a variant that is not named."""

    weights: Annotated[dict[Label, Weight], Field(min_length=1, max_length=50)]
    traffic: Share | None = None


class ShipIn(StepIn):
    """The variant that becomes the policy, and the share that stays under the old one for a while."""

    variant: Label
    holdout: Annotated[
        StrictFloat | None,
        Field(ge=LEAST_HELD, le=MOST_HELD, description="Of all customers; 0.05 unless given."),
    ] = None
    holdout_days: Annotated[StrictInt, Field(ge=28, le=3 * HELD_DAYS)] = HELD_DAYS


class FindingIn(In):
    """What a user test, an interview or a call found, to stand beside the numbers."""

    note: Annotated[Text, Field(min_length=1)]
    request_id: RequestId = None


class ExperimentOut(Out):
    """`plan` is as it stands now, in the form of the file. `shipped` is the variant that became the policy."""

    number: int
    key: str
    state: Literal["draft", "running", "stopped", "shipped"]
    on_harm: Literal["alert", "stop"]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    shipped: str | None
    plan: dict[str, Any]


class ExperimentStepOut(ExperimentOut):
    """As it stands after the step. `warnings` are what whoever took it should know; they refuse nothing."""

    warnings: list[str]


class ExperimentsOut(Out):
    experiments: list[ExperimentOut]


class NeededOut(Out):
    """Of one metric, in customers of the smaller arm: how many its margin needs, how many will have been watched by
    the end, and (`shows`) the least difference that those show."""

    metric: str
    role: Literal["primary", "guardrail"]
    base: float
    expected: int
    needed: int | None
    shows: float | None


class PreflightOut(Out):
    """What the run will be like, by the last 28 days or the plan's `planned_units`; null where nothing is known."""

    customers: int | None
    asks_per_day: float | None
    metrics: list[NeededOut]


class ExperimentValidOut(Out):
    """A plan that could be created now, with what its start would warn of."""

    valid: Literal[True]
    key: str
    start: date
    end: date
    preflight: PreflightOut
    warnings: list[str]


class LogEntryOut(Out):
    """`data` is what the action was about; `policy` is a version of the policy that changed a budget meanwhile."""

    entry: int
    at: datetime
    action: Literal["created", "changed", "start", "ramp", "phase", "stop", "ship", "end_holdout", "note", "policy"]
    author: str
    note: str
    data: dict[str, Any]


class HoldoutDayOut(Out):
    """A day on which a holdout is read, and what that said; null as long as it is not there."""

    day: int
    due_at: datetime
    computed_at: datetime | None
    call: Call | None


class HoldoutOut(Out):
    """Customers who stay under the budgets of the policy version that was in force before the ship, until an end: the
    planned one, or sooner by hand. Nothing is read after `ended_at`."""

    name: str
    share: float
    policy_version: int
    from_: Annotated[datetime, Field(alias="from")]
    until: datetime
    ended_at: datetime | None
    readouts: list[HoldoutDayOut]


class ExperimentWholeOut(ExperimentOut):
    """`yaml` is the plan as it was written; the log is everything that was done, the oldest first."""

    yaml: str
    log: list[LogEntryOut]
    holdout: HoldoutOut | None
