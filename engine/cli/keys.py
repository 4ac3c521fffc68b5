"""`takt keys`: who may ask, bring in, read, and change the rules."""

from typing import Annotated

import typer

from engine.cli.app import app
from engine.cli.arguments import seconds
from engine.cli.connect import database
from engine.cli.output import as_json, minute, note, table
from engine.core.tokens import Scope
from engine.operations import keys
from engine.store.database import Database
from engine.store.keys import Key

keys_app = typer.Typer(no_args_is_help=True, help="API keys: make, list, revoke.")
app.add_typer(keys_app, name="keys", rich_help_panel="Service")


@keys_app.command()
def create(
    name: Annotated[str, typer.Option(help="Whose it is; shown in lists and as the author of changes.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; may be repeated.")],
    team: Annotated[list[str] | None, typer.Option(help="A team it may speak for; any if none is named.")] = None,
    expires_in: Annotated[str | None, typer.Option(help="How long it is good: 90d.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the key as JSON.")] = False,
) -> None:
    """Make a key and print it, this once: Takt keeps only its digest.

    Example: takt keys create --name crm --scope decide --expires-in 90d
    """
    if not name.strip() or not name.isprintable() or len(name) > 200:
        raise typer.BadParameter("a name has 1 to 200 printable characters")
    lasts_s = None if expires_in is None else seconds(expires_in)
    made = database(lambda opened: keys.create(opened, name, scope, team, lasts_s))
    if json:
        as_json({"key_id": made.key_id, "key": made.secret})
        return
    print(made.secret)
    note(f"This is the key ({made.key_id} in lists); it is not shown again.")


@keys_app.command("list")
def list_keys(json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False) -> None:
    """All keys there ever were, without their secrets.

    Example: takt keys list
    """

    async def read(opened: Database) -> tuple[list[Key], int]:
        return await keys.listed(opened), await opened.clock_us()

    found, now_us = database(read)
    rows = [
        {
            "key_id": each.key_id,
            "name": each.name,
            "scopes": list(each.scopes),
            "teams": None if each.teams is None else list(each.teams),
            "created": minute(each.created_us),
            "state": _state(each, now_us),
        }
        for each in found
    ]
    if json:
        as_json(rows)
        return
    columns = ("key", "name", "scopes", "state", "teams")
    table(
        columns,
        [
            (each["key_id"], each["name"], ",".join(key.scopes), each["state"], ", ".join(key.teams or ("any",)))
            for each, key in zip(rows, found, strict=True)
        ],
    )


@keys_app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The key as `takt keys list` calls it.")]) -> None:
    """End a key: it is refused within a second, in every process.

    Example: takt keys revoke 1f2e3d4c
    """
    database(lambda opened: keys.revoke(opened, key_id))
    print(f"Key {key_id} is revoked.")


def _state(key: Key, now_us: int) -> str:
    if key.revoked_us is not None:
        return "revoked"
    if key.expires_us is None:
        return "good"
    return f"good until {minute(key.expires_us)}" if now_us < key.expires_us else "expired"
