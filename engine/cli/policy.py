"""`takt policy`: check, show, activate and compare policies, from files, presets and the versions in the database."""

import getpass
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from engine.cli.app import app
from engine.cli.connect import database
from engine.cli.output import as_json, minute, note, table, wrapped
from engine.core.errors import NotFound
from engine.core.policy import Policy, PolicyMode
from engine.core.presets import PRESETS
from engine.operations import policies
from engine.operations.policy_file import load_policy, policy_yaml
from engine.store.database import Database

CURRENT = "current"
_BYTES_MOST = 1024 * 1024
_WHAT = "A file (- for stdin), a version's number, a preset's name, or `current`."

policy_app = typer.Typer(no_args_is_help=True, help="The rules: check, show, activate, compare.")
app.add_typer(policy_app, name="policy", rich_help_panel="Rules")


class Source(NamedTuple):
    """A policy as text, and where it comes from. `version` is set for those that the database keeps."""

    text: str | bytes
    name: str
    version: int | None = None


@policy_app.command()
def check(file: Annotated[str, typer.Argument(help="A policy's file, or - for stdin.")]) -> None:
    """Whether a policy is valid; every problem with its line if it is not. Needs no service.

    Example: takt policy check policy.yaml
    """
    source = _file(file)
    policy = load_policy(source.text, source.name)
    count = f"{len(policy.budgets)} budget{'' if len(policy.budgets) == 1 else 's'}"
    print(f"{source.name} is valid: {count}, mode {policy.mode}.")


@policy_app.command()
def show(
    what: Annotated[str, typer.Argument(help=_WHAT)] = CURRENT,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON, with where it comes from.")] = False,
) -> None:
    """A policy as it was written. Without an argument the one in force.

    Example: takt policy show considerate > policy.yaml
    """
    source = _find(what)
    text = source.text if isinstance(source.text, str) else source.text.decode(errors="replace")
    if json:
        as_json({"name": source.name, "version": source.version, "yaml": text})
    else:
        print(text, end="" if text.endswith("\n") else "\n")


@policy_app.command("list")
def list_versions(
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many, the newest first.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """The versions that were ever in force, the newest first, and the presets.

    Example: takt policy list --limit 5
    """

    async def read(opened: Database) -> tuple[policies.Activation | None, list[dict[str, int | str]]]:
        kept = await policies.versions(opened, limit)
        rows = [
            {"version": each.version, "kept": minute(each.created_us), "author": each.author, "note": each.note}
            for each in kept
        ]
        return await policies.in_force(opened), rows

    current, rows = database(read)
    number = current.policy_version if current else None
    if json:
        as_json({"in_force": number, "versions": rows, "presets": list(PRESETS)})
        return
    shown = [
        (f"{each['version']}{' *' if each['version'] == number else ''}", each["kept"], each["author"], each["note"])
        for each in rows
    ]
    table(("version", "kept at", "by", "note"), shown)
    note("\n* is in force." if number else "\nNone is in force: takt policy activate considerate")
    note(f"Presets: {', '.join(PRESETS)}.")


@policy_app.command()
def activate(
    what: Annotated[str, typer.Argument(help="A file (- for stdin), a version's number, or a preset's name.")],
    why: Annotated[str | None, typer.Option("--note", help="Why, for whoever reads the history.")] = None,
    observe: Annotated[bool, typer.Option("--observe", help="Only observe: answers allow, the journal tells.")] = False,
) -> None:
    """Put a policy in force, in every process, from the moment this returns.

    Example: takt policy activate policy.yaml --note "one push a week"
    """
    source = _find(what)
    who = author()
    if source.version is not None and not observe:
        version = source.version
        if why is not None:
            note("A version keeps its note; --note is left out.")
        activation = database(lambda opened: policies.activate_version(opened, version, author=who))
    else:
        text, name = _observing(source) if observe else _text(source), source.name
        reason = why if why is not None else f"{name}, only observing" if observe else name
        activation = database(lambda opened: policies.activate(opened, text, author=who, note=reason, name=name))
    print(
        wrapped(
            f"In force: version {activation.policy_version} ({activation.policy.mode}), as ruleset {activation.ruleset}"
            f" since {minute(activation.activated_us)}."
        )
    )
    for each in activation.warnings:
        note(each)


@policy_app.command()
def diff(
    old: Annotated[str, typer.Argument(help=_WHAT)],
    new: Annotated[str, typer.Argument(help=_WHAT)],
) -> None:
    """What differs between two policies: in what they say, not in how they are written.

    Example: takt policy diff current policy.yaml
    """
    sources = [_find(old), _find(new)]
    was, is_now = (load_policy(each.text, each.name) for each in sources)
    found = policies.diff(was, is_now, *(each.name for each in sources))
    if found:
        print(found)
    else:
        note("They say the same.")


def _find(what: str) -> Source:
    if what == CURRENT:
        return database(_current)
    if what.isascii() and what.isdigit():
        number = int(what)
        if number >= 2**31:
            raise NotFound(f"there is no policy version {what}")

        async def read(opened: Database) -> Source:
            return Source((await policies.version(opened, number)).source, f"version {number}", number)

        return database(read)
    return Source(PRESETS[what], what) if what in PRESETS else _file(what)


async def _current(opened: Database) -> Source:
    current = await policies.in_force(opened)
    if current is None:
        raise NotFound("no policy is in force: takt policy activate considerate")
    kept = await policies.version(opened, current.policy_version)
    return Source(kept.source, CURRENT, kept.version)


def _file(name: str) -> Source:
    """A policy's file; a little more than a policy may have is read, so that its reader refuses it."""
    if name == "-":
        return Source(sys.stdin.buffer.read(_BYTES_MOST), "stdin")
    try:
        with Path(name).open("rb") as file:
            return Source(file.read(_BYTES_MOST), name)
    except FileNotFoundError:
        raise NotFound(
            f"there is no file {name!r}, and no preset of that name (there is {', '.join(PRESETS)})"
        ) from None


def _text(source: Source) -> str:
    """The text as it will be kept; a policy that cannot be one is refused before."""
    load_policy(source.text, source.name)
    return source.text if isinstance(source.text, str) else source.text.decode("utf-8-sig")


def _observing(source: Source) -> str:
    policy: Policy = load_policy(source.text, source.name)
    return policy_yaml(replace(policy, mode=PolicyMode.OBSERVE))


def author() -> str:
    """Whoever typed the command, for the history."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "cli"
