"""The client that waits."""

import time
from collections.abc import Collection, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from engine.client.conversation import Conversations, Outcome, Request, Steps, environment, only
from engine.client.values import Answer, Ask, Contact, Filed, Message, Problem, Resolution

T = TypeVar("T")


class Client:
    """A connection pool to one Takt; share one among threads, and close it in the end.

    A single request is tried for `deadline_s`, each try waiting for at most `timeout_s`; one batch of a list for the
    `batch_` ones. Asks in `fail_open_topics` are answered `unknown`, and may be sent, where Takt gives no answer.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        fail_open_topics: Collection[str] = (),
        timeout_s: float = 7.0,
        deadline_s: float = 20.0,
        batch_timeout_s: float = 130.0,
        batch_deadline_s: float = 300.0,
    ) -> None:
        self._say = Conversations(
            url, key, fail_open_topics, (timeout_s, deadline_s), (batch_timeout_s, batch_deadline_s)
        )
        self._http = httpx.Client(**self._say.transport_options)

    @classmethod
    def from_environment(cls, *, fail_open_topics: Collection[str] = ()) -> Self:
        """The client of TAKT_URL (http://127.0.0.1:8000 if not set) and TAKT_KEY; raises `ValueError` without a key."""
        return cls(*environment(), fail_open_topics=fail_open_topics)

    def ask(self, ask: Ask) -> Answer:
        """The answer to one ask; raises `TaktUnavailable` or `TaktRefused`."""
        return self._carry_out(self._say.ask(ask))

    def ask_many(self, asks: Iterable[Ask]) -> list[Answer | Problem]:
        """The answers in the order asked, each on its own; a customer's own are decided by priority first."""
        return self._carry_out(self._say.ask_many(asks))

    def confirm(self, message: Answer | Message) -> Resolution:
        """It was sent. Confirmed too late it counts as well, as a late contact."""
        return only(self.confirm_many([message]))

    def confirm_many(self, messages: Iterable[Answer | Message]) -> list[Resolution | Problem]:
        return self._carry_out(self._say.resolve("confirm", messages))

    def release(self, message: Answer | Message) -> Resolution:
        """It will not be sent: its budget returns at once."""
        return only(self.release_many([message]))

    def release_many(self, messages: Iterable[Answer | Message]) -> list[Resolution | Problem]:
        return self._carry_out(self._say.resolve("release", messages))

    def record(self, contact: Contact) -> Resolution:
        """It happened without an answer: never refused, counted in its own time, once by its message id."""
        return only(self.record_many([contact]))

    def record_many(self, contacts: Iterable[Contact]) -> list[Resolution | Problem]:
        return self._carry_out(self._say.record(contacts))

    def put_customers(self, rows: Iterable[Mapping[str, Any]]) -> list[Filed | Problem]:
        """`{"customer_id", "time_zone"?, "attributes"?, "consents"?}` each; what is not given stays as it is."""
        return self._carry_out(self._say.put_customers(rows))

    def bring_events(self, events: Iterable[Mapping[str, Any]]) -> list[str | Problem]:
        """What happened. Of each `accepted`, `duplicate`, `unresolved`, `unplaced`, `too_old`, or what was wrong."""
        return self._carry_out(self._say.bring_events(events))

    def customer(self, customer_id: str) -> dict[str, Any]:
        """What is on file, and how each budget stands, as the API has it."""
        return self._carry_out(self._say.customer(customer_id))

    def export(self, customer_id: str) -> dict[str, Any]:
        """Everything on file about a person, as the API has it."""
        return self._carry_out(self._say.export(customer_id))

    def merge(self, customer_id: str, other: str) -> dict[str, Any]:
        """Make another customer a name of this one; to do so again changes nothing."""
        return self._carry_out(self._say.merge(customer_id, other))

    def erase(self, customer_id: str) -> dict[str, Any]:
        """Forget a person; to do so again changes nothing."""
        return self._carry_out(self._say.erase(customer_id))

    def decisions(self, customer_id: str, limit: int = 50, before: int | None = None) -> dict[str, Any]:
        """The customer's journal, the newest first, as the API has it."""
        return self._carry_out(self._say.decisions(customer_id, limit, before))

    def policies(self) -> dict[str, Any]:
        """What is in force, pauses included, and the versions there were."""
        return self._carry_out(self._say.policies())

    def add_pause(self, pause: Mapping[str, Any]) -> dict[str, Any]:
        """Stop contacts at once: `{"name", "channels"?, "topics"?, "campaigns"?, "teams"?, "from"?, "until"?}`."""
        return self._carry_out(self._say.add_pause(pause))

    def end_pause(self, name: str) -> dict[str, Any]:
        return self._carry_out(self._say.end_pause(name))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _carry_out(self, steps: Steps[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            if isinstance(step, Request):
                outcome = self._send(step)
            else:
                time.sleep(step)
                outcome = None

    def _send(self, request: Request) -> Outcome:
        try:
            return self._http.request(request.method, request.path, content=request.body, timeout=request.timeout_s)
        except httpx.HTTPError as error:
            return error
