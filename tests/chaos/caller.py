"""How a client of the harness asks: intent on the disk first, then the request, again and again until it is definite.

An answer is definite if it is a 2xx or 4xx for this very item. Everything else (503, a closed connection, silence) says
nothing about what happened, and the same request goes out once more, perhaps to another process of the service. The
client that Takt ships does the same; this is not it, because the judge wants to see each single try.
"""

import asyncio
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.records import Log, host_us

TIMEOUT_S = 3.0  # less than the service's own deadline: some requests are decided after their client has gone


class GaveUp(Exception):
    """No definite answer came until long after the last fault had ended."""


@dataclass(frozen=True)
class Reply:
    """A definite answer, and when the request that brought it went out and came back."""

    status: int
    body: Any
    asked_us: int
    got_us: int


class Caller:
    """A client with a log of its own."""

    def __init__(self, log: Path, ports: list[int], key: str, prefix: str, rng: random.Random, until_us: int) -> None:
        self._log = Log(log)
        self._ports = ports
        self._prefix = prefix
        self._numbers = itertools.count()
        self._rng = rng
        self._until_us = until_us
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"},
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=50),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def request(
        self,
        op: str,
        path: str,
        body: dict[str, Any],
        port: int | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask until the answer is definite; the first time at `port` if one is named.

        With a `form` that is what is sent, and `body` only what is meant by it.
        """
        number = f"{self._prefix}-{next(self._numbers)}"
        await self._log.write({"kind": "intent", "id": number, "op": op, "t": host_us(), "path": path, "body": body})
        while True:
            reply = await self._once(number, port or self._rng.choice(self._ports), path, body, form)
            if reply is not None:
                return reply
            if host_us() > self._until_us:
                raise GaveUp(number)
            port = None
            await asyncio.sleep(self._rng.uniform(0.05, 0.3))

    async def _once(
        self, number: str, port: int, path: str, body: dict[str, Any], form: Mapping[str, str] | None
    ) -> Reply | None:
        asked_us = host_us()
        entry: dict[str, Any] = {"kind": "answer", "id": number, "port": port, "asked": asked_us}
        try:
            sent: dict[str, Any] = {"json": body} if form is None else {"data": form}
            response = await self._http.post(f"http://127.0.0.1:{port}{path}", **sent)
        except httpx.HTTPError as error:
            await self._log.write({**entry, "t": host_us(), "status": 0, "why": type(error).__name__})
            return None
        got_us = host_us()
        found = response.json() if "json" in response.headers.get("content-type", "") else {}
        entry |= {"t": got_us, "status": response.status_code, "retry_after": response.headers.get("retry-after")}
        if response.status_code >= 500 or _item_status(found) >= 500:
            await self._log.write({**entry, "body": found})
            return None
        await self._log.write({**entry, "body": found, "definite": True})
        return Reply(response.status_code, found, asked_us, got_us)


def _item_status(found: Any) -> int:
    """Of a batch, the worst of its items' statuses."""
    results = found.get("results", ()) if isinstance(found, dict) else ()
    return max((each.get("error", {}).get("status", 200) for each in results), default=200)
