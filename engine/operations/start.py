"""Coming up: the database found, migrated and checked, a policy in force, a key that lets somebody in."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from engine.core.tokens import Scope, new_key
from engine.operations import keys, policies, sign_in
from engine.settings import Settings
from engine.store import embedded
from engine.store.database import Database

PRESET = "considerate"
_KEY_FILE = "key"


class Where(NamedTuple):
    """The database to use."""

    url: str
    is_embedded: bool


class Ready(NamedTuple):
    """What a start found or made. `key`: the local key of an embedded database; `code`: of a link that signs in with
    it, once."""

    ruleset: int
    policy_mode: str
    is_new: bool
    key: str | None
    code: str | None


@contextmanager
def locate(settings: Settings) -> Generator[Where]:
    """The database of DATABASE_URL, else the embedded one: started where it does not run or dies, left at the end."""
    if settings.database_url is not None:
        yield Where(settings.database_url.get_secret_value(), False)
        return
    with embedded.attach(settings.data_dir) as server, server.kept_running():
        yield Where(server.url(), True)


async def prepare(where: Where, settings: Settings) -> Ready:
    """Put a policy in force if none is, and see to the first key. The database is migrated.

    The shipped preset enforces on the embedded database, and only observes on one of your own: there it may meet
    senders who do not know of it yet.
    """
    database = Database(where.url, size=2)
    await database.open()
    try:
        current = await policies.in_force(database)
        is_new = current is None
        if current is None:
            current = await _first_policy(database, where, settings)
        else:
            await policies.follow_tzdata(database)
        if settings.admin_key is not None:
            secret = settings.admin_key.get_secret_value()
            await keys.create(database, "TAKT_ADMIN_KEY", [Scope.ADMIN], secret=secret)
        key = code = None
        if where.is_embedded:
            key = local_key(settings.data_dir) or _keep_key(settings.data_dir)
            await keys.create(database, "local", [Scope.ADMIN], secret=key)
            code = await sign_in.make_link(database, key)
        return Ready(current.ruleset, current.policy.mode.value, is_new, key, code)
    finally:
        await database.close()


def come_up(where: Where) -> None:
    """Bring the database to the form that this Takt knows."""
    from engine.store.migrations import migrate  # loads Alembic, which most commands never need

    migrate(where.url)


def local_key(data_dir: Path) -> str | None:
    """The key that the last start left for whoever may read the data folder."""
    try:
        return (data_dir / _KEY_FILE).read_text().strip() or None
    except OSError:
        return None


async def _first_policy(database: Database, where: Where, settings: Settings) -> policies.Activation:
    if settings.policy is not None:
        source = settings.policy.read_text()
        return await policies.activate(database, source, author="takt", note="TAKT_POLICY", name=str(settings.policy))
    return await policies.activate_preset(database, PRESET, author="takt", observe=not where.is_embedded)


def _keep_key(data_dir: Path) -> str:
    data_dir.mkdir(parents=True, exist_ok=True)
    key = new_key()
    path = data_dir / _KEY_FILE
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
    return key
