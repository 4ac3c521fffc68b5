"""`takt experiments`: from a plan's file to the policy it becomes, straight on the database."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.cli.app import app
from engine.cli.connect import database
from engine.cli.output import as_json, minute, note, table, wrapped
from engine.cli.policy import author
from engine.core.errors import NotFound
from engine.operations import experiments
from engine.operations.experiments import By, OnHarm, State, Taken, Whole
from engine.operations.plan_file import load_plan, read_plan
from engine.operations.preflight import Preflight
from engine.operations.ship import end_holdout, readouts_us, ship
from engine.store.database import Database
from engine.store.experiments import Record
from experiments.design import Variant

_BYTES_MOST = 1024 * 1024

experiments_app = typer.Typer(no_args_is_help=True, help="Experiments: draft, start, widen, stop, ship.")
app.add_typer(experiments_app, name="experiments", rich_help_panel="Experiments")

_Key = Annotated[str, typer.Argument(help="The experiment's key.")]
_File = Annotated[str, typer.Argument(help="A plan's file, YAML or JSON, or - for stdin.")]
_Why = Annotated[str, typer.Option("--note", help="Why, for whoever reads the log.")]
_Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@experiments_app.command("list")
def list_experiments(
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many, the newest first.")] = 20,
    json: _Json = False,
) -> None:
    """The experiments there are, the newest first.

    Example: takt experiments list --state running
    """
    found = database(lambda opened: experiments.listed(opened, state, limit))
    if json:
        as_json([_data(each) for each in found])
    elif not found:
        note("There are none: takt experiments create plan.yaml")
    else:
        rows = [(each.key, _state(each), minute(each.started_us), minute(each.ended_us)) for each in found]
        table(("experiment", "state", "started", "ended"), rows)


@experiments_app.command()
def validate(file: _File, json: _Json = False) -> None:
    """Whether a plan fits the policy in force, and what its start would warn of. Writes nothing.

    Example: takt experiments validate plan.yaml
    """
    text, name = _read(file)
    checked = database(lambda opened: experiments.validate(opened, text, name))
    plan, preflight = checked.plan.experiment, checked.preflight
    if json:
        as_json({"valid": True, "key": plan.key, "preflight": preflight.data(), "warnings": preflight.warnings})
        return
    print(f"{name} is valid: {plan.key}, {len(plan.variants)} variants, {(plan.end - plan.start).days} days.")
    _show_preflight(preflight)


@experiments_app.command()
def create(
    file: _File,
    on_harm: Annotated[OnHarm, typer.Option(help="When a readout says stop: tell somebody, or stop too.")] = (
        OnHarm.ALERT
    ),
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of the draft of that key.")] = False,
    why: _Why = "",
) -> None:
    """Keep a plan as a draft. Nothing runs yet.

    Example: takt experiments create plan.yaml --on-harm stop
    """
    text, name = _read(file)
    by = By(author(), why)
    taken = database(lambda opened: experiments.create(opened, text, by, on_harm=on_harm, replace=replace, name=name))
    _say(taken, f"{taken.record.key} is a draft. Start it: takt experiments start {taken.record.key}")


@experiments_app.command()
def start(key: _Key, why: _Why = "") -> None:
    """Let a draft run, from the moment this returns, in every process. Its first day is today.

    Example: takt experiments start push-more
    """
    taken = _take(lambda opened: experiments.start(opened, key, By(author(), why)))
    plan = read_plan(taken.record.plan)
    _say(taken, f"{key} is running since {minute(taken.record.started_us)}, planned until {plan.end}.")


@experiments_app.command()
def ramp(
    key: _Key,
    traffic: Annotated[float, typer.Argument(help="The share that enters from now on: 0.5. It only grows.")],
    why: _Why = "",
) -> None:
    """Take more customers in. Nobody who is in moves.

    Example: takt experiments ramp push-more 0.5
    """
    taken = _take(lambda opened: experiments.ramp(opened, key, By(author(), why), traffic=traffic))
    _say(taken, f"{key} takes in {traffic:.3g} of its audience.")


@experiments_app.command()
def phase(
    key: _Key,
    weights: Annotated[list[str], typer.Argument(help="A weight for each variant: one=1 three=3.")],
    why: _Why = "",
) -> None:
    """Give other weights to those who enter from now on. Who is in stays in their variant.

    Example: takt experiments phase push-more one=1 three=3
    """
    parsed = dict(_weight(each) for each in weights)
    taken = _take(lambda opened: experiments.begin_phase(opened, key, By(author(), why), weights=parsed))
    _say(taken, f"{key} is in its phase {len(read_plan(taken.record.plan).phases)}, with {', '.join(weights)}.")


@experiments_app.command()
def stop(key: _Key, why: _Why = "") -> None:
    """End it: everybody is under the policy again. It does not start again; it can still be shipped.

    Example: takt experiments stop push-more --note "the app was down for two days"
    """
    taken = _take(lambda opened: experiments.stop(opened, key, By(author(), why)))
    _say(taken, f"{key} is stopped since {minute(taken.record.ended_us)}.")


@experiments_app.command("ship")
def ship_variant(
    key: _Key,
    variant: Annotated[str, typer.Argument(help="The variant that becomes the policy.")],
    holdout: Annotated[
        float | None, typer.Option(help="The share that stays under the old policy, 0.05 to 0.1.", show_default="0.05")
    ] = None,
    why: _Why = "",
) -> None:
    """Make a variant the policy, and leave a holdout under the old one for a year.

    Example: takt experiments ship push-more three --holdout 0.1
    """
    taken = _take(lambda opened: ship(opened, key, By(author(), why), variant=variant, held=holdout))
    _say(taken, f"{key} is shipped: {variant} is the policy. takt experiments show {key} tells of its holdout.")


@experiments_app.command("end-holdout")
def end_held(key: _Key, why: _Why = "") -> None:
    """End the holdout that shipping left: its customers are under the policy in force, like everybody.

    Example: takt experiments end-holdout push-more --note "the old budget is against the law now"
    """
    taken = _take(lambda opened: end_holdout(opened, key, By(author(), why)))
    _say(taken, f"The holdout of {key} has ended: everybody is under the policy.")


@experiments_app.command("note")
def note_finding(
    key: _Key, finding: Annotated[str, typer.Argument(help="What a user test, an interview or a call found.")]
) -> None:
    """Note a finding beside the numbers.

    Example: takt experiments note push-more "two of six asked why the app talks so much"
    """
    _take(lambda opened: experiments.note(opened, key, By(author(), finding)))
    note("Noted.")


@experiments_app.command()
def show(
    key: _Key,
    plan: Annotated[bool, typer.Option("--plan", help="Print the plan as it was written, and nothing else.")] = False,
    json: _Json = False,
) -> None:
    """One experiment: where it stands, and everything that was done to it.

    Example: takt experiments show push-more
    """
    found = database(lambda opened: experiments.whole(opened, key))
    if plan:
        print(found.record.source, end="" if found.record.source.endswith("\n") else "\n")
    elif json:
        log = [{**each._asdict(), "at": minute(each.at_us)} for each in found.log]
        as_json({**_data(found.record), "log": log, "holdout": found.holdout and found.holdout._asdict()})
    else:
        _show(found)


def _show(found: Whole) -> None:
    record = found.record
    plan = read_plan(record.plan)
    print(f"{record.key}: {_state(record)}, {plan.start} to {plan.end}, on harm: {record.on_harm}")
    if plan.hypothesis:
        print(wrapped(plan.hypothesis, indent=2))
    print()
    weights = plan.phases[-1].weights if plan.phases else {each.name: each.weight for each in plan.variants}
    rows = [
        (each.name, f"{weights[each.name]:g}", "-" if each.dose is None else f"{each.dose:g}", _changes(each))
        for each in plan.variants
    ]
    table(("variant", "weight", "dose", "is"), rows)
    if found.holdout is not None:
        held = found.holdout
        days = ", ".join(f"{experiments.day_of(each)}" for each in readouts_us(held)) or "no day"
        budgets = f"the budgets of version {held.policy_version} of the policy"
        until = f"until {experiments.day_of(held.over_us)}"
        print()
        print(wrapped(f"Holdout: {held.share:.0%} of all customers under {budgets} {until}; readouts on {days}."))
    print()
    table(
        ("at", "by", "did", "note"), [(minute(each.at_us), each.author, each.action, each.note) for each in found.log]
    )


def _show_preflight(preflight: Preflight) -> None:
    if preflight.customers is not None:
        print(f"Customers to come: {preflight.customers:,} at most.")
    if preflight.metrics:
        print()
        rows = [
            (
                each.metric,
                f"{each.base:.3g}",
                f"{each.expected:,}",
                "-" if each.needed is None else f"{each.needed:,}",
                "-" if each.shows is None else f"{each.shows:.2g}",
            )
            for each in preflight.metrics
        ]
        table(("metric", "base", "in the smaller arm", "its margin needs", "they show"), rows)
    for each in preflight.warnings:
        note(wrapped(f"warning: {each}"))


def _take(work: Callable[[Database], Awaitable[Taken]]) -> Taken:
    return database(work)


def _say(taken: Taken, sentence: str) -> None:
    print(wrapped(sentence))
    for each in taken.warnings:
        note(wrapped(f"warning: {each}"))


def _state(record: Record) -> str:
    return f"shipped ({record.shipped})" if record.shipped else record.state


def _changes(variant: Variant) -> str:
    budgets: dict[str, Any] = variant.policy.get("budgets", {})
    changes = [f"{name}: {_limit(budget.get('limit'))}" for name, budget in budgets.items()]
    return ("the control, " if variant.control else "") + (", ".join(changes) or "the policy as it is")


def _limit(limit: object) -> str:
    return "no limit" if limit is None else f"a limit of {limit}"


def _data(record: Record) -> dict[str, Any]:
    data = record._asdict()
    return {
        **{name: data[name] for name in ("number", "key", "state", "on_harm", "shipped", "plan")},
        **{f"{name}_at": minute(data[f"{name}_us"]) for name in ("created", "started", "ended")},
    }


def _weight(text: str) -> tuple[str, float]:
    name, equals, weight = text.rpartition("=")
    try:
        if equals:
            return name, float(weight)
    except ValueError:
        pass
    raise typer.BadParameter(f"{text!r} is not a variant and its weight, such as three=3")


def _read(name: str) -> tuple[str, str]:
    """A plan's text; one that cannot be read is refused before the database is asked."""
    if name == "-":
        raw, name = sys.stdin.buffer.read(_BYTES_MOST), "stdin"
    else:
        try:
            with Path(name).open("rb") as file:
                raw = file.read(_BYTES_MOST)
        except FileNotFoundError:
            raise NotFound(f"there is no file {name!r}") from None
    return load_plan(raw, name).source, name
