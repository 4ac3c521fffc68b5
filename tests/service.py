"""A real Takt, answering over HTTP on a free port of the loopback address."""

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from engine.core.presets import PRESETS
from engine.core.tokens import Scope
from engine.operations import keys, policies
from engine.settings import Settings
from engine.store.database import Database

START_S_MAX = 120.0


@dataclass(frozen=True)
class Service:
    """`key` may do everything."""

    url: str
    key: str
    database_url: str

    def activate(self, policy_yaml: str) -> int:
        """Put a policy in force; returns its ruleset."""
        return asyncio.run(_activate(self.database_url, policy_yaml))

    def make_key(self, *scopes: Scope) -> str:
        return asyncio.run(_make_key(self.database_url, *scopes))


@contextmanager
def serving(database_url: str, settings: Settings | None = None) -> Generator[Service]:
    """Serve the database under the preset `considerate` until the block ends. `settings` are the environment's."""
    from engine import main  # here, so that tests of the inner floors do not load the faces

    configured = uvicorn.Config(
        main.service(settings or Settings(), database_url), host="127.0.0.1", port=0, log_level="error", ws="none"
    )
    server = uvicorn.Server(configured)
    key: list[str] = []

    async def serve() -> None:
        await _activate(database_url, PRESETS["considerate"])
        key.append(await _make_key(database_url, Scope.ADMIN))
        await server.serve()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="takt", daemon=True)
    thread.start()
    waited = threading.Event()
    for _ in range(int(START_S_MAX / 0.005)):
        if server.started or not thread.is_alive():
            break
        waited.wait(0.005)
    assert server.started, "the service did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Service(f"http://127.0.0.1:{port}", key[0], database_url)
    finally:
        server.should_exit = True
        thread.join(START_S_MAX)


async def _activate(database_url: str, policy_yaml: str) -> int:
    database = Database(database_url, size=1)
    await database.open()
    try:
        return (await policies.activate(database, policy_yaml, author="test")).ruleset
    finally:
        await database.close()


async def _make_key(database_url: str, *scopes: Scope) -> str:
    database = Database(database_url, size=1)
    await database.open()
    try:
        return (await keys.create(database, "test", scopes)).secret
    finally:
        await database.close()
