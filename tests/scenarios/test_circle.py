"""The whole circle over HTTP: a shop asks whether three pushes a week are better than one, and lives with the answer.

Nothing here looks into the service: it is asked, told and read over real sockets, as a shop would. Only the calendar
is the test's. What customers do depends on what reaches them, and the shop keeps books of its own, which the readout
and the journal are held against.
"""

from collections import Counter
from collections.abc import Generator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from engine.operations.verify import verify
from engine.settings import Settings
from engine.store.embedded import Server
from experiments.assigning.draws import Draw, threshold
from tests.api.caller import Caller, ask, in_database
from tests.api.unsubscribing import ONE_CLICK, PUBLIC_URL, path_of
from tests.conftest import clean_database, set_clock
from tests.service import serving

MONDAY = datetime(2035, 1, 1, tzinfo=UTC)
PEOPLE = [f"customer-{number:03}" for number in range(240)]
LEAVERS = PEOPLE[7::60]  # they unsubscribe from the newsletter
MOVED = PEOPLE[11]  # whose mailbox is gone

POLICY = """\
schema: 1
unknown_timezone: Europe/Berlin
topics:
  promotions: {purpose: sell}
  newsletter: {purpose: sell}
budgets:
  - {name: push-weekly, channels: [push], limit: 1, window: {calendar: week}}     # what the question is about
  - {name: email-weekly, channels: [email], limit: 1, window: {rolling: 6d}}
quiet_hours:
  - {channels: [push], from: "21:00", to: "08:00"}
lease: 1h
"""
PLAN = """\
key: push-more
hypothesis: Whoever is reminded three times a week buys more, and does not leave.
variants:
  - {name: one, control: true, dose: 1}
  - {name: three, dose: 3, policy: {budgets: {push-weekly: {limit: 3}}}}
start: 2035-01-08
end: 2035-02-05
horizon_days: 28
inference: fixed
metrics:
  - {name: bought, kind: rate, event: purchase, within_days: 14, role: primary, direction: increase}
  - {name: left, kind: rate, event: unsubscribed, within_days: 14, role: guardrail, direction: decrease, margin: 0.1}
"""


class Shop:
    """A shop with an app and a newsletter. Three pushes a week are there for everybody; Takt says who gets which."""

    def __init__(self, takt: Caller) -> None:
        self.takt = takt
        self.now = MONDAY
        self.reached: dict[str, dict[int, int]] = {each: {} for each in PEOPLE}  # pushes by week
        self.variants: dict[str, str] = {}

    def it_is(self, week: int, day: int, hour: int) -> None:
        """Nobody waits: the calendar moves on."""
        then, self.now = self.now, MONDAY + timedelta(weeks=week, days=day, hours=hour)
        assert then < self.now
        set_clock(self.takt.service.database_url, (self.now - datetime.now(UTC)) // timedelta(microseconds=1))

    def opens(self) -> None:
        self.takt.call("POST", "/v1/policies", {"yaml": POLICY})
        zones = ("Europe/Berlin", "America/New_York")
        customers = [
            {
                "customer_id": each,
                "time_zone": zones[number % 2],
                "addresses": [{"channel": "email", "address": f"{each}@example.com"}],
            }
            for number, each in enumerate(PEOPLE)
        ]
        self.takt.call("POST", "/v1/customers/batch", {"customers": customers})

    def week_of_pushes(self, week: int) -> None:
        """Monday, Wednesday and Friday: asked for, sent, delivered; and some buy."""
        for day in (0, 2, 4):
            self.it_is(week, day, 15)
            message = f"push-{week}-{day}"
            answers = self.takt.ask_all(*(ask(each, message, channel="push") for each in PEOPLE))
            sent = [each["customer_id"] for each in answers if each["state"] == "reserved"]
            self.variants |= {each["customer_id"]: each["variants"].get("push-more", "") for each in answers}
            by_sender, by_provider = sent[::2], sent[1::2]  # the word of either is good
            self.confirm(by_sender, message)
            self.tell("delivered", by_provider, message_id=message, channel="push", topic="promotions")
            for each in sent:
                self.reached[each][week] = self.reached[each].get(week, 0) + 1
            self.it_is(week, day, 18)
            self.tell("session", sent, value=120)
            self.tell("purchase", [each for each in sent if self.reached[each][week] == needs(each)], value=40)

    def newsletter(self, week: int) -> dict[str, Any]:
        """On Saturday, one e-mail to everybody who may get it; the answers by customer."""
        self.it_is(week, 5, 15)
        message = f"news-{week}"
        found = self.takt.ask_all(*(ask(each, message, topic="newsletter") for each in PEOPLE))
        sent = [each["customer_id"] for each in found if each["state"] == "reserved"]
        self.tell("sent", sent, message_id=message, channel="email", topic="newsletter")
        return {each["customer_id"]: each for each in found}

    def confirm(self, customers: Iterable[str], message: str) -> None:
        contacts = [{"customer_id": each, "message_id": message} for each in customers]
        results = self.takt.call("POST", "/v1/contacts/confirm", {"contacts": contacts})["results"] if contacts else []
        assert all(each["state"] == "confirmed" for each in results)

    def tell(self, kind: str, customers: Iterable[str], **more: object) -> None:
        about = {"source": "shop", "type": kind, "at": self.now.isoformat(), **more}
        events = [{"id": f"{kind}-{each}-{self.now:%j-%H}", "customer_id": each, **about} for each in customers]
        if events:
            answer = self.takt.call("POST", "/v1/events", {"events": events})
            assert answer["accepted"] == len(events)
            assert self.takt.call("POST", "/v1/events", {"events": events})["duplicates"] == len(events)

    def pushes(self, week: int) -> Counter[int]:
        """How many customers got how many."""
        return Counter(each.get(week, 0) for each in self.reached.values())


def needs(customer: str) -> int:
    """After how many pushes of a week a customer buys: one, two, three, or more than anybody gets."""
    return 1 + int(customer[-3:]) % 4


@pytest.fixture
def shop(server: Server, template: str) -> Generator[Shop]:
    with (
        clean_database(server, template) as url,
        serving(url, Settings(public_url=PUBLIC_URL)) as service,
        Caller(service, timeout_s=120) as takt,
    ):
        yield Shop(takt)


def test_from_a_question_to_the_policy_that_answers_it(shop: Shop) -> None:
    takt = shop.takt

    # A policy: one push a week.
    shop.it_is(0, 0, 9)
    shop.opens()
    shop.week_of_pushes(0)
    assert shop.pushes(0) == {1: 240}
    shop.it_is(0, 6, 10)  # ten in Berlin is five in New York, and quiet there
    berlin, new_york = (takt.ask(each, None, channel="push", mode="peek") for each in PEOPLE[:2])
    assert [each["reasons"][0]["rule"] for each in (berlin, new_york)] == ["push-weekly", "quiet_hours"]

    # A question, as an experiment. Nobody who asks does anything else than before.
    shop.it_is(1, 0, 9)
    assert takt.call("POST", "/v1/experiments", {"yaml": PLAN})["state"] == "draft"
    assert takt.call("POST", "/v1/experiments/push-more/start")["plan"]["start"] == "2035-01-08"
    shop.week_of_pushes(1)
    arms = Counter(shop.variants.values())
    assert shop.pushes(1) == {1: arms["one"], 3: arms["three"]}

    # The newsletter goes out, with a link in each by which a customer leaves it.
    news = shop.newsletter(1)
    some_leave(shop, news)
    a_mailbox_is_gone(shop)
    for week in (2, 3, 4):
        shop.week_of_pushes(week)
        news = shop.newsletter(week)
        refused = {who: each["reasons"][0]["code"] for who, each in news.items() if each["verdict"] != "allow"}
        assert refused == dict.fromkeys((*LEAVERS, MOVED), "suppressed")

    # The answer, when the plan's time is over.
    shop.it_is(8, 0, 9)
    readout = takt.call("POST", "/v1/experiments/push-more/readout")
    assert readout["call"] == "ship"
    the_readout_says_what_the_books_say(shop, readout)
    takt.call("POST", "/v1/experiments/push-more/notes", {"note": "Nobody we called minded."})
    assert takt.call("GET", "/v1/experiments/push-more/readout")["findings"][0]["note"] == "Nobody we called minded."

    # It becomes the policy, and a tenth of all customers stay as they were.
    takt.call("POST", "/v1/experiments/push-more/ship", {"variant": "three", "holdout": 0.1})
    shop.week_of_pushes(8)
    held = {each for each in PEOPLE if is_held(each)}
    assert 10 < len(held) < 40
    assert all(shop.reached[each][8] == (1 if each in held else 3) for each in PEOPLE)
    assert set(shop.variants.values()) == {""}, "the question is answered"
    everybody_can_be_told_why(shop, held)
    report = in_database(takt.service.database_url, verify)
    assert report.is_clean, report.findings
    assert report.decisions > 9 * 240, "decided again from the journal, under variants and in the holdout"


def some_leave(shop: Shop, news: dict[str, Any]) -> None:
    """A scanner follows links at once, which changes nothing; people click an hour later, which is final."""
    with httpx.Client(base_url=shop.takt.service.url, timeout=30) as mail:
        for each in PEOPLE[:5]:
            assert mail.get(path_of(news[each])).status_code == 200
        shop.it_is(1, 5, 16)
        for each in LEAVERS:
            assert mail.post(path_of(news[each]), data=ONE_CLICK).status_code == 200
    assert not shop.takt.customer(PEOPLE[0])["suppressions"]
    assert {shop.takt.customer(each)["suppressions"][0]["topic"] for each in LEAVERS} == {"newsletter"}


def a_mailbox_is_gone(shop: Shop) -> None:
    """All that the mail provider knows is the address."""
    bounced = {
        "id": "b-1",
        "source": "mail-provider",
        "type": "bounced",
        "bounce": "hard",
        "at": shop.now.isoformat(),
        "channel": "email",
        "address": f"{MOVED}@example.com".upper(),
    }
    assert shop.takt.call("POST", "/v1/events", {"events": [bounced]})["accepted"] == 1


def the_readout_says_what_the_books_say(shop: Shop, readout: Any) -> None:
    people = {name: [each for each in PEOPLE if shop.variants[each] == name] for name in ("one", "three")}
    arms = {
        metric["name"]: {each["variant"]: (each["numerator"], each["denominator"]) for each in metric["arms"]}
        for metric in readout["readout"]["metrics"]
    }
    bought = {name: sum(needs(each) <= pushes for each in people[name]) for name, pushes in (("one", 1), ("three", 3))}
    left = {name: len(set(LEAVERS) & set(people[name])) for name in people}
    for metric, counted in (("bought", bought), ("left", left)):
        assert arms[metric] == {name: (counted[name], len(people[name])) for name in people}
    assert readout["eligible"]["customers"] == {name: len(people[name]) for name in people}


def everybody_can_be_told_why(shop: Shop, held: set[str]) -> None:
    """The journal explains each: by the rule that refused, under the rules of the day."""
    takt = shop.takt
    now = takt.call("GET", "/v1/policies")["in_force"]["ruleset"]
    somebody_held, somebody_else = min(held), min(set(PEOPLE) - held)
    newest = takt.journal(somebody_held)["entries"][0]
    assert (newest["message_id"], newest["entry"], newest["ruleset"]) == ("push-8-4", "refusal", now)
    assert [each["rule"] for each in newest["reasons"]] == ["push-weekly"]
    contacts = [each for each in takt.journal(somebody_else)["entries"] if each["entry"] == "contact"]
    assert [each["message_id"] for each in contacts[:3]] == ["push-8-4", "push-8-2", "push-8-0"]
    assert {each["ruleset"] for each in contacts[:3]} == {now}
    story = takt.journal(LEAVERS[0], "?limit=200")["entries"]
    (left,) = (each for each in story if each["entry"] == "change" and each["changed"] == "suppressions")
    (refused,) = (each for each in story if each.get("message_id") == "news-2")
    assert left["to"]["suppressions"][0]["reason"] == "unsubscribe"
    assert [each["code"] for each in refused["reasons"]] == ["suppressed"]
    log = [each["action"] for each in takt.call("GET", "/v1/experiments/push-more")["log"]]
    assert log == ["created", "start", "note", "ship"]


def is_held(customer: str) -> bool:
    """As docs/assignment.md says, from the customer's id and the holdout's seed alone."""
    return Draw("holdout", "push-more:holdout").pair(customer.encode())[0] < threshold(0.1)
