"""Everything that Takt refuses to do, as one tree of errors.

    TaktError
    ├── Invalid               what was handed in breaks a rule of its format; carries every problem found
    │   ├── InvalidPolicy
    │   ├── InvalidPlan
    │   └── InvalidAsk
    ├── Conflict              well formed, but at odds with what is on record
    │   ├── MessageReused
    │   ├── TooManyNames
    │   ├── Erased
    │   └── Superseded
    ├── NotFound
    ├── Unauthenticated
    ├── Forbidden
    └── Unavailable           Takt cannot know, so it does not allow; says when to come again
        ├── Overloaded
        ├── DeadlineExceeded
        └── DatabaseUnavailable

An error has a `code`, stable and made for programs, and a message: one sentence, made for people.
A refusal to *send* is an answer, never an error. Which status an error becomes is the business of the faces.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar


class TaktError(Exception):
    """The base of all: catch it to catch whatever Takt itself raises."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a document: where (`budgets[0].window.rolling`), what was found, and what was expected.

    `path` is empty for the document itself. `line` counts from 1 and is known when the document came as text.
    """

    path: str
    found: str
    expected: str
    line: int | None = None

    def __str__(self) -> str:
        line = f"line {self.line}: " if self.line else ""
        where = f"{self.path}: " if self.path else ""
        return f"{line}{where}found {self.found}, expected {self.expected}"


class Invalid(TaktError):
    """Raised when a document is not what its format asks for, with all problems in the order of the document."""

    code: ClassVar[str] = "invalid"
    noun: ClassVar[str] = "request"

    def __init__(self, problems: Iterable[Problem], source: str | None = None) -> None:
        first, *others = problems  # there is no invalid document without a problem
        more = f" (and {len(others)} more)" if others else ""
        super().__init__(f"{source or f'The {self.noun}'} is invalid: {first}{more}.")
        self.problems: tuple[Problem, ...] = (first, *others)
        self.source = source

    def __reduce__(self) -> tuple[type["Invalid"], tuple[tuple[Problem, ...], str | None]]:
        return type(self), (self.problems, self.source)  # an exception is otherwise rebuilt from its message


class InvalidPolicy(Invalid):
    """Raised when a policy, or a variant's patch of one, is read."""

    code: ClassVar[str] = "invalid_policy"
    noun: ClassVar[str] = "policy"


class InvalidPlan(Invalid):
    """Raised when the plan of an experiment is read, or does not fit the policy in force."""

    code: ClassVar[str] = "invalid_plan"
    noun: ClassVar[str] = "plan"


class InvalidAsk(Invalid):
    """Raised when an ask names a channel, topic or time that the policy in force does not accept."""

    code: ClassVar[str] = "invalid_ask"
    noun: ClassVar[str] = "ask"


class Conflict(TaktError):
    """Raised when a request contradicts what is on record, so that repeating it as it is cannot help."""

    code: ClassVar[str] = "conflict"


class MessageReused(Conflict):
    """Raised when an ask comes under a live message id of the same customer with other content."""

    code: ClassVar[str] = "message_reused"


class TooManyNames(Conflict):
    """Raised when something names a topic, campaign or the like that is new, and no more are kept."""

    code: ClassVar[str] = "too_many_names"

    def __init__(self) -> None:
        super().__init__("a name in it (topic, campaign, team, sender, source or type) is new, and no more are kept")

    def __reduce__(self) -> tuple[type["TooManyNames"], tuple[()]]:
        return type(self), ()  # an exception is otherwise rebuilt from its message


class Erased(Conflict):
    """Raised when something is told of a customer who was erased: nothing is kept of them."""

    code: ClassVar[str] = "erased"


class Superseded(Conflict):
    """Raised when a policy should replace a version that is not the one in force; 0 stands for none."""

    code: ClassVar[str] = "superseded"

    def __init__(self, found: int, expected: int) -> None:
        shown = [f"version {each}" if each else "no policy" for each in (found, expected)]
        super().__init__(f"{shown[0]} is in force, where {shown[1]} was expected: nothing was put in force")
        self.versions = found, expected

    def __reduce__(self) -> tuple[type["Superseded"], tuple[int, int]]:
        return type(self), self.versions  # an exception is otherwise rebuilt from its message


class NotFound(TaktError):
    """Raised when a customer, policy, experiment or key of that name does not exist."""

    code: ClassVar[str] = "not_found"


class Unauthenticated(TaktError):
    """Raised when a request carries no key, or one that is unknown, expired or withdrawn."""

    code: ClassVar[str] = "unauthenticated"


class Forbidden(TaktError):
    """Raised when a key is good, but lacks the scope, or may not speak for the team."""

    code: ClassVar[str] = "forbidden"


class Unavailable(TaktError):
    """Raised when no answer can be given now; the same request, under the same message id, may safely come again."""

    code: ClassVar[str] = "unavailable"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type["Unavailable"], tuple[str, int]]:
        return type(self), (self.message, self.retry_after_s)


class Overloaded(Unavailable):
    """Raised at once when the queue that a request would join is full."""

    code: ClassVar[str] = "overloaded"


class DeadlineExceeded(Unavailable):
    """Raised when a request waited until its deadline and was dropped undecided."""

    code: ClassVar[str] = "deadline_exceeded"


class DatabaseUnavailable(Unavailable):
    """Raised when the database cannot be reached, or did not answer in time."""

    code: ClassVar[str] = "database_unavailable"
