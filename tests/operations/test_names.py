"""No more names than every process can keep in memory: what is new is refused by itself, all else goes on."""

import asyncio

import psycopg
import pytest

from engine.core.errors import TooManyNames
from engine.core.events import Event, Flag
from engine.core.outcomes import UNDECLARED_TOPIC, UNKNOWN_TOPIC
from engine.core.suppression import Scope
from engine.core.verdict import Ask, Code, Verdict
from engine.operations import policies
from engine.operations.decide import Answer, AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.intake import Intake, Result
from engine.operations.look import Look
from engine.operations.resolve import RecordCommand
from engine.operations.verify import verify
from engine.store.labels import LABELS_MAX, Labels
from tests.operations.test_prune import rows
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


POLICY = """\
schema: 1
unknown_timezone: Europe/Berlin
topics:
  newsletter: {}
  promotions: {}
pauses:
  - {from: vip_waits, until: vip_served, at_most: 7d}
budgets:
  - {name: week, limit: 3, window: {rolling: 7d}}
  - {name: summer, campaigns: [summer], limit: 2, window: {rolling: 7d}}
"""


@pytest.mark.parametrize(
    "told",
    [
        Event("ada", "new-provider", "1", "unsubscribed", 0),
        Event("ada", "new-provider", "1", "unsubscribed", 0, topic="newsletter", campaign="one-too-many"),
        Event("ada", "crm", "1", "complained", 0, "email", "one-more-topic", campaign="one-too-many"),
        Event("ada", "crm", "1", "bounced", 0, "email", campaign="one-too-many", flags=int(Flag.HARD)),
        Event("ada", "new-provider", "1", "consented", 0, "email", properties={"given": False}),
        Event("ada", "new-provider", "1", "vip_waits", 0, campaign="one-too-many"),
    ],
)
async def test_whoever_may_not_be_contacted_is_not_whatever_names_there_are(
    decider: Decider, database_url: str, told: Event
) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    assert (await decider.ask(ask("m1", "spring"), Mode.RESERVE)).verdict is Verdict.ALLOW
    fill(database_url)
    at_us = await decider.database.clock_us()
    assert await Intake(decider).take([told._replace(at_us=at_us)]) == [Result.ACCEPTED]
    assert (await decider.ask(ask("m2", "spring"), Mode.RESERVE)).verdict is not Verdict.ALLOW
    assert await Intake(decider).take([told._replace(at_us=at_us)]) == [Result.DUPLICATE]
    assert count(database_url, "SELECT count(*) FROM labels WHERE name LIKE 'one-%' OR name LIKE 'new-%'") == 0
    assert (await verify(decider.database)).is_clean


async def test_a_suppression_and_its_return_keep_the_scope_and_source_that_no_label_has(
    decider: Decider, database_url: str
) -> None:
    fill(database_url)
    now_us = await decider.database.clock_us()
    left = Event("ada", "new-provider", "1", "unsubscribed", now_us - 2, "email", "one-too-many")
    (result,) = await Intake(decider).take([left])
    assert result is Result.ACCEPTED
    told = "SELECT suppressions::text FROM customers WHERE customer_id = 'ada'"
    assert "one-too-many" in rows(database_url, told)[0][0]
    assert "new-provider" in rows(database_url, told)[0][0]
    back = left._replace(event_id="2", type="resubscribed", at_us=now_us - 1)
    assert await Intake(decider).take([back]) == [Result.ACCEPTED]
    held = await decider.peek(Look("ada"))
    assert Scope("email", "one-too-many") not in {each.scope for each in held.customer.in_force}
    query = "SELECT s.name, t.name FROM events e JOIN labels s ON s.number = e.source JOIN labels t ON t.number = topic"
    assert rows(database_url, query) == 2 * [(UNKNOWN_TOPIC, UNKNOWN_TOPIC)]


async def test_what_was_sent_is_counted_without_the_names_for_which_there_is_no_room(
    decider: Decider, database_url: str
) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    await decider.ask(ask("m0", "spring", "bob"), Mode.RESERVE)
    fill(database_url)
    now_us = await decider.database.clock_us()
    sent = Event("ada", "new-provider", "1", "sent", now_us, "email", "one-more-topic", "one-too-many", "m1")
    assert await Intake(decider).take([sent, sent._replace(event_id="2", message_id="m2")]) == 2 * [Result.ACCEPTED]
    await decider.settle(RecordCommand("ada", "m3", "email", "newsletter", now_us, "one-too-many", "one-team", "me"))
    refused = await decider.ask(ask("m4", "spring"), Mode.RESERVE)
    assert (refused.verdict, refused.reasons[0].code) == (Verdict.DEFER, Code.LIMIT)
    assert (await verify(decider.database)).is_clean


async def test_for_what_the_policy_names_there_is_room(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    fill(database_url)
    asked = AskCommand("ada", "m1", Ask("email", "promotions", campaign="summer"))
    assert (await decider.ask(asked, Mode.RESERVE)).verdict is Verdict.ALLOW
    with pytest.raises(TooManyNames):
        await decider.ask(ask("m2", "one-too-many"), Mode.RESERVE)


async def test_who_makes_topics_up_takes_no_names(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    await decider.ask(ask("m0", "spring"), Mode.RESERVE)
    names = count(database_url, "SELECT count(*) FROM labels WHERE name <> 'limit'")
    made_up = [
        AskCommand("ada", f"m{n}", Ask("email", f"made-up-{n}", campaign=f"c{n}", team=f"t{n}"), f"s{n}")
        for n in range(1, 6)
    ]
    for each in await decider.settle_all(made_up):
        assert isinstance(each, Answer)
        assert (each.verdict, each.reasons[0].code) == (Verdict.DENY, Code.UNKNOWN_TOPIC)
        assert each.reasons[0].rule.startswith("made-up-"), "who asked hears of the topic asked for"
    assert count(database_url, "SELECT count(*) FROM labels WHERE name ~ '^(made-up-|c|t|s)[0-9]$'") == 0
    assert count(database_url, "SELECT count(*) FROM labels") <= names + 1, "all are on record under one name"
    topics = "SELECT DISTINCT name FROM refusals JOIN labels ON number = topic"
    assert rows(database_url, topics) == [(UNDECLARED_TOPIC,)]
    assert (await verify(decider.database)).is_clean
    fill(database_url)
    assert (await decider.ask(made_up[0], Mode.RESERVE)).verdict is Verdict.DENY


async def test_a_topic_of_an_observed_policy_keeps_its_name(decider: Decider, database_url: str) -> None:
    await policies.activate(decider.database, POLICY.replace("schema: 1", "schema: 1\nmode: observe"), author="test")
    asked = await decider.ask(AskCommand("ada", "m1", Ask("email", "made-up")), Mode.RESERVE)
    assert (asked.verdict, asked.observed) == (Verdict.ALLOW, Verdict.DENY)
    assert count(database_url, "SELECT count(*) FROM labels WHERE name = 'made-up'") == 1


async def test_a_topic_is_taken_as_soon_as_a_policy_declares_it(decider: Decider) -> None:
    await policies.activate(decider.database, POLICY, author="test")
    asked = AskCommand("ada", "m1", Ask("email", "surveys"))
    assert (await decider.ask(asked, Mode.RESERVE)).verdict is Verdict.DENY
    await policies.activate(decider.database, POLICY.replace("promotions", "surveys"), author="test")
    assert (await decider.ask(asked, Mode.RESERVE)).verdict is Verdict.ALLOW
