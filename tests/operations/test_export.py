"""What is on file about a person is told whole, and no column can be forgotten (invariant 14)."""

import json
from typing import Any

import psycopg
import pytest

from engine.core.errors import NotFound
from engine.operations.decider import Decider
from engine.operations.erase import erase
from engine.operations.export import export
from engine.operations.merge import merge
from engine.store import erasing
from engine.store.metadata import TABLES
from engine.store.personal import BY_ADDRESS, IMPERSONAL, PERSONAL
from tests.operations.persons import dump, fill

pytestmark = pytest.mark.anyio


def unregistered(tables: Any) -> list[str]:
    """The columns of which the register says neither that they are told nor why not."""
    found: list[str] = []
    for name, table in tables.items():
        columns = {each.name for each in table.columns}
        if name in IMPERSONAL:
            found += [f"{name}.{each}" for each in columns & {"customer_id", "address", "message_id"}]
        else:
            found += [f"{name}.{each}" for each in columns ^ PERSONAL.get(name, {}).keys()]
    return found


def test_every_column_is_told_to_whom_it_is_about_or_says_why_not():
    assert unregistered(TABLES.tables) == []
    assert not PERSONAL.keys() & IMPERSONAL.keys()
    assert PERSONAL.keys() | IMPERSONAL.keys() == TABLES.tables.keys()
    assert {*erasing.TABLES, *BY_ADDRESS} == PERSONAL.keys()


def test_a_column_that_nobody_registered_is_found(monkeypatch: pytest.MonkeyPatch):
    missing = {name: told for name, told in PERSONAL["events"].items() if name != "properties"}
    monkeypatch.setitem(PERSONAL, "events", missing)  # type: ignore[arg-type]
    assert unregistered(TABLES.tables) == ["events.properties"]


async def test_every_row_that_speaks_of_a_person_is_in_the_export(decider: Decider, database_url: str):
    await fill(decider, "canary-two")
    await fill(decider, "somebody-else")
    for who in await fill(decider, "canary-one"):
        assert who in dump(database_url)
    await merge(decider, "canary-one", "canary-two")
    told = await export(decider, "canary-two")
    text = json.dumps([told.known_as, told.tables])
    assert told.known_as == ("canary-one", "canary-two")
    assert "somebody-else" not in text
    with psycopg.connect(database_url) as connection:
        for table in PERSONAL.keys() - set(BY_ADDRESS):
            query = f"SELECT count(*) FROM {table} WHERE customer_id LIKE 'canary%'"
            (count,) = connection.execute(query.encode()).fetchone() or (0,)
            assert len(told.tables[table]) == count, table
    for canary in ("nick-", "form-", "v-", "m0-", "m2-", "r-", "page-", "basket-", "url-", "case-", "why-", "desk-"):
        assert f"{canary}canary-two" in text, canary
        assert f"{canary}canary-one" in text, canary
    assert {"limit", "spring", "growth", "Europe/Berlin", "purchase"} <= set(text.replace('"', " ").split())
    assert len(told.tables["addresses"]) == len(told.tables["suppressed_addresses"]) == 2


async def test_of_nobody_and_of_who_was_erased_there_is_nothing_to_tell(decider: Decider):
    await fill(decider, "ada")
    await erase(decider, "ada")
    for who in ("ada", "never-heard-of"):
        with pytest.raises(NotFound):
            await export(decider, who)
