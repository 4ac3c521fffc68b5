"""`takt sign-in`: a link to the pages, for a browser and without a key to type."""

import os
from typing import Annotated
from urllib.parse import urlsplit

import typer

from engine.cli.app import app
from engine.cli.connect import DEFAULT_URL, database, own_key
from engine.cli.output import sign_in_link
from engine.operations.sign_in import make_link


@app.command("sign-in", rich_help_panel="Service")
def sign_in(
    url: Annotated[str | None, typer.Option(help="Where the pages are; TAKT_URL if not given.")] = None,
) -> None:
    """Print a link that signs in with your key: TAKT_KEY, or the one that `takt serve` left in the data folder.

    It is good once, within ten minutes, for whoever has it.

    Example: takt sign-in
    """
    address = (url or os.environ.get("TAKT_URL") or DEFAULT_URL).rstrip("/")
    if urlsplit(address).scheme not in ("http", "https"):
        raise typer.BadParameter("an address begins with http:// or https://")
    key = own_key(address)
    print(sign_in_link(address, database(lambda opened: make_link(opened, key))))
