"""A real list of 64,000 customers, three campaigns in one week, under the preset `considerate`.

The gate takes every sixteenth one; `make chaos` takes all (`TAKT_SAMPLE_EVERY=1`).

Kevin Hillstrom's e-mail challenge (2008). Its columns give each customer a zone, a history and a temper. How many may
be sent to, and why each of the others may not, a count of its own says: it reads the file by itself, knows the
preset's numbers, and shares nothing with the engine.
"""

import asyncio
import csv
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import pytest

from engine.core.suppression import Scope, Suppression, SuppressionReason
from engine.operations.batch import Command
from engine.operations.decider import Decider
from engine.operations.file import Suppress
from engine.operations.resolve import RecordCommand
from engine.settings import Settings
from tests.conftest import set_clock
from tests.service import Service

SAMPLE = Path(os.environ.get("TAKT_SAMPLE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "hillstrom.csv"
pytestmark = pytest.mark.skipif(not SAMPLE.exists(), reason=f"{SAMPLE} is not there: TAKT_SAMPLE_DATA names its folder")

EVERY = int(os.environ.get("TAKT_SAMPLE_EVERY", "16"))
CUSTOMERS = 64_000 // EVERY

EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
MONDAY = datetime(2026, 3, 9, 14, tzinfo=UTC)  # summer time began in America the day before
ZONES = {"Urban": "America/New_York", "Surburban": "America/Chicago", "Rural": "America/Los_Angeles"}
LEASE = timedelta(hours=4)
SENDS = {  # campaign: when it is screened, and when it is sent
    "spring": (MONDAY, MONDAY),
    "shoes": (MONDAY + timedelta(days=2), MONDAY + timedelta(days=3, hours=1)),
    "sale": (MONDAY + timedelta(days=4), MONDAY + timedelta(days=4)),
}
UNSUBSCRIBED = MONDAY + timedelta(days=2, hours=20)  # between the screening of shoes and its sending

Row = dict[str, str]
Contact = tuple[datetime, datetime, str]  # start, end, channel


# The independent count: what happened to whom, and what the preset's numbers make of it.


def before(row: Row) -> Iterator[Contact]:
    """Contacts before the first campaign: an e-mail five or three days ago, a text message in the night before."""
    days_ago = {"Mens E-Mail": 5, "Womens E-Mail": 3}.get(row["segment"])
    if days_ago:
        yield MONDAY - timedelta(days=days_ago), MONDAY - timedelta(days=days_ago), "email"
    if row["mens"] == row["womens"] == "1":
        yield MONDAY - timedelta(hours=10), MONDAY - timedelta(hours=10), "sms"


def friday(row: Row) -> Iterator[Contact]:
    """Contacts of other teams in the night to Friday: after midnight in New York, before it further west."""
    if row["channel"] == "Multichannel":
        for minute, channel in ((30, "push"), (40, "in_app")):
            at = datetime(2026, 3, 13, 4, minute, tzinfo=UTC)
            yield at, at, channel
    if row["newbie"] == "1" and row["recency"] in ("1", "2"):
        at = datetime(2026, 3, 13, 1, 0, tzinfo=UTC)
        yield at, at, "phone"


def unsubscribes(row: Row) -> bool:
    return row["visit"] == "1" and row["conversion"] == "0"


def refusals(row: Row, contacts: list[Contact], send: datetime) -> set[str]:
    """Why an e-mail at this instant is refused, by the numbers of `considerate`; nothing where it is allowed."""
    found: set[str] = set()
    zone = ZoneInfo(ZONES[row["zip_code"]])
    week, night = timedelta(days=7) - timedelta(minutes=30), timedelta(hours=16)
    if sum(channel == "email" and end + week > send for _, end, channel in contacts) >= 2:
        found.add("limit email-weekly")
    today = send.astimezone(zone).date()
    days = [(start.astimezone(zone).date(), end.astimezone(zone).date()) for start, end, _ in contacts]
    if sum(first <= today <= last for first, last in days) >= 2:
        found.add("limit any-daily")
    if any(channel in ("email", "phone", "sms") and end + night > send for _, end, channel in contacts):
        found.add("min_gap spacing")
    return found


def expected() -> dict[str, dict[str, set[str]]]:
    """By campaign and customer, why not. Nobody is asked again, so each campaign follows from those before."""
    found: dict[str, dict[str, set[str]]] = {name: {} for name in SENDS}
    for customer_id, row in read_sample():
        contacts = list(before(row))
        for name, (_, send) in SENDS.items():
            if name == "sale":
                contacts += friday(row)
                if unsubscribes(row):
                    contacts = [each for each in contacts if each[0] != SENDS["shoes"][1]]  # revoked before it went
            why = refusals(row, contacts, send)
            if name == "sale" and unsubscribes(row):
                why |= {"suppressed email/*"}
            if not why:
                contacts.append((send, send + LEASE, "email"))
            found[name][customer_id] = why
    return found


def read_sample() -> Iterator[tuple[str, Row]]:
    with SAMPLE.open(newline="") as file:
        for number, row in enumerate(islice(csv.DictReader(file), 0, None, EVERY), start=1):
            yield f"h{number}", row


# The story, through the commands that people use.


def test_three_campaigns_in_a_week_reach_whom_an_independent_count_names(service: Service, tmp_path: Path) -> None:
    week = Week(service, tmp_path)
    why_not = expected()
    allowed = {name: {who for who, why in each.items() if not why} for name, each in why_not.items()}
    assert 0 < len(allowed["sale"]) < len(allowed["shoes"]) < len(allowed["spring"]) < CUSTOMERS

    week.bring_in_customers_and_history()
    assert week.screen("spring") == allowed["spring"]

    week.kill_in_the_middle("shoes")
    assert not week.file("shoes", "allowed").exists()
    half = week.charged("shoes")
    assert 0 < half < len(allowed["shoes"])
    assert week.screen("shoes") == allowed["shoes"]
    assert week.charged("shoes") == len(allowed["shoes"]), "started again, somebody was charged twice"

    gone = week.unsubscribe()
    assert week.recheck("shoes") == (allowed["shoes"] - gone, allowed["shoes"] & gone)

    week.bring_in_friday()
    assert week.screen("sale") == allowed["sale"]
    assert week.explained("sale") == {who: why for who, why in why_not["sale"].items() if why}
    week.verify()


class Week:
    """The company's week: its clock, its files, its commands."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.folder = folder
        self.url = service.database_url
        self.environment = {
            **os.environ,
            "DATABASE_URL": service.database_url,
            "TAKT_URL": service.url,
            "TAKT_KEY": service.key,
        }

    def bring_in_customers_and_history(self) -> None:
        self.set_clock(MONDAY - timedelta(hours=1))
        columns = ("recency", "history_segment", "history", "newbie", "segment")
        with (self.folder / "customers.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("customer_id", "time_zone", *columns))
            writer.writerows(
                (who, ZONES[row["zip_code"]], *(row[each] for each in columns)) for who, row in read_sample()
            )
        self.takt("customers", "import", "customers.csv")
        self.record(before)

    def bring_in_friday(self) -> None:
        self.set_clock(SENDS["sale"][0] - timedelta(minutes=10))
        self.record(friday)

    def record(self, contacts: Callable[[Row], Iterator[Contact]]) -> None:
        """Contacts that happened without an ask."""
        asyncio.run(
            settle(
                self.url,
                [
                    RecordCommand(who, f"{at:%d%H%M}", channel, "promotions", (at - EPOCH) // MICROSECOND)
                    for who, row in read_sample()
                    for _, at, channel in contacts(row)
                ],
            )
        )

    def unsubscribe(self) -> set[str]:
        self.set_clock(UNSUBSCRIBED)
        gone = [who for who, row in read_sample() if unsubscribes(row)]
        now_us = (UNSUBSCRIBED - EPOCH) // MICROSECOND
        suppression = Suppression(Scope("email"), SuppressionReason.UNSUBSCRIBE, now_us, "link", binds_exempt=False)
        asyncio.run(settle(self.url, [Suppress(who, suppression) for who in gone]))
        return set(gone)

    def screen(self, campaign: str) -> set[str]:
        self.set_clock(SENDS[campaign][0])
        self.takt(*self._screening(campaign))
        allowed, refused = (
            [row["customer_id"] for row in read(self.file(campaign, each))] for each in ("allowed", "refused")
        )
        assert len({*allowed, *refused}) == len(allowed) + len(refused) == CUSTOMERS
        return set(allowed)

    def kill_in_the_middle(self, campaign: str) -> None:
        self.set_clock(SENDS[campaign][0])
        process = subprocess.Popen(
            self._command(*self._screening(campaign)), env=self.environment, cwd=self.folder, stdout=subprocess.DEVNULL
        )
        waited = threading.Event()
        with psycopg.connect(self.url, autocommit=True) as connection:
            while self.charged(campaign, connection) < CUSTOMERS // 8:
                assert process.poll() is None, "the screening ended before it could be killed"
                waited.wait(0.02)
        process.kill()
        process.wait()

    def recheck(self, campaign: str) -> tuple[set[str], set[str]]:
        """Who may still be sent to, and who must not any more."""
        self.takt("screen", f"{campaign}-allowed.csv", "--recheck", "--out", "still.csv", "--refused", "lost.csv")
        still, lost = (list(read(self.folder / f"{each}.csv")) for each in ("still", "lost"))
        assert {row["state"] for row in still} == {"reserved"}
        assert {row["state"] for row in lost} == {"revoked"}
        return {row["customer_id"] for row in still}, {row["customer_id"] for row in lost}

    def explained(self, campaign: str) -> dict[str, set[str]]:
        return {row["customer_id"]: set(row["reasons"].split("; ")) for row in read(self.file(campaign, "refused"))}

    def charged(self, campaign: str, connection: psycopg.Connection | None = None) -> int:
        """The contacts that the journal holds of a campaign."""
        if connection is None:
            with psycopg.connect(self.url) as opened:
                return self.charged(campaign, opened)
        query = "SELECT count(*) FROM journal WHERE campaign = (SELECT number FROM labels WHERE name = %s)"
        row = connection.execute(query, (campaign,)).fetchone()
        return row[0] if row else 0

    def verify(self) -> None:
        self.takt("verify")

    def file(self, campaign: str, kind: str) -> Path:
        return self.folder / f"{campaign}-{kind}.csv"

    def set_clock(self, at: datetime) -> None:
        set_clock(self.url, (at - datetime.now(UTC)) // MICROSECOND)

    def takt(self, *arguments: str) -> None:
        done = subprocess.run(
            self._command(*arguments),
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _screening(self, campaign: str) -> list[str]:
        screened, send = SENDS[campaign]
        arguments = ["screen", "customers.csv", "--channel", "email", "--topic", "promotions", "--campaign", campaign]
        arguments += ["--run", "1", "--team", "crm", "--reserve", "--lease", "4h"]
        arguments += ["--out", f"{campaign}-allowed.csv", "--refused", f"{campaign}-refused.csv"]
        return [*arguments, "--send-at", send.isoformat()] if send > screened else arguments

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", "from engine.main import main; main()", *arguments]


async def settle(url: str, commands: list[Command]) -> None:
    decider = Decider(url, Settings())
    await decider.open()
    try:
        errors = [each for each in await decider.settle_all(commands) if isinstance(each, Exception)]
    finally:
        await decider.close()
    assert not errors, errors[0]


def read(path: Path) -> Iterator[Row]:
    with path.open(newline="") as file:
        yield from csv.DictReader(file)
