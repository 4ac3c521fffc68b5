"""What goes out over HTTP, as models: routes render by themselves, OpenAPI shows these, and tests compare the two.

Instants are RFC 3339 in UTC. Durations end in `_s`.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["allow", "defer", "deny"]
State = Literal["reserved", "confirmed", "presumed_sent", "released", "expired", "revoked", "late", "recorded"]


class Out(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PlaceOut(Out):
    """`path` says where (`asks[3].send_at`), empty for the document itself; `line` counts from 1 in a YAML text."""

    path: str
    found: str
    expected: str
    line: int | None


class ProblemOut(Out):
    """An error, as RFC 9457 has it. `problems` names each place that is wrong."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    problems: list[PlaceOut] | None = None
    retry_after_s: int | None = None


class ErrorItem(Out):
    """What was wrong with this item alone."""

    error: ProblemOut


class ReasonOut(Out):
    code: str
    rule: str
    text: str
    frees_at: datetime | None


class BudgetOut(Out):
    budget: str
    limit: int
    used: int
    left: int
    frees_at: datetime | None
    shadow: bool


class AnswerOut(Out):
    """The answer. Only `state: reserved` permits sending; every verdict explains itself.

    `variants` are those of the experiments that the ask is about. Not `recorded` (the mode peek), nothing was written
    down: neither the ask, nor that the customer entered an experiment by it.
    `headers`: what to put into an e-mail that was reserved, so that one click unsubscribes (RFC 8058).
    """

    message_id: str | None
    customer_id: str
    verdict: Verdict
    state: State | None
    reasons: list[ReasonOut]
    retry_at: datetime | None
    retry_certain: bool
    retry_after_s: int | None
    lease_expires_at: datetime | None
    lease_s: int | None
    budgets: list[BudgetOut]
    variants: dict[str, str]
    observed: Verdict | None
    recorded: bool
    ruleset: int
    decided_at: datetime
    replayed: bool
    attempt: int
    headers: dict[str, str] | None


class AnswersOut(Out):
    answers: list[AnswerOut | ErrorItem]


class ResolvedOut(Out):
    """`applied`: this call made it so. The first resolution stands, whoever made it."""

    customer_id: str
    message_id: str
    attempt: int
    state: State
    applied: bool
    at: datetime


class ResolutionsOut(Out):
    results: list[ResolvedOut | ErrorItem]


class ConsentOut(Out):
    channel: str | None
    topic: str | None
    given: bool
    at: datetime
    source: str
    text_version: str | None


class SuppressionOut(Out):
    channel: str | None
    topic: str | None
    reason: str
    at: datetime
    source: str
    binds_exempt: bool


class PreferenceOut(Out):
    channel: str | None
    topic: str | None
    limit: int | None


class FileOut(Out):
    """What is on file about a customer."""

    time_zone: str | None
    attributes: dict[str, bool | int | float | str]
    consents: list[ConsentOut]
    suppressions: list[SuppressionOut]
    preferences: list[PreferenceOut]


class FiledOut(FileOut):
    """What is on file now. `changed`: this call made it so; `revoked`: open leases that it ended."""

    customer_id: str
    changed: bool
    revoked: int


class FiledListOut(Out):
    results: list[FiledOut | ErrorItem]


class StandingOut(BudgetOut):
    """A budget as it stands. `kept_for`: the campaign, topic or team of a budget that is kept per such."""

    kept_for: str | None


class ContactOut(Out):
    """A contact that occupies budgets, from its send or reservation until its confirmation or the lease's end."""

    seq: int
    state: State
    channel: str
    topic: str
    campaign: str | None
    team: str | None
    from_: Annotated[datetime, Field(alias="from")]
    until: datetime


class OpenCaseOut(Out):
    """A case that an event of the type `opened_by` opened: pauses that begin with it stop contacts. `case`: its name,
    empty if it has none. `closed_at`: when it had ended before it was opened again."""

    opened_by: str
    case: str
    opened_at: datetime
    closed_at: datetime | None


class CustomerOut(FileOut):
    customer_id: str
    open_cases: list[OpenCaseOut]
    budgets: list[StandingOut]
    contacts: list[ContactOut]
    ruleset: int
    at: datetime


class WhyOut(Out):
    code: str
    rule: str
    text: str


class _EntryOut(Out):
    seq: int
    at: datetime


class _AskedOut(_EntryOut):
    message_id: str | None
    attempt: int
    channel: str
    topic: str
    campaign: str | None
    team: str | None
    sender: str | None
    weight: int
    priority: int
    send_at: datetime | None
    reasons: list[WhyOut]
    observed: Verdict | None
    ruleset: int
    verdict: Verdict
    retry_at: datetime | None


class ContactEntryOut(_AskedOut):
    """A contact allowed (`how: asked`), recorded by its sender, or unasked: an event says that it was sent."""

    entry: Literal["contact"]
    how: Literal["asked", "late", "recorded", "unasked"]
    lease_expires_at: datetime


class RefusalEntryOut(_AskedOut):
    """An ask that made no contact: refused, or only checked."""

    entry: Literal["refusal", "check"]
    retry_certain: bool


class ResolutionEntryOut(_EntryOut):
    """What became of the contact whose entry has the seq `contact_seq`."""

    entry: Literal["resolution"]
    contact_seq: int
    became: Literal["confirmed", "released", "revoked", "late", "marked"]


class ChangeEntryOut(_EntryOut):
    """A change of what is on file; `to` is the new value, whole."""

    entry: Literal["change"]
    changed: Literal["profile", "suppressions", "preferences", "outcomes", "addresses", "variants", "merged"]
    to: dict[str, Any]


class JournalOut(Out):
    """The newest entries first. `next_before` asks for the next page; null on the last."""

    customer_id: str
    entries: list[
        Annotated[ContactEntryOut | RefusalEntryOut | ResolutionEntryOut | ChangeEntryOut, Field(discriminator="entry")]
    ]
    next_before: int | None


class PauseOut(Out):
    name: str
    channels: list[str] | None
    topics: list[str] | None
    campaigns: list[str] | None
    teams: list[str] | None
    from_: Annotated[datetime | None, Field(alias="from")]
    until: datetime | None
    is_breaker: Annotated[bool, Field(description="The complaint breaker set it, because customers complain.")]


class ActivationOut(Out):
    """What is in force. `yaml` is the policy in full and in one form."""

    ruleset: int
    policy_version: int
    activated_at: datetime
    author: str
    mode: Literal["enforce", "observe"]
    yaml: str
    pauses: list[PauseOut]


class ActivatedOut(ActivationOut):
    """`warnings`: running experiments of which a budget is another now; their readouts say so, too."""

    warnings: list[str]


class VersionOut(Out):
    version: int
    created_at: datetime
    author: str
    note: str


class PoliciesOut(Out):
    in_force: ActivationOut | None
    versions: list[VersionOut]


class PolicyOut(VersionOut):
    """`yaml` is the text as it was written."""

    yaml: str


class ValidOut(Out):
    """A valid policy, in full and in one form."""

    valid: Literal[True]
    yaml: str


class LiveOut(Out):
    status: Literal["ok"]


class ReadyOut(Out):
    """Each check is `ok` or says what is wrong. `deployment` is what the database is for: production, demo or test."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str]
    deployment: str | None
    took_s: float
