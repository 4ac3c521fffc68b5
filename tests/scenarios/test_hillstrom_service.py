"""A real experiment of 64,000 customers, played into the service, reads as its file does.

Kevin Hillstrom's e-mail challenge (2008): a third got a mail about men's goods, a third about women's, a third none.
Its arms become assignments, its mails contacts, its visits and purchases events, by the service's own ways in; the file
is analysed as it is by `takt analyze`. One plan serves both.
"""

import asyncio
import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.operations.batch import Command
from engine.operations.decider import Decider
from engine.operations.resolve import RecordCommand
from engine.settings import Settings
from engine.store.database import clock_us
from engine.store.exchange import exchange
from engine.store.exposures import Exposure, writing
from experiments.readout import Readout
from tests.api.caller import DAY_S, Caller, advance_clock
from tests.service import Service

SAMPLE = Path(os.environ.get("TAKT_SAMPLE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "hillstrom.csv"
pytestmark = pytest.mark.skipif(not SAMPLE.exists(), reason=f"{SAMPLE} is not there: TAKT_SAMPLE_DATA names its folder")

EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
PLAN = """\
key: hillstrom
hypothesis: E-mails bring customers back to the shop.
unit: customer_id
variants:
  - {name: No E-Mail, control: true}
  - {name: Mens E-Mail}
  - {name: Womens E-Mail}
start: 2008-03-01
end: 2008-03-15
min_days: 14
horizon_days: 14
planned_units: 64000
inference: fixed
columns: {variant: segment}
segments: [zip_code]
metrics:
  - {name: visit, kind: rate, column: visit, event: session, within_days: 14, role: primary, direction: increase}
  - {name: conversion, kind: rate, column: conversion, event: purchase, within_days: 14, role: secondary,
     direction: increase}
  - {name: spend, kind: mean, column: spend, event: purchase, value: value, within_days: 14, role: secondary,
     direction: increase}
"""
VARIANTS = ("No E-Mail", "Mens E-Mail", "Womens E-Mail")
Row = dict[str, str]


def test_the_readout_in_the_service_is_that_of_the_file(service: Service, tmp_path: Path) -> None:
    rows = {f"h{number}": row for number, row in enumerate(_sample(), start=1)}
    file = _from_file(rows, tmp_path)
    with Caller(service, timeout_s=300) as takt:
        takt.call("POST", "/v1/experiments", {"yaml": PLAN})
        takt.call("POST", "/v1/experiments/hillstrom/start")
        entered_us = asyncio.run(_assign_and_contact(service.database_url, rows))
        advance_clock(service.database_url, 3 * DAY_S)
        _tell(takt, rows, entered_us)
        advance_clock(service.database_url, 30 * DAY_S)
        answer = takt.call("POST", "/v1/experiments/hillstrom/readout")
    found = Readout.from_json(json.dumps(answer["readout"]))

    assert found.groups == file.groups
    assert [(each.variant, each.call) for each in found.verdicts] == [
        (each.variant, each.call) for each in file.verdicts
    ]
    assert answer["call"] == "ship"
    for expected in file.metrics:
        _assert_same(found.metric(expected.name), expected)
    shares = {(each.code, each.where): each.p_value for each in file.checks if each.code.startswith("srm_segment")}
    ours = {(each.code, each.where): each.p_value for each in found.checks if each.code.startswith("srm_segment")}
    assert ours == pytest.approx(shares)
    contacts = {each.variant: (each.numerator, each.units) for each in found.metric("contacts_28").arms}
    assert contacts == {each.variant: (0 if each.is_control else each.units, each.units) for each in file.groups}


def _assert_same(found: Any, expected: Any) -> None:
    for ours, theirs in zip(found.arms, expected.arms, strict=True):
        assert (ours.variant, ours.units) == (theirs.variant, theirs.units)
        numbers = (ours.numerator, ours.denominator, ours.value)
        assert numbers == pytest.approx((theirs.numerator, theirs.denominator, theirs.value), rel=1e-9)
    for ours, theirs in zip(found.comparisons, expected.comparisons, strict=True):
        for one, other in ((ours.estimate, theirs.estimate), (ours.bound, theirs.bound)):
            assert (one is None) == (other is None)
            if one is not None:
                assert (one.estimand, one.method, one.level) == (other.estimand, other.method, other.level)
                numbers = (one.effect, one.low, one.high)
                assert numbers == pytest.approx((other.effect, other.low, other.high), rel=1e-9)


def _sample() -> list[Row]:
    with SAMPLE.open(newline="") as file:
        return list(csv.DictReader(file))


def _from_file(rows: dict[str, Row], folder: Path) -> Readout:
    (folder / "plan.yaml").write_text(PLAN)
    with (folder / "customers.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ("customer_id", *next(iter(rows.values()))))
        writer.writeheader()
        writer.writerows({"customer_id": who, **row} for who, row in rows.items())
    command = [sys.executable, "-c", "from engine.main import main; main()", "analyze", "customers.csv"]
    command += ["--plan", "plan.yaml", "--json", "readout.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Readout.from_json((folder / "readout.json").read_text())


async def _assign_and_contact(url: str, rows: dict[str, Row]) -> int:
    """Everybody enters at one instant, which is returned; who got a mail got it then."""
    decider = Decider(url, Settings())
    await decider.open()
    try:
        async with decider.database.transaction() as connection:
            now_us = await clock_us(connection)
            exposures = [
                Exposure(
                    *(who, 1, VARIANTS.index(row["segment"]), now_us, now_us), segments={"zip_code": row["zip_code"]}
                )
                for who, row in rows.items()
            ]
            for some in _in_batches(exposures):
                await exchange(connection, *writing(some))
        mailed: list[Command] = [
            RecordCommand(who, "mail", "email", "promotions", now_us + 1)
            for who, row in rows.items()
            if row["segment"] != "No E-Mail"
        ]
        advance_clock(url, 60)
        errors = [each for each in await decider.settle_all(mailed) if isinstance(each, Exception)]
    finally:
        await decider.close()
    assert not errors, errors[0]
    return now_us


def _tell(takt: Caller, rows: dict[str, Row], entered_us: int) -> None:
    """A visit was a session a day later, a purchase one hour after that."""

    def event(who: str, kind: str, hours: int, **more: float) -> dict[str, Any]:
        at = EPOCH + timedelta(microseconds=entered_us) + timedelta(hours=hours)
        return {"id": f"{kind}-{who}", "source": "shop", "customer_id": who, "type": kind, "at": at.isoformat(), **more}

    events = [event(who, "session", 24) for who, row in rows.items() if row["visit"] == "1"]
    events += [
        event(who, "purchase", 25, value=float(row["spend"])) for who, row in rows.items() if row["conversion"] == "1"
    ]
    for some in _in_batches(events):
        results = takt.call("POST", "/v1/events", {"events": some})["results"]
        assert not [each for each in results if "error" in each]


def _in_batches(items: Sequence[Any], size: int = 5_000) -> list[list[Any]]:
    return [list(items[first : first + size]) for first in range(0, len(items), size)]
