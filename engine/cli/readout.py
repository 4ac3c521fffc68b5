"""`takt experiments readout`: what an experiment has found so far, as text for people or JSON for programs."""

import json as json_text
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from engine.cli.connect import database
from engine.cli.experiments import experiments_app
from engine.cli.output import as_json, minute, note, table, wrapped
from engine.core.errors import NotFound
from engine.operations.readouts import HeldKept, Kept, Readouts
from engine.store.database import Database

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@experiments_app.command()
def readout(
    key: Annotated[str, typer.Argument(help="The experiment's key.")],
    refresh: Annotated[bool, typer.Option("--refresh", help="Compute a new one first.")] = False,
    at: Annotated[
        str | None, typer.Option(help="The newest that was there at this instant.", metavar="INSTANT")
    ] = None,
    holdout: Annotated[bool, typer.Option("--holdout", help="Of those whom the ship held back.")] = False,
    day: Annotated[int | None, typer.Option(help="With --holdout: that of day 28, 90, 180 or 365.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """The newest readout: the verdict, what changed for customers, and what could make it wrong.

    Where there is none yet, one is computed. With --holdout those who stayed under the old policy, against everybody
    else since the ship.

    Example: takt experiments readout push-budget-2026q4 --refresh
    """
    if refresh and at is not None:
        raise typer.BadParameter("--refresh computes a new one, --at shows an old one: choose one")
    if (day is not None and not holdout) or (at is not None and holdout):
        raise typer.BadParameter("--day goes with --holdout, and --at does not")
    if holdout:
        held = database(lambda opened: _read_held(opened, key, refresh, day))
        as_json(held.snapshot.readout) if json else _show_held(held)
        return
    at_us = _instant(at)
    kept = database(lambda opened: _read(opened, key, refresh, at_us))
    if json:
        as_json(kept.snapshot.readout)
    else:
        _show(kept)


async def _read(opened: Database, key: str, refresh: bool, at_us: int | None) -> Kept:
    readouts = Readouts(opened)
    if refresh:
        return await readouts.refresh(key)
    try:
        return await readouts.newest(key, at_us)
    except NotFound:
        if at_us is not None:
            raise
        return await readouts.refresh(key)


async def _read_held(opened: Database, key: str, refresh: bool, day: int | None) -> HeldKept:
    readouts = Readouts(opened)
    if refresh:
        return await readouts.refresh_held(key, day)
    try:
        return await readouts.newest_held(key, day)
    except NotFound:
        return await readouts.refresh_held(key, day)


def _show_held(kept: HeldKept) -> None:
    from experiments.readout import Readout

    snapshot, found = kept.snapshot, kept.snapshot.readout
    note(f"Computed {minute(snapshot.computed_us)}, in {snapshot.took_us / 1e6:.1f} s.")
    print(f"{found['days']} days since {kept.record.shipped!r} was shipped, against policy {found['policy_version']}\n")
    print(Readout.from_json(json_text.dumps(found["readout"])))
    print("\nCOHORT")
    rows = [
        (
            each["variant"],
            *(f"{each[name]:,}" for name in ("customers", "treated_before", "in_older_holdout", "merged")),
        )
        for each in found["cohort"]
    ]
    table(("", "analysed", "treated before", "in an older holdout", "merged"), rows)
    _section("IN THE SERVICE", found["cautions"])


def _show(kept: Kept) -> None:
    from experiments.readout import Readout  # with numpy, which no other command waits for

    snapshot, found = kept.snapshot, kept.snapshot.readout
    note(f"Computed {minute(snapshot.computed_us)}, in {snapshot.took_us / 1e6:.1f} s.")
    read = Readout.from_json(json_text.dumps(found["readout"]))
    print(read)
    _section("ALL ELIGIBLE", _eligible(read, found["eligible"]))
    _section("PAUSES", _pauses(found["pauses"]))
    if found["concurrent"]:
        print("\nCONCURRENT EXPERIMENTS")
        rows = [
            (each["experiment"], met["variant"], met["other"], f"{met['customers']:,}")
            for each in found["concurrent"]
            for met in each["customers"]
        ]
        table(("experiment", "variant here", "variant there", "customers in both"), rows)
    _section("IN THE SERVICE", found["cautions"])
    _section("FINDINGS", [f"{minute(each.at_us)}, {each.author}: {each.note}" for each in kept.findings])


def _section(title: str, lines: Iterator[str] | list[str]) -> None:
    body = list(lines)
    if body:
        print(f"\n{title}")
        for each in body:
            print(wrapped(each, 2))


def _eligible(read: Any, eligible: dict[str, Any] | None) -> Iterator[str]:
    """The effects on all whom a budget's variants could have reached."""
    from experiments.reporting.numbers import measured
    from experiments.reporting.sentences import measured_in

    if eligible is None or eligible["share_diverged"] is None:
        return
    total = sum(eligible["customers"].values())
    effects = ". On all of them:" if eligible["effects"] else "."
    yield f"Variants differed for {eligible['share_diverged']:.1%} of {total:,} eligible customers{effects}"
    for each in eligible["effects"]:
        metric = read.metric(each["metric"])
        low = float("-inf") if each["low"] is None else each["low"]
        high = float("inf") if each["high"] is None else each["high"]
        text = measured(each["effect"], low, high, metric.scale, measured_in(metric, each["effect"]))
        yield f"{metric.name}, {each['variant']}: {text}"


def _pauses(paused: dict[str, Any] | None) -> Iterator[str]:
    for each in paused["stretches"] if paused else ():
        who = ", by the complaint breaker" if each["is_breaker"] else ""
        yield f"{each['name']}: {minute(each['from_us'])} to {minute(each['until_us'])}{who}"


def _instant(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"--at: {text!r} is not an instant such as 2026-11-02T09:00:00Z") from None
    if at.tzinfo is None:
        raise typer.BadParameter(f"--at: {text!r} has no offset: write 2026-11-02T09:00:00Z, or +01:00")
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
