"""Policies and pauses: kept as versions, put in force as numbered rulesets, compared.

Activation only commits a new number: every transaction reads which number is in force, so an ask that arrives after an
activation was acknowledged is decided under it, in every process.
"""

import asyncio
import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from engine.core import breaker
from engine.core.errors import Conflict, NotFound, Superseded
from engine.core.policy import Policy, PolicyMode
from engine.core.policy_reader import read_policy
from engine.core.policy_writer import policy_data
from engine.core.presets import PRESETS
from engine.core.rules import Pause
from engine.core.windows import tzdata_version
from engine.operations import contamination, footing
from engine.operations.plan_file import read_plan
from engine.operations.policy_file import load_policy, policy_yaml
from engine.operations.rulebook import pause_data, pause_of
from engine.store import experiments, policies_history
from engine.store import policies as store
from engine.store.database import Connection, Database
from engine.store.policies_history import Activated

T = TypeVar("T")


class Activation(NamedTuple):
    """What is in force: a ruleset, the policy version it names, and its pauses. `warnings`: what whoever has just put
    it in force should know."""

    ruleset: int
    policy_version: int
    activated_us: int
    author: str
    policy: Policy
    pauses: tuple[Pause, ...]
    warnings: tuple[str, ...] = ()


class Touched(NamedTuple):
    """A running experiment under a policy that changes what it compares: `is_own`, a budget that it changes is another;
    `beside`, what else is otherwise of what it stands on."""

    record: experiments.Record
    is_own: bool
    beside: tuple[str, ...]


# A hostile file takes seconds to read: apart from the event loop, and one after the other.
_READERS = ThreadPoolExecutor(max_workers=1, thread_name_prefix="takt-policy")


async def apart(function: Callable[..., T], *arguments: object) -> T:
    """What a function makes of a text, while decisions go on."""
    return await asyncio.get_running_loop().run_in_executor(_READERS, function, *arguments)


async def read(source: str, name: str = "policy") -> Policy:
    """The policy in the text. Raises `InvalidPolicy`."""
    return await apart(load_policy, source, name)


async def activate(
    database: Database,
    source: str,
    *,
    author: str,
    note: str = "",
    name: str = "policy",
    if_version: int | None = None,
) -> Activation:
    """Validate a policy, keep it as a new version, and put it in force: with `if_version`, only in place of that one
    (0: of none), however many processes do the same.

    Raises `InvalidPolicy`; `Superseded` where another version is in force than the one named; and `Conflict` where a
    running experiment stands on a budget that would change under it.
    """
    return await _activate(database, await read(source, name), source, author, note, if_version)


async def activate_preset(database: Database, name: str, *, author: str, observe: bool) -> Activation:
    """Put a preset in force, observing only if so wanted."""
    if name not in PRESETS:
        raise NotFound(f"there is no preset {name!r}: there are {', '.join(PRESETS)}")
    source = PRESETS[name]
    policy = load_policy(source, name)
    if observe:
        policy = replace(policy, mode=PolicyMode.OBSERVE)
        source = policy_yaml(policy)
    return await _activate(database, policy, source, author, f"the preset {name}")


async def activate_version(
    database: Database, version: int, *, author: str, if_version: int | None = None
) -> Activation:
    """Put a version in force that was in force before; `if_version` as for `activate`."""
    async with database.transaction() as connection:
        await _locked(connection, if_version)
        kept = await store.policy_version(connection, version)
        policy = read_policy(kept.data)
        found = await _touched(connection, policy)
        ruleset = await _put_in_force(connection, version, author, found)
    return _activation(ruleset, policy, found)


async def in_force(database: Database) -> Activation | None:
    """What is in force now; None where nothing was ever activated."""
    async with database.connection() as connection:
        ruleset = await store.newest_ruleset(connection)
        if ruleset is None:
            return None
        kept = await store.policy_version(connection, ruleset.policy_version)
    return _activation(ruleset, read_policy(kept.data))


async def version(database: Database, number: int) -> store.PolicyVersion:
    """One version as it was kept; raises `NotFound`."""
    async with database.connection() as connection:
        return await store.policy_version(connection, number)


async def versions(database: Database, limit: int) -> list[store.PolicyVersion]:
    """The newest versions."""
    async with database.connection() as connection:
        return await store.policy_versions(connection, limit)


async def history(
    database: Database, limit: int, *, before: int | None = None, version: int | None = None
) -> list[Activated]:
    """Who put which version in force and when, the newest first: before a ruleset, or of one version alone."""
    async with database.connection() as connection:
        return await policies_history.activations(connection, limit, before=before, version=version)


async def pause(database: Database, pause: Pause, *, author: str) -> Activation:
    """Stop what a pause selects, in every process, from the moment this returns."""

    def added(pauses: list[Pause]) -> list[Pause]:
        if pause.name.startswith(breaker.PREFIX):
            raise Conflict(f"names that begin with {breaker.PREFIX} are those of the complaint breaker's own pauses")
        if any(each.name == pause.name for each in pauses):
            raise Conflict(f"there is a pause {pause.name!r} already: lift it first")
        return [*pauses, pause]

    return await _change_pauses(database, added, author)


async def lift_pause(database: Database, name: str, *, author: str) -> Activation:
    """End a pause."""

    def without(pauses: list[Pause]) -> list[Pause]:
        if all(each.name != name for each in pauses):
            raise NotFound(f"there is no pause {name!r}")
        return [each for each in pauses if each.name != name]

    return await _change_pauses(database, without, author)


async def follow_tzdata(database: Database) -> None:
    """Number the rules anew where this process reads time zones of another version than the rules in force name."""
    current = await in_force(database)
    if current is None:
        return
    async with database.transaction() as connection:
        await store.lock_activation(connection)
        newest = await store.newest_ruleset(connection)
        if newest is not None and newest.tzdata_version < tzdata_version():
            await store.add_ruleset(connection, tzdata_version(), "takt")


def touched(before: Policy, policy: Policy, running: Sequence[experiments.Record]) -> list[Touched]:
    """The running experiments that go on under a policy that changes what they compare. Raises `Conflict` where one
    could not go on under it."""
    plans = [read_plan(each.plan) for each in running]
    contamination.check_policy(before, policy, plans)
    own = {each.key for each in contamination.touched(before, policy, plans)}
    found = (
        Touched(each, each.key in own, tuple(footing.moved(before, policy, plan)))
        for each, plan in zip(running, plans, strict=True)
    )
    return [each for each in found if each.is_own or each.beside]


async def note(connection: Connection, version: int, author: str, touched: Iterable[Touched]) -> None:
    """Write into the logs of experiments that a version of the policy changes what they compare: two entries, where it
    is a budget of their own and something besides."""
    for record, is_own, beside in touched:
        notes: list[tuple[str, dict[str, Any]]] = []
        if is_own:
            notes.append((f"a budget of this experiment changed with version {version} of the policy", {}))
        if beside:
            notes.append((f"with version {version} of the policy, {'; '.join(beside)}", {"beside": list(beside)}))
        for text, more in notes:
            await experiments.add_entry(connection, record.number, "policy", author, text, {"version": version, **more})


def warnings(touched: Iterable[Touched]) -> Iterator[str]:
    """What whoever puts such a policy in force should know."""
    for record, is_own, beside in touched:
        if is_own:
            yield (
                f"The experiment {record.key!r} is running, and a budget that it changes is another now, for its"
                " control too: its log and its readouts say so."
            )
        if beside:
            yield (
                f"The experiment {record.key!r} is running, and what it stands on is otherwise now, for its control"
                f" too: {'; '.join(beside)}. Its log and its readouts say so."
            )


def diff(old: Policy, new: Policy, old_name: str, new_name: str) -> str:
    """What differs between two policies, as a unified diff of their canonical YAML; empty if nothing does."""
    lines = difflib.unified_diff(
        policy_yaml(old).splitlines(), policy_yaml(new).splitlines(), old_name, new_name, lineterm="", n=2
    )
    return "\n".join(lines)


async def _activate(
    database: Database, policy: Policy, source: str, author: str, note: str, if_version: int | None = None
) -> Activation:
    async with database.transaction() as connection:
        await _locked(connection, if_version)
        found = await _touched(connection, policy)
        version = await store.add_policy(connection, author, note, source, policy_data(policy))
        ruleset = await _put_in_force(connection, version, author, found)
    return _activation(ruleset, policy, found)


async def _locked(connection: Connection, if_version: int | None) -> None:
    """Wait for any activation under way, and only then look which version it left: a look before would be a race."""
    await store.lock_activation(connection)
    if if_version is None:
        return
    newest = await store.newest_ruleset(connection)
    found = newest.policy_version if newest else 0
    if found != if_version:
        raise Superseded(found, if_version)


async def _touched(connection: Connection, policy: Policy) -> list[Touched]:
    running = await experiments.running(connection)
    newest = await store.newest_ruleset(connection) if running else None
    if newest is None:
        return []
    return touched(read_policy((await store.policy_version(connection, newest.policy_version)).data), policy, running)


async def _put_in_force(connection: Connection, version: int, author: str, touched: Sequence[Touched]) -> store.Ruleset:
    await note(connection, version, author, touched)
    return await store.add_ruleset(connection, tzdata_version(), author, policy_version=version)


async def _change_pauses(database: Database, change: Callable[[list[Pause]], list[Pause]], author: str) -> Activation:
    async with database.transaction() as connection:
        await store.lock_activation(connection)
        newest = await store.newest_ruleset(connection)
        if newest is None:
            raise NotFound("no policy is active: `takt policy activate considerate`")
        pauses = change([pause_of(each) for each in newest.pauses])
        kept = await store.policy_version(connection, newest.policy_version)
        ruleset = await store.add_ruleset(
            connection, tzdata_version(), author, pauses=[pause_data(each) for each in pauses]
        )
    return _activation(ruleset, read_policy(kept.data))


def _activation(ruleset: store.Ruleset, policy: Policy, touched: Sequence[Touched] = ()) -> Activation:
    return Activation(
        ruleset.number,
        ruleset.policy_version,
        ruleset.activated_us,
        ruleset.author,
        policy,
        tuple(pause_of(each) for each in ruleset.pauses),
        tuple(warnings(touched)),
    )
