"""What the clients say to Takt and how they understand it, without sending anything.

A conversation is a generator: it yields a `Request` to be sent or a number of seconds to pass, is told what came of it,
and returns the result. The two clients only carry conversations out, one by waiting and one by awaiting.
"""

import json
import os
import random
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast
from urllib.parse import quote

import httpx

from engine.client.reading import answer_of, fields_of, filed_of, item_of, problem_of, resolution_of, result_of
from engine.client.values import (
    BATCH_ITEMS,
    Answer,
    Ask,
    Contact,
    Filed,
    Message,
    Problem,
    Resolution,
    TaktRefused,
    TaktUnavailable,
)

DEFAULT_URL = "http://127.0.0.1:8000"
_BATCH_BYTES = 8 * 1024 * 1024
_BACKOFF_S = 0.1
_BACKOFF_S_MAX = 5.0
KEEPALIVE_S = 60.0  # Takt closes idle connections after 75 s: ours are gone by then
_AGAIN = frozenset({429, 502, 503, 504})
_NEVER_ARRIVED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_OUR_FAULT = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)

T = TypeVar("T")


class Request(NamedTuple):
    method: str
    path: str
    body: bytes | None
    timeout_s: float


Step: TypeAlias = Request | float
Outcome: TypeAlias = httpx.Response | httpx.HTTPError | None
Steps: TypeAlias = Generator[Step, Outcome, T]


class Retries:
    """When to come again: after what Takt asks for, plus full jitter under a doubling cap, before the deadline."""

    def __init__(self, timeout_s: float, deadline_s: float) -> None:
        self._timeout_s = timeout_s
        self._until = time.monotonic() + deadline_s
        self._tries = 0

    def timeout_s(self) -> float:
        """How long the next try may take."""
        return max(min(self._timeout_s, self._until - time.monotonic()), 0.01)

    def pause_s(self, retry_after_s: float | None = None) -> float | None:
        """How long to wait before the next try; None where the deadline leaves no time for one."""
        cap = min(_BACKOFF_S_MAX, _BACKOFF_S * 2**self._tries)
        self._tries += 1
        pause = (retry_after_s or 0.0) + random.uniform(0.0, cap)  # noqa: S311 - jitter, not a secret
        return pause if time.monotonic() + pause < self._until else None


class Conversations:
    """All that can be said, for one address, key and choice of what happens without an answer."""

    def __init__(
        self,
        url: str,
        key: str,
        fail_open_topics: Collection[str],
        patience_s: tuple[float, float],
        batch_patience_s: tuple[float, float],
    ) -> None:
        base = _address(url)
        if not (key.isascii() and key.isprintable() and key.strip()):
            raise ValueError("the key of Takt is empty, or holds characters that no key has")
        if isinstance(fail_open_topics, str):
            raise ValueError("fail_open_topics is a set of topics, not one topic")
        self._fail_open = frozenset(fail_open_topics)
        self._patience_s = patience_s
        self._batch_patience_s = batch_patience_s
        self.transport_options: dict[str, Any] = {
            "base_url": base,
            "headers": {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            "limits": httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=KEEPALIVE_S),
        }

    def ask(self, ask: Ask) -> Steps[Answer]:
        try:
            return answer_of(ask, (yield from self.call("POST", "/v1/decisions", fields_of(ask))))
        except TaktUnavailable:
            if self._fails_open(ask):
                return _unknown(ask)
            raise

    def ask_many(self, asks: Iterable[Ask]) -> Steps[list[Answer | Problem]]:
        asked = list(asks)
        found = yield from self._many("/v1/decisions/batch", "asks", "answers", map(fields_of, asked), _as_it_is)
        return [self._answer(ask, each) for ask, each in zip(asked, found, strict=True)]

    def resolve(self, verb: str, messages: Iterable[Message | Answer]) -> Steps[list[Resolution | Problem]]:
        named = [each.message if isinstance(each, Answer) else each for each in messages]
        items = (_given(each._asdict()) for each in named)
        return (yield from self._many(f"/v1/contacts/{verb}", "contacts", "results", items, resolution_of))

    def record(self, contacts: Iterable[Contact]) -> Steps[list[Resolution | Problem]]:
        items = map(fields_of, contacts)
        return (yield from self._many("/v1/contacts/record", "contacts", "results", items, resolution_of))

    def put_customers(self, rows: Iterable[Mapping[str, Any]]) -> Steps[list[Filed | Problem]]:
        return (yield from self._many("/v1/customers/batch", "customers", "results", rows, filed_of))

    def bring_events(self, events: Iterable[Mapping[str, Any]]) -> Steps[list[str | Problem]]:
        return (yield from self._many("/v1/events", "events", "results", events, result_of))

    def customer(self, customer_id: str) -> Steps[dict[str, Any]]:
        return (yield from self.call("GET", f"/v1/customers/{_segment(customer_id)}"))

    def export(self, customer_id: str) -> Steps[dict[str, Any]]:
        return (yield from self.call("GET", f"/v1/customers/{_segment(customer_id)}/export"))

    def merge(self, customer_id: str, other: str) -> Steps[dict[str, Any]]:
        return (yield from self.call("POST", f"/v1/customers/{_segment(customer_id)}/merge", {"from": other}))

    def erase(self, customer_id: str) -> Steps[dict[str, Any]]:
        return (yield from self.call("DELETE", f"/v1/customers/{_segment(customer_id)}"))

    def decisions(self, customer_id: str, limit: int, before: int | None) -> Steps[dict[str, Any]]:
        page = f"?limit={limit}" + ("" if before is None else f"&before={before}")
        return (yield from self.call("GET", f"/v1/customers/{_segment(customer_id)}/decisions{page}"))

    def policies(self) -> Steps[dict[str, Any]]:
        return (yield from self.call("GET", "/v1/policies"))

    def add_pause(self, pause: Mapping[str, Any]) -> Steps[dict[str, Any]]:
        return (yield from self.call("POST", "/v1/pauses", pause, repeatable=False))

    def end_pause(self, name: str) -> Steps[dict[str, Any]]:
        return (yield from self.call("DELETE", f"/v1/pauses/{_segment(name)}", repeatable=False))

    def call(
        self, method: str, path: str, data: Mapping[str, Any] | None = None, *, repeatable: bool = True
    ) -> Steps[dict[str, Any]]:
        """One request until it is answered. One that is not `repeatable` comes again only if it cannot have arrived."""
        body = None if data is None else _json(data)
        return (yield from _call(method, path, body, Retries(*self._patience_s), repeatable))

    def _answer(self, ask: Ask, found: dict[str, Any] | Problem) -> Answer | Problem:
        if not isinstance(found, Problem):
            return answer_of(ask, found)
        return _unknown(ask) if found.is_unavailability and self._fails_open(ask) else found

    def _fails_open(self, ask: Ask) -> bool:
        """Only what would reserve can be sent: a check or a peek permits nothing in any case."""
        return ask.topic in self._fail_open and ask.mode in (None, "reserve")

    def _many(
        self, path: str, name: str, answered: str, items: Iterable[Mapping[str, Any]], read: Callable[[Any], T]
    ) -> Steps[list[T | Problem]]:
        """Batch after batch. Once one got no answer those after it are not tried."""
        results: list[T | Problem] = []
        lost: Problem | None = None
        for batch in _batches(map(_json, items)):
            found: dict[int, T | Problem] = {}
            if lost is None:
                try:
                    yield from self._batch(path, name, answered, batch, read, found)
                except TaktUnavailable as error:
                    lost = Problem(status=503, code="unavailable", detail=str(error))
            results += [found.get(place, lost or _UNANSWERED) for place in range(len(batch))]
        return results

    def _batch(
        self,
        path: str,
        name: str,
        answered: str,
        batch: Sequence[bytes],
        read: Callable[[Any], T],
        found: dict[int, T | Problem],
    ) -> Steps[None]:
        """Fill `found`, by place; items that Takt could not settle just now are sent again."""
        retries = Retries(*self._batch_patience_s)
        places = list(range(len(batch)))
        while places:
            body = b'{"%s":[%s]}' % (name.encode(), b",".join([batch[place] for place in places]))
            data = yield from _call("POST", path, body, retries, True)
            items = data.get(answered)
            if not isinstance(items, list):
                raise _not_takt()
            settled = cast("list[Any]", items)
            if len(settled) != len(places):
                raise _not_takt()
            for place, item in zip(places, settled, strict=True):
                found[place] = item_of(item, read)
            places = [place for place in places if _is_again(found[place])]
            pause = retries.pause_s() if places else None
            if pause is None:
                return
            yield pause


def environment() -> tuple[str, str]:
    """TAKT_URL and TAKT_KEY."""
    key = os.environ.get("TAKT_KEY")
    if not key:
        raise ValueError("TAKT_KEY is not set: `takt keys create --name crm --scope decide` makes a key")
    return os.environ.get("TAKT_URL") or DEFAULT_URL, key


def only(results: Sequence[T | Problem]) -> T:
    """The result of a list of one; raises its problem."""
    (result,) = results
    if not isinstance(result, Problem):
        return result
    if result.is_unavailability:
        raise TaktUnavailable(result.detail)
    raise TaktRefused(result)


def _segment(name: str) -> str:
    """A name as one segment of a path, also where it is one that paths give a meaning to."""
    return name.replace(".", "%2E") if name in (".", "..") else quote(name, safe="")


def _address(url: str) -> httpx.URL:
    try:
        base = httpx.URL(url)
        if base.scheme in ("http", "https") and base.host:
            return base
    except httpx.InvalidURL:
        pass
    raise ValueError(f"the address of Takt looks like http://127.0.0.1:8000, not like {url!r}")


def _call(method: str, path: str, body: bytes | None, retries: Retries, repeatable: bool) -> Steps[dict[str, Any]]:
    while True:
        outcome = yield Request(method, path, body, retries.timeout_s())
        retry_after_s: float | None = None
        if isinstance(outcome, httpx.Response):
            if outcome.status_code not in _AGAIN:
                return _read(outcome)
            retry_after_s = _retry_after_s(outcome)
            why = f"it answered {outcome.status_code}: {problem_of(_data(outcome), outcome.status_code).detail}"
            again = repeatable or outcome.status_code in (429, 503)
        else:
            if isinstance(outcome, _OUR_FAULT):
                raise ValueError(f"this cannot be sent: {outcome}") from outcome
            why = f"{type(outcome).__name__}: {outcome}".rstrip(": ")
            again = repeatable or isinstance(outcome, _NEVER_ARRIVED)
        pause = retries.pause_s(retry_after_s) if again else None
        if pause is None:
            cause = outcome if isinstance(outcome, Exception) else None
            raise TaktUnavailable(f"Takt gave no answer in time ({why})", retry_after_s) from cause
        yield pause


def _read(response: httpx.Response) -> dict[str, Any]:
    """The document of an answer; raises `TaktRefused` on 4xx, `TaktUnavailable` on whatever else is no answer."""
    data = _data(response)
    if 400 <= response.status_code < 500:
        raise TaktRefused(problem_of(data, response.status_code))
    if response.status_code >= 500:
        problem = problem_of(data, response.status_code)
        raise TaktUnavailable(f"Takt answered {problem.status}: {problem.detail}")
    if not response.is_success or not isinstance(data, dict):
        raise _not_takt()
    return cast("dict[str, Any]", data)


def _data(response: httpx.Response) -> Any:
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def _not_takt() -> TaktUnavailable:
    return TaktUnavailable("what answered is not Takt: is the address right?")


def _retry_after_s(response: httpx.Response) -> float | None:
    """The header in either form, as seconds from now."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


def _batches(items: Iterable[bytes]) -> Iterator[list[bytes]]:
    """At most as many items, and not more bytes, than one request may carry."""
    batch: list[bytes] = []
    size = 0
    for item in items:
        if batch and (len(batch) == BATCH_ITEMS or size + len(item) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item) + 1
    if batch:
        yield batch


def _json(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":"), allow_nan=False, default=_instant).encode()


def _instant(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be sent to Takt")


def _given(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}


def _is_again(found: object) -> bool:
    return isinstance(found, Problem) and found.status in _AGAIN


def _unknown(ask: Ask) -> Answer:
    return Answer(ask=ask, verdict="unknown")


def _as_it_is(item: Any) -> dict[str, Any]:
    return item


_UNANSWERED = Problem(status=503, code="unavailable", detail="Takt did not answer this one")
