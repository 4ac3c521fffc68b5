"""`takt demo`: its progress while it is made, and what there is to see in it."""

import asyncio
import os
import shlex
import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from engine.cli.output import minute, sign_in_link, wrapped
from engine.core.tokens import Scope
from engine.demo import making
from engine.demo.company import Company
from engine.demo.findings import Sights, look_around
from engine.demo.making import Made
from engine.operations import keys
from engine.operations.sign_in import make_link
from engine.operations.start import Where
from engine.settings import Settings
from engine.store.database import Database

_KEY_S = 30 * 86_400


def make(where: Where, settings: Settings, company: Company, *, fresh: bool) -> Made:
    """The demo's database, made with a progress bar where it is not there."""
    columns = (
        TextColumn("Playing day {task.completed} of {task.total}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=company.days, visible=False)

        def on_day(days: int) -> None:
            progress.update(task, completed=days, visible=True)

        return asyncio.run(making.made(where, settings, company, fresh=fresh, on_day=on_day))


def show(found: Made, company: Company, settings: Settings, key: str | None) -> None:
    """Where the demo is, what its experiments found, and what to try."""
    sights, key, code = asyncio.run(_seen(found, key))
    address = f"http://{settings.host}:{settings.port}"
    print(f"DEMO: {company.name} does not exist, and its {sights.customers:,} customers are simulated.")
    kept = "" if found.is_new else " It was there already: --fresh plays it anew."
    print(f"Its life since {minute(sights.since_us)} is in the database {making.NAME}.{kept}")
    print(f"Look at it: {sign_in_link(address, code)}")
    print(f"Takt answers at {address}   (API: {address}/docs)\n\nWhat its experiments found:\n")
    for finding in sights.findings:
        print(wrapped(f"{finding.key} ({finding.state}): {' '.join(finding.sentences)}", 2))
    print("\nTry, in another terminal:\n")
    for line in _lines(found.where, address, key, sights.someone):
        print(f"  {line}")
    print("\nCtrl-C ends it; what is in the database stays.", flush=True)


def _lines(where: Where, address: str, key: str, someone: str) -> list[str]:
    """What works when it is pasted, line by line."""
    # An address of somebody's own may hold a password, and this may be a log.
    database = shlex.quote(where.url) if where.is_embedded else f"...    # yours, with the database {making.NAME}"
    path = [] if shutil.which("takt") else [f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"]
    return [
        *path,
        f"export TAKT_URL={address} TAKT_KEY={key}",
        f"export DATABASE_URL={database}",
        f"takt why {someone}",
        "takt experiments readout push-budget",
        "takt experiments ship push-budget one",
        f"curl -s {address}/v1/decisions -H 'Authorization: Bearer {key}' -d '{_ask(someone)}'",
    ]


def _ask(customer_id: str) -> str:
    return f'{{"message_id": "m-1", "customer_id": "{customer_id}", "channel": "email", "topic": "promotions"}}'


async def _seen(found: Made, key: str | None) -> tuple[Sights, str, str]:
    database = Database(found.where.url, size=2)
    await database.open()
    try:
        if key is None:
            key = (await keys.create(database, "demo", [Scope.ADMIN], expires_in_s=_KEY_S)).secret
        return await look_around(database), key, await make_link(database, key)
    finally:
        await database.close()


def silence_alarms() -> None:
    """What happens in a demo is no alarm: whoever answers to TAKT_ALARM_URL sleeps on."""
    os.environ.pop("TAKT_ALARM_URL", None)
