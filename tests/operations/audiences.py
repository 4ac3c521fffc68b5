"""Audiences to screen: files of customers, what is read of the results, and a screening to run on them."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psycopg

from engine.core.policy import HOUR_US
from engine.operations.audience import open_audience
from engine.operations.decider import Decider
from engine.operations.resolve import RecordCommand
from engine.operations.screen import screen
from engine.operations.screening import Screening, Tally

CHECK = Screening("email", "promotions", "autumn", "1", team="crm")
RESERVE = replace(CHECK, reserves=True, lease_us=HOUR_US)


def write(path: Path, *rows: Sequence[str], delimiter: str = ",") -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def read(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def ids(path: Path) -> list[str]:
    return [row["customer_id"] for row in read(path)]


def contacts(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM journal").fetchone()
        return row[0] if row else 0


def entries(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT coalesce(sum(seq), 0) FROM accounts").fetchone()
        return row[0] if row else 0


async def reached(decider: Decider, *customers: str) -> None:
    """They had an e-mail an hour ago: the next one has to wait."""
    now_us = await decider.database.clock_us()
    await decider.settle_all([RecordCommand(who, "old", "email", "promotions", now_us - HOUR_US) for who in customers])


async def screened(decider: Decider, path: Path, screening: Screening = RESERVE) -> Tally:
    folder = path.parent
    return await screen(decider, open_audience(path), screening, folder / "allowed.csv", folder / "refused.csv")
