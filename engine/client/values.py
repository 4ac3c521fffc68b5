"""What a sender hands to Takt and gets back: small frozen values, and the two errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, Self

BATCH_ITEMS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a request, or one item of many, was not answered. `problems` names each place that is wrong."""

    status: int
    code: str
    detail: str
    problems: tuple[Mapping[str, Any], ...] = ()

    @property
    def may_send(self) -> Literal[False]:
        """Never: so that a list of answers and problems can be gone through alike."""
        return False

    @property
    def is_unavailability(self) -> bool:
        """Takt could not answer; the item itself may be good."""
        return self.status == 429 or self.status >= 500

    def __str__(self) -> str:
        places = [
            f"{each.get('path')}: found {each.get('found')}, expected {each.get('expected')}" for each in self.problems
        ]
        return "; ".join(places) or self.detail


class TaktClientError(Exception):
    """The base of both."""


class TaktUnavailable(TaktClientError):
    """Raised when no answer was to be had before the deadline. `retry_after_s`: what Takt itself asked for."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TaktRefused(TaktClientError):
    """Raised when Takt answered that the request itself is at fault (4xx); `problem` says in what."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem

    def __reduce__(self) -> tuple[type["TaktRefused"], tuple[Problem]]:
        return type(self), (self.problem,)


@dataclass(frozen=True, slots=True)
class Ask:
    """May this message be sent to this customer? In the mode `reserve`, the default, it needs a message id of yours.

    `send_at` (with an offset) is at most 14 days ahead. What is None is left to Takt's defaults.
    """

    customer_id: str
    channel: str
    topic: str
    message_id: str | None = None
    campaign: str | None = None
    team: str | None = None
    sender: str | None = None
    priority: int | None = None
    weight: int | None = None
    mode: str | None = None
    send_at: datetime | None = None
    lease_s: int | None = None
    on_expiry: str | None = None


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact that happened without an answer: another vendor's, a fail-open send, history."""

    customer_id: str
    message_id: str
    channel: str
    topic: str
    at: datetime
    campaign: str | None = None
    team: str | None = None
    sender: str | None = None
    priority: int | None = None
    weight: int | None = None

    @classmethod
    def of(cls, ask: Ask, at: datetime) -> Self:
        """What was asked in vain and sent all the same, at the instant `at`."""
        if ask.message_id is None:
            raise ValueError("an ask without a message id cannot be recorded")
        return cls(
            ask.customer_id,
            ask.message_id,
            ask.channel,
            ask.topic,
            at,
            ask.campaign,
            ask.team,
            ask.sender,
            ask.priority,
            ask.weight,
        )


class Message(NamedTuple):
    """A message that was asked about. Without an attempt the latest is meant."""

    customer_id: str
    message_id: str
    attempt: int | None = None


class Reason(NamedTuple):
    """One rule that refuses. `frees_at`: the earliest instant at which this rule alone would not."""

    code: str
    rule: str
    text: str
    frees_at: datetime | None


class BudgetLine(NamedTuple):
    """How one budget stood when the answer was given."""

    budget: str
    limit: int
    used: int
    left: int
    frees_at: datetime | None
    shadow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What Takt answered, in the API's words.

    The verdict `unknown` is the client's own: Takt could not be asked, and the topic is one of `fail_open_topics`.
    What is sent on the strength of it must be recorded (`must_record`). `headers` are for the e-mail itself, so that
    one click unsubscribes; DKIM must cover them.
    """

    ask: Ask
    verdict: Literal["allow", "defer", "deny", "unknown"]
    state: str | None = None
    reasons: tuple[Reason, ...] = ()
    retry_at: datetime | None = None
    retry_certain: bool = False
    retry_after_s: int | None = None
    lease_expires_at: datetime | None = None
    lease_s: int | None = None
    budgets: tuple[BudgetLine, ...] = ()
    variants: Mapping[str, str] = field(default_factory=dict[str, str])
    observed: str | None = None
    ruleset: int | None = None
    decided_at: datetime | None = None
    replayed: bool = False
    attempt: int = 1
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def customer_id(self) -> str:
        return self.ask.customer_id

    @property
    def message_id(self) -> str | None:
        return self.ask.message_id

    @property
    def may_send(self) -> bool:
        """Whether the message may be sent now: it is reserved. A `check` or `peek` reserves nothing, so never."""
        return self.must_record or (self.verdict == "allow" and self.state == "reserved")

    @property
    def must_record(self) -> bool:
        """Takt knows nothing of it: once sent, `record(Contact.of(answer.ask, at))` as soon as Takt is back."""
        return self.verdict == "unknown"

    @property
    def message(self) -> Message:
        """What to confirm or release; raises `ValueError` where Takt holds nothing."""
        if self.must_record or self.message_id is None:
            raise ValueError("Takt holds nothing for this answer: what was sent is to be recorded, not confirmed")
        return Message(self.customer_id, self.message_id, self.attempt)


class Resolution(NamedTuple):
    """What a confirm, release or record met and left. `applied`: this call made it so, not an earlier one."""

    customer_id: str
    message_id: str
    attempt: int
    state: str
    applied: bool
    at: datetime


class Filed(NamedTuple):
    """What a put left on file. `changed`: whether it was news."""

    customer_id: str
    changed: bool
