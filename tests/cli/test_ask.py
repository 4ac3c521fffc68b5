"""`takt ask`, `confirm`, `release` and `why`: what people read, what scripts read, and how it ends."""

import json

from tests.cli.command import takt
from tests.service import Service

WIDTH = 80


def ask(service: Service, customer: str, message_id: str, *more: str, channel: str = "email") -> tuple[int, str]:
    ended = takt(
        service, "ask", customer, "--channel", channel, "--topic", "promotions", "--message-id", message_id, *more
    )
    return ended.code, ended.out


def test_an_allowed_ask_ends_with_0_and_says_how_to_confirm_it(service: Service, ada: str) -> None:
    code, out = ask(service, ada, "m-1")
    assert code == 0
    assert out.startswith(f"allow: email about promotions to {ada}\n")
    assert f"takt confirm {ada} m-1" in out
    assert "email-weekly" in out
    assert takt(service, "confirm", ada, "m-1").out == f"Message m-1 to {ada} is confirmed.\n"
    assert "changed nothing" in takt(service, "confirm", ada, "m-1").err


def test_a_refused_ask_ends_with_3_and_says_why(service: Service, ada: str) -> None:
    ask(service, ada, "m-1")
    code, out = ask(service, ada, "m-2", "--campaign", "autumn")
    assert code == 3
    assert out.startswith("defer:")
    assert "spacing: another contact is too near" in out
    takt(service, "release", ada, "m-1")
    assert ask(service, ada, "m-2", "--campaign", "autumn")[0] == 0


def test_an_answer_as_json_is_the_whole_answer(service: Service, ada: str) -> None:
    code, out = ask(service, ada, "m-1", "--json")
    answer = json.loads(out)
    assert code == 0
    assert (answer["verdict"], answer["state"], answer["may_send"]) == ("allow", "reserved", True)
    assert answer["ask"]["customer_id"] == ada


def test_a_message_id_is_made_up_only_where_something_is_reserved(service: Service, ada: str) -> None:
    asked = ("ask", ada, "--channel", "email", "--topic", "promotions")
    assert "takt confirm" not in takt(service, *asked, "--mode", "peek").out
    assert f"takt confirm {ada} cli:" in takt(service, *asked).out


def test_an_ask_that_cannot_be_is_refused_in_one_sentence(service: Service, ada: str) -> None:
    asked = ("ask", ada, "--channel", "pigeon", "--topic", "promotions")
    assert "channel: found 'pigeon'" in takt(service, *asked).sentence
    ended = takt(service, "ask", ada, "--channel", "email", "--topic", "x", "--send-at", "tomorrow")
    assert ended.code == 2
    assert "offset" in ended.err
    assert "not reserved" in takt(service, "confirm", ada, "never").sentence


def test_why_tells_the_story_in_the_customers_time(service: Service, ada: str) -> None:
    rows = json.dumps({"customer_id": ada, "time_zone": "Asia/Kathmandu", "tier": "gold"})
    takt(service, "customers", "import", "-", stdin=rows.encode())
    ask(service, ada, "m-1", "--campaign", "autumn")
    ask(service, ada, "m-2", "--team", "crm")
    takt(service, "confirm", ada, "m-1")
    story = takt(service, "why", ada).out
    assert story.startswith(f"{ada}, in Asia/Kathmandu. The newest first.\n")
    places = [story.index(each) for each in ("confirmed\n", "deferred\n", "allowed\n", "on file: profile\n")]
    assert places == sorted(places)
    assert "    email, promotions, campaign autumn, message m-1\n" in story
    assert "    email, promotions, team crm, message m-2\n    spacing: another contact is too near\n" in story
    assert "attributes: tier gold" in story
    assert story.count(" UTC)") >= 4
    assert max(map(len, story.splitlines())) <= WIDTH
    assert "\x1b" not in story
    short = takt(service, "why", ada, "--limit", "2").out
    assert "There is more: takt why" in short
    entries = json.loads(takt(service, "why", ada, "--json").out)["entries"]
    assert [each["entry"] for each in entries] == ["resolution", "refusal", "contact", "change"]


def test_why_says_what_events_left_on_file(service: Service, ada: str) -> None:
    told = [
        {"customer_id": ada, "type": "unsubscribed", "channel": "email", "at": "2026-01-02T12:00:00Z"},
        {"customer_id": ada, "type": "case_opened", "at": "2026-01-03T12:00:00Z"},
    ]
    rows = "".join(f"{json.dumps({'source': 'crm', 'id': f'{ada}-{n}', **each})}\n" for n, each in enumerate(told))
    takt(service, "events", "import", "-", stdin=rows.encode())
    story = takt(service, "why", ada).out
    assert "on file: suppressions\n    suppressions: channel email, reason unsubscribe" in story
    assert "on file: outcomes\n    cases: opened_by case_opened, opened_at 2026-01-03T12:00:00Z" in story
    assert "nothing is left" not in story


def test_why_of_somebody_never_heard_of(service: Service, ada: str) -> None:
    assert "never asked about" in takt(service, "why", ada).sentence
