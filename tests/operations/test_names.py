"""No more names than every process can keep in memory: what is new is refused by itself, all else goes on."""

import asyncio

import psycopg
import pytest

from engine.core.errors import TooManyNames
from engine.core.events import Event
from engine.core.verdict import Ask, Verdict
from engine.operations.decide import AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.intake import Intake, Result
from engine.store.labels import LABELS_MAX, Labels
from tests.store.faults import count

pytestmark = pytest.mark.anyio


def ask(message_id: str, campaign: str, customer_id: str = "ada") -> AskCommand:
    return AskCommand(customer_id, message_id, Ask("email", "newsletter", campaign=campaign))


def fill(url: str, *, but: int = 0, name: str = "the latest") -> None:
    """Let there be room for so many labels more."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO labels (number, name) VALUES (%s, %s)", (LABELS_MAX - but, name))


async def test_a_campaign_too_many_is_refused_and_known_ones_go_on(decider: Decider, database_url: str) -> None:
    await decider.ask(ask("m1", "spring"), Mode.RESERVE)
    fill(database_url)
    with pytest.raises(TooManyNames, match="no more are kept"):
        await decider.ask(ask("m2", "one-too-many", "bob"), Mode.RESERVE)
    assert (await decider.ask(ask("m3", "spring", "cem"), Mode.RESERVE)).verdict is Verdict.ALLOW
    assert count(database_url, "SELECT count(*) FROM accounts WHERE customer_id = 'bob'") == 0
    assert count(database_url, "SELECT count(*) FROM labels WHERE name = 'one-too-many'") == 0


async def test_asks_of_one_moment_do_not_suffer_for_one_another(decider: Decider, database_url: str) -> None:
    await decider.ask(ask("m1", "spring"), Mode.RESERVE)
    fill(database_url)
    asked = [ask("m2", "one-too-many", "bob"), ask("m3", "spring", "cem"), ask("m4", "another", "cem")]
    answers = await asyncio.gather(*[decider.ask(each, Mode.RESERVE) for each in asked], return_exceptions=True)
    assert [type(each).__name__ for each in answers] == ["TooManyNames", "Answer", "TooManyNames"]
    many = await decider.settle_all([ask(f"n{n}", f"new-{n}" if n % 2 else "spring", f"c{n}") for n in range(6)])
    assert [type(each).__name__ for each in many] == ["Answer", "TooManyNames"] * 3


async def test_an_event_that_names_one_too_many_is_refused_by_itself(decider: Decider, database_url: str) -> None:
    at_us = await decider.database.clock_us()
    intake = Intake(decider)
    assert await intake.take([Event("ada", "crm", "1", "session", at_us)]) == [Result.ACCEPTED]
    fill(database_url)
    others = [Event("ada", "crm", "2", "made.up", at_us), Event("bob", "crm", "3", "session", at_us)]
    refused, accepted = await intake.take(others)
    assert isinstance(refused, TooManyNames)
    assert accepted is Result.ACCEPTED
    assert count(database_url, "SELECT count(*) FROM events WHERE customer_id = 'ada'") == 1


async def test_the_first_event_ever_is_taken_where_asks_left_no_room(decider: Decider, database_url: str) -> None:
    await decider.ask(ask("m1", "crm"), Mode.RESERVE)
    fill(database_url)
    at_us = await decider.database.clock_us()
    assert await Intake(decider).take([Event("ada", "crm", "1", "unsubscribed", at_us)]) == [Result.ACCEPTED]
    assert (await decider.ask(ask("m2", "crm"), Mode.RESERVE)).verdict is Verdict.DENY


async def test_takts_own_names_need_no_room(decider: Decider, database_url: str) -> None:
    labels = Labels(decider.database)
    fill(database_url, but=1)
    assert len(await labels.admit(["a", "b", "email", None])) == 1, "there was room for one"
    fill(database_url, but=0, name="the very latest")
    assert await labels.admit(["of-somebody", "email"]) == {"of-somebody"}
    await labels.intern(["of-takt"])
    assert not labels.missing(["of-takt"])
