"""`takt customers export|merge|erase`: one person at a time."""

import sys
from typing import Annotated

import typer

from engine.cli.connect import service
from engine.cli.customers import customers_app
from engine.cli.output import as_json, note, wrapped

_Id = Annotated[str, typer.Argument(help="The customer's id.")]
_Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@customers_app.command("export")
def export_customer(customer_id: _Id) -> None:
    """Everything on file about a person, as JSON: what to hand to whoever asks for theirs.

    Example: takt customers export customer-42 > customer-42.json
    """
    with service() as client:
        as_json(client.export(customer_id))


@customers_app.command("merge")
def merge_customers(
    customer_id: _Id,
    other: Annotated[str, typer.Argument(help="The customer who goes on under the first id.")],
    json: _Json = False,
) -> None:
    """Two customers are one person: the first id goes on, the second leads to it. It cannot be undone.

    Example: takt customers merge customer-42 device-77
    """
    with service() as client:
        found = client.merge(customer_id, other)
    if json:
        as_json(found)
    elif not found["changed"]:
        print(f"{other} was {customer_id} already.")
    else:
        counted = f"{found['contacts']} contacts and {found['events']} events came along"
        print(wrapped(f"{other} is {customer_id} from now on: {counted}, {found['revoked']} open leases ended."))
        if found["in_two_variants"]:
            note(f"{found['in_two_variants']} experiments leave them out now: each half was in another variant.")


@customers_app.command("erase")
def erase_customer(
    customer_id: _Id,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")] = False,
    json: _Json = False,
) -> None:
    """Forget a person: all that is on file goes, and nobody contacts them again. It cannot be undone.

    Example: takt customers erase customer-42 --yes
    """
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody can be asked here: say --yes", param_hint="--yes")
        typer.confirm(f"Erase {customer_id} for good?", abort=True)
    with service() as client:
        found = client.erase(customer_id)
    if json:
        as_json(found)
        return
    done = "is erased" if found["changed"] else "was erased already"
    gone = f"{found['contacts']} contacts, {found['refusals']} refusals and {found['events']} events are gone"
    print(wrapped(f"{customer_id} {done}: {gone}."))
    if found["experiments"]:
        note(f"What the readouts of {found['experiments']} experiments need stays, without a name.")
    if found["in_plans"]:
        note(f"The id stands in the plans of {', '.join(found['in_plans'])}, among the testers: take it out there.")
