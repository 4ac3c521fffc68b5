"""The judge judged: histories made by hand, good ones that must pass and bad ones that must not."""

import ast
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from engine.core.policy import Rolling
from engine.operations.plan_file import load_plan, misfits
from engine.operations.policy_file import load_policy
from tests.chaos import oracle
from tests.chaos.by_hand import ADA, asked, change, checks, contact, evidence, refusal, resolution, sent, us
from tests.chaos.evidence import (
    CONFIRMED,
    LATE,
    MARKED,
    PRESUMED,
    RELEASED,
    REVOKED,
    Activated,
    Change,
    Chose,
    Down,
    Entry,
    Evidence,
    Ran,
    Resolved,
    Told,
    Try,
    Unanswered,
)
from tests.chaos.history import shortest
from tests.chaos.oracle import judge
from tests.chaos.policy import BUDGETS, DOSES, TESTED, YAML, plan

GOOD: dict[str, Sequence[Entry]] = {
    "sent and confirmed, then another after the gap": [
        contact(1, 0), resolution(2, 0.5, 1, CONFIRMED), contact(3, 1.5, "m2")],
    "the gap counts from the confirmation, up to the microsecond": [
        contact(1, 0), resolution(2, 0.5, 1, CONFIRMED), refusal(3, 1.499999, "gap"), contact(4, 1.5, "m2")],
    "an expired lease gives back": [contact(1, 0), refusal(2, 1.999999, "gap"), contact(3, 2, "m2")],
    "asked again at the very end of its lease": [contact(1, 0), contact(2, 2, attempt=2)],
    "refused at the very end of its lease": [
        contact(1, 0), contact(2, 2, "m2"), resolution(3, 2, 2, CONFIRMED), refusal(4, 2, "gap", "m1")],
    "a presumed one is sent at the end of its lease": [
        contact(1, 0, lease=PRESUMED), refusal(2, 2.9, "gap"), contact(3, 3, "m2")],
    "released, then refused": [contact(1, 0), resolution(2, 0.1, 1, RELEASED), refusal(3, 0.2, "news", "m1")],
    "released, then asked again": [contact(1, 0), resolution(2, 0.1, 1, RELEASED), contact(3, 0.2, attempt=2)],
    "confirmed after it expired": [contact(1, 0), resolution(2, 2.5, 1, LATE), refusal(3, 3.4, "gap")],
    "confirmed after it was released": [
        contact(1, 0), resolution(2, 0.1, 1, RELEASED), resolution(3, 0.2, 1, LATE)],
    "a presumed one confirmed after all": [contact(1, 0, lease=PRESUMED), resolution(2, 2.5, 1, MARKED)],
    "an unsubscribe revokes": [
        contact(1, 0), change(2, 0.5, "news"), resolution(3, 0.5, 1, REVOKED), contact(4, 0.6, "m2", topic="offers")],
    "an unsubscribe leaves alone what has ended": [
        contact(1, 0), resolution(2, 0.5, 1, CONFIRMED), contact(3, 1.5, "m2"), change(4, 3.5, "news")],
    "an unsubscribe leaves alone what was sent at an instant to come": [
        contact(1, 0, start=3, lease_s=1), resolution(2, 0.5, 1, CONFIRMED), change(3, 1, "news")],
    "a window counts those of its own budget and campaign": [
        *(contact(n, 4 * n, f"m{n}", lease_s=1, lease=PRESUMED) for n in range(1, 5)),
        contact(5, 20, "m5", campaign="autumn")],
    "a presumed one counts to its end, though an unsubscribe revokes it": [
        contact(1, 0, lease=PRESUMED), change(2, 0.5, "news"), resolution(3, 0.5, 1, REVOKED), refusal(4, 2.9, "gap")],
    "planned ahead, presumed and revoked before its time": [
        contact(1, 0, start=3, lease=PRESUMED), change(2, 1, "news"), resolution(3, 1, 1, REVOKED),
        contact(4, 2.5, "m2", topic="offers")],
    "planned ahead, and another before it": [contact(1, 0, start=9, lease_s=1), contact(2, 0.1, "m2", lease_s=1)],
}  # fmt: skip

BAD: dict[str, tuple[str, Sequence[Entry]]] = {
    "two within the gap": ("1 over", [contact(1, 0), resolution(2, 0.5, 1, CONFIRMED), contact(3, 1.499999, "m2")]),
    "two leases at once": ("1 over", [contact(1, 0), contact(2, 0.1, "m2")]),
    "before the end of a presumed lease and its window": (
        "1 over", [contact(1, 0, lease=PRESUMED), contact(2, 2.999999, "m2")]),
    "into a planned one": ("1 over", [contact(1, 0, start=3, lease_s=1), contact(2, 0.1, "m2", lease_s=2)]),
    "three of two in another budget": (
        "1 over", [contact(n, n, f"m{n}", channel="email", lease_s=0.5, lease=PRESUMED) for n in (1, 2, 3)]),
    "five of four in a campaign": ("1 over", [
        contact(n, 4 * n, f"m{n}", lease_s=1, lease=PRESUMED) for n in range(1, 6)]),
    "refused though it was released": (
        "5 returned", [contact(1, 0), resolution(2, 0.1, 1, RELEASED), refusal(3, 0.2, "gap")]),
    "refused though the window is over": (
        "5 returned", [contact(1, 0), resolution(2, 0.5, 1, CONFIRMED), refusal(3, 1.5, "gap")]),
    "a number twice": ("2 numbering", [contact(1, 0), refusal(1, 0.1, "gap")]),
    "a number missing": ("2 numbering", [contact(1, 0), resolution(3, 0.5, 1, CONFIRMED)]),
    "two live contacts of a message": ("3 twice", [contact(1, 0), contact(2, 2.5, attempt=1)]),
    "a second attempt just before the lease ends": ("3 twice", [contact(1, 0), contact(2, 1.999999, attempt=2)]),
    "a second attempt of a presumed one": ("3 twice", [contact(1, 0, lease=PRESUMED), contact(2, 9, attempt=2)]),
    "a second attempt of a live one": (
        "3 twice", [contact(1, 0), resolution(2, 0.1, 1, CONFIRMED), contact(3, 2.5, attempt=2)]),
    "a second attempt of a revoked one": (
        "3 twice", [contact(1, 0), resolution(2, 0.1, 1, REVOKED), contact(3, 2.5, attempt=2)]),
    "refused though its contact lives": ("3 twice", [contact(1, 0), refusal(2, 0.1, "gap", "m1")]),
    "refused though it was confirmed": (
        "3 twice", [contact(1, 0), resolution(2, 0.1, 1, CONFIRMED), refusal(3, 0.2, "gap", "m1")]),
    "released twice": (
        "4 resolved", [contact(1, 0), resolution(2, 0.1, 1, RELEASED), resolution(3, 0.2, 1, RELEASED)]),
    "released after it was confirmed": (
        "4 resolved", [contact(1, 0), resolution(2, 0.1, 1, CONFIRMED), resolution(3, 0.2, 1, RELEASED)]),
    "released ahead of its time, after it was confirmed": (
        "4 resolved", [contact(1, 0, start=3), resolution(2, 0.5, 1, CONFIRMED), resolution(3, 1, 1, RELEASED)]),
    "confirmed after it was released, unflagged": (
        "4 resolved", [contact(1, 0), resolution(2, 0.1, 1, RELEASED), resolution(3, 0.2, 1, CONFIRMED)]),
    "released after it expired": ("4 resolved", [contact(1, 0), resolution(2, 2, 1, RELEASED)]),
    "late while it was open": ("4 resolved", [contact(1, 0), resolution(2, 0.1, 1, LATE)]),
    "marked while it was open": ("4 resolved", [contact(1, 0, lease=PRESUMED), resolution(2, 0.1, 1, MARKED)]),
    "nothing to resolve": ("4 resolved", [resolution(1, 0, 7, RELEASED)]),
    "confirmed after it expired, unflagged": ("10 late", [contact(1, 0), resolution(2, 2, 1, CONFIRMED)]),
    "allowed after an unsubscribe": ("6 allowed", [change(1, 0, "news"), contact(2, 1)]),
    "a lease that an unsubscribe left open": (
        "6 revoked", [contact(1, 0), change(2, 0.5, "news"), refusal(3, 0.6, "gap")]),
    "stamped before its predecessor": ("8 clock", [contact(1, 5), refusal(2, 4, "gap")]),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_passes(name: str) -> None:
    assert judge(evidence(*GOOD[name])) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_does_not(name: str) -> None:
    check, entries = BAD[name]
    assert check in checks(evidence(*entries))


def test_what_was_acknowledged_must_be_there() -> None:
    row = contact(1, 0)
    released = resolution(2, 0.5, 1, RELEASED)
    refused = refusal(3, 0.6, "email", "m2")
    no = asked(contact(0, 0.6, "m2"), allowed=False, state=None, expires=0)
    told = Resolved(ADA, "m1", 1, "released", True, us(0.5), us(0.3), us(0.6))
    assert checks(evidence(row, asks=[asked(row)])) == set()
    assert checks(evidence(row, released, resolved=[told])) == set()
    assert "2 lost" not in checks(evidence(row, released, refused, asks=[no]))
    assert checks(evidence(asks=[asked(row)])) == {"2 lost"}
    assert checks(evidence(row, asks=[asked(row, expires=row.end + 1)])) == {"2 lost"}
    assert checks(evidence(row, asks=[asked(row, decided=row.at + 1)])) == {"2 lost"}
    assert checks(evidence(row, asks=[no])) == {"2 lost"}
    assert checks(evidence(row, resolved=[told])) == {"2 lost"}
    assert checks(evidence(resolved=[told])) == {"2 lost"}
    assert checks(evidence(row, resolved=[told._replace(state="expired", applied=False)])) == set()
    assert checks(evidence(row, released, resolved=[told._replace(state="confirmed")])) == {"2 lost"}
    assert checks(evidence(row, released, resolved=[told._replace(at=us(0.4))])) == {"2 lost"}


def test_an_unsubscribe_and_an_activation_must_be_there() -> None:
    gone = [Chose(ADA, None, "news", True, us(-1), us(0))]
    assert checks(Evidence(chosen=gone)) == {"2 lost"}
    assert checks(Evidence(chosen=gone, suppressed={(ADA, None, "news")})) == set()
    assert checks(Evidence(chosen=gone, suppressed={(ADA, "push", "news")})) == {"2 lost"}
    back = [*gone, Chose(ADA, None, "news", False, us(1), us(2))]
    assert checks(Evidence(chosen=back, suppressed={(ADA, None, "news")})) == {"2 lost"}
    assert checks(Evidence(chosen=back)) == set()
    assert checks(Evidence(activated=[Activated(us(0), 2)])) == {"2 lost"}


def test_an_event_is_there_once_and_a_send_that_it_tells_is_on_record() -> None:
    there = Counter({(ADA, "e-1"): 1})
    assert checks(Evidence(told={Told(ADA, "e-1", None)}, events=there)) == set()
    assert checks(Evidence(told={Told(ADA, "e-1", None)})) == {"2 events"}
    assert checks(Evidence(told={Told(ADA, "e-1", None)}, events=there + there)) == {"2 events"}
    about = {"told": {Told(ADA, "e-1", "m1")}, "events": there}
    assert checks(evidence(contact(1, 0), **about)) == {"2 events"}
    assert checks(evidence(contact(1, 0), resolution(2, 0.5, 1, CONFIRMED), **about)) == set()
    assert checks(evidence(contact(1, 0), resolution(2, 0.5, 1, RELEASED), **about)) == {"2 events"}
    assert checks(evidence(contact(1, 0, lease=0)._replace(asked=False), **about)) == set()
    assert checks(evidence(**about)) == {"2 events"}


def test_who_asks_while_an_experiment_runs_is_in_it_and_nobody_before_or_after() -> None:
    row = contact(1, 1, channel="email")
    ran = Ran(since=row.at - 30, began=row.at - 20, ending=row.at + 20, ended=row.at + 30)
    yes, no = asked(row, variants={"x": "three"}), asked(row)
    more = {"ran": {"x": ran}, "entered": {(ADA, "x"): "three"}}
    assert checks(evidence(row, asks=[yes], **more)) == set()
    assert checks(evidence(row, asks=[no], **more)) == {"15 ruleset"}
    assert checks(evidence(row, asks=[no._replace(channel="push")], **more)) == set()
    refused = refusal(1, 1, "email", channel="email")._replace(rules=())
    answer = no._replace(message="m2", allowed=False, state=None, expires=0)
    assert checks(evidence(refused, asks=[answer], **more)) == set()
    assert checks(evidence(row, asks=[yes], ran={"x": ran}, entered={(ADA, "x"): "one"})) == {"2 lost"}
    early, late = yes._replace(asked=row.at - 21), yes._replace(got=row.at + 21)
    for each in (early, late):
        assert checks(evidence(row, asks=[each], **more)) == set()
        assert checks(evidence(row, asks=[each._replace(variants={})], **more)) == set()
    before, after = replace(ran, since=row.at + 10, began=row.at + 11), replace(ran, ending=us(0), ended=row.at - 10)
    for each in (before, after):
        assert checks(evidence(row, asks=[yes], **{**more, "ran": {"x": each}})) == {"15 ruleset"}
        assert checks(evidence(row, asks=[no], **{**more, "ran": {"x": each}})) == set()


def test_the_limit_is_that_of_the_customers_variant() -> None:
    rows = [contact(n, n / 10, f"m{n}", channel="email", lease_s=5) for n in (1, 2, 3)]
    assert checks(evidence(*rows)) == {"1 over"}
    assert checks(evidence(*rows[:2], rows[2]._replace(dose=3))) == set()
    assert checks(evidence(rows[0], rows[1]._replace(dose=1))) == {"1 over"}
    refused = refusal(2, 0.3, "email", channel="email")
    assert checks(evidence(rows[0], refused)) == {"5 returned"}
    assert checks(evidence(rows[0], refused._replace(dose=1))) == set()


def test_what_nobody_asked_for_occupies_and_is_bound_by_nothing() -> None:
    told = contact(2, 0.1, "m2", lease_s=0, lease=0)._replace(asked=False)
    assert checks(evidence(contact(1, 0), told)) == set()
    assert checks(evidence(change(1, 0, "news"), told)) == set()
    assert checks(evidence(told._replace(seq=1), contact(2, 1, "m3"))) == {"1 over"}
    assert checks(evidence(told._replace(seq=1), contact(2, 1.1, "m3"))) == set()


def test_what_never_got_an_answer_is_a_violation() -> None:
    assert checks(Evidence(unanswered=[Unanswered("an ask", ADA, us(0))])) == {"11 answer"}


def test_nothing_is_allowed_after_an_acknowledged_unsubscribe() -> None:
    row = contact(1, 1)
    gone = Chose(ADA, None, "news", True, row.at - 20, row.at)
    more = {"chosen": [gone], "suppressed": {(ADA, None, "news")}}
    after = asked(row, asked=row.at + 1)
    assert checks(evidence(row, asks=[asked(row)], **more)) == set()  # asked before it was acknowledged
    assert checks(evidence(row, asks=[after], **more)) == {"6 allowed"}
    refused = refusal(1, 1, "news")
    assert checks(evidence(refused, asks=[after._replace(message="m2", allowed=False, expires=0)], **more)) == set()
    back = [gone, Chose(ADA, None, "news", False, row.at + 5, row.at + 20)]
    assert checks(evidence(row, asks=[after], chosen=back)) == set()  # on the way back when it was answered
    assert checks(evidence(row, asks=[after], chosen=[gone, back[1]._replace(since=row.at + 9)])) == {"6 allowed"}
    again = [*back, Chose(ADA, None, "news", True, row.at + 21, row.at + 22)]
    finally_ = asked(row, asked=row.at + 23, got=row.at + 24)
    assert checks(evidence(row, asks=[finally_], chosen=back)) == set()
    assert checks(evidence(row, asks=[finally_], **{**more, "chosen": again})) == {"6 allowed"}


def test_an_unsubscribe_holds_in_its_scope() -> None:
    for channel in (None, "push"):
        closed = Change(ADA, 1, us(0), frozenset({(channel, "news")}))
        assert checks(evidence(closed, contact(2, 1))) == {"6 allowed"}
        assert checks(evidence(closed, contact(2, 1, topic="offers"))) == set()
        assert checks(evidence(closed, contact(2, 1, channel="email"))) == ({"6 allowed"} if channel is None else set())
        opened = Change(ADA, 2, us(0.5), frozenset())
        assert checks(evidence(closed, opened, contact(3, 1))) == set()
    assert checks(evidence(contact(1, 0), Change(ADA, 2, us(0.1), None), contact(3, 2, "m2"))) == set()


def test_an_ask_is_decided_under_the_rules_acknowledged_before_it() -> None:
    row = contact(1, 1)
    more = {"activated": [Activated(row.at - 10, 2)], "rulesets": {1, 2}}
    assert checks(evidence(row, asks=[asked(row)], **more)) == {"15 ruleset"}
    assert checks(evidence(row, asks=[asked(row, ruleset=2)], **more)) == set()
    assert checks(evidence(row, asks=[asked(row, replayed=True)], **more)) == set()
    assert checks(evidence(row, asks=[asked(row, asked=row.at - 11)], **more)) == set()


def test_one_contact_is_allowed_afresh_once() -> None:
    row = contact(1, 0)
    assert checks(evidence(row, asks=[asked(row), asked(row, replayed=True)])) == set()
    assert checks(evidence(row, asks=[asked(row), asked(row)])) == {"3 twice"}


def test_sends_are_counted_by_the_provider() -> None:
    rows = [
        contact(1, 0, channel="in_app"),
        contact(2, 0.1, "m2", channel="in_app"),
        contact(3, 0.2, "m3", channel="in_app"),
    ]
    fourth = contact(4, 9.5, "m4", channel="in_app")
    sends = [sent(at, f"m{n}", "in_app") for n, at in ((1, 1.5), (2, 1.5), (3, 1.5))]
    late = [*sends[:2], sends[2]._replace(at=us(2.2))]
    assert "1 sent" not in checks(evidence(*rows, fourth, sends=[*sends, sent(10.5, "m4", "in_app")]))
    assert "1 sent" in checks(evidence(*rows, fourth, sends=[*sends, sent(10.4, "m4", "in_app")]))
    assert "1 lease" in checks(evidence(*rows, sends=late))
    assert checks(evidence(contact(1, 0), sends=[sent(0.5, "m1"), sent(0.6, "m1")])) == {"1 lease"}
    assert "1 lease" in checks(evidence(*rows, sends=[sent(1, "unknown")]))


def test_late_sends_stand_apart() -> None:
    rows = [contact(1, 0), contact(2, 2.1, "m2")]
    sends = [sent(1.9, "m1"), sent(2.2, "m2")]
    assert checks(evidence(*rows, sends=sends)) == {"1 sent"}
    assert checks(evidence(*rows, resolution(3, 2.5, 1, LATE), sends=sends)) == set()


def test_what_was_sent_and_then_revoked_stands_apart() -> None:
    rows = [contact(1, 0), change(2, 0.5, "news"), resolution(3, 0.5, 1, REVOKED), contact(4, 0.6, "m2", topic="new")]
    assert checks(evidence(*rows, sends=[sent(0.4, "m1"), sent(0.7, "m2")])) == set()
    released = [rows[0], change(2, 0.5), resolution(3, 0.5, 1, RELEASED), rows[3]]
    assert checks(evidence(*released, sends=[sent(0.4, "m1"), sent(0.7, "m2")])) == {"1 sent"}


def test_an_account_without_its_journal_is_noticed() -> None:
    assert checks(Evidence(last_seq={ADA: 2})) == {"2 numbering"}


def test_an_outage_allows_nothing_and_says_when_to_come_again() -> None:
    down = Down("stopped", us(0), us(3), None)
    busy = Try("ask", us(1), us(2), 503, "1", 8000, ADA, False)
    yes = busy._replace(status=200, retry_after=None, allowed=True)
    assert checks(Evidence(downs=[down], tries=[busy])) == set()
    assert checks(Evidence(downs=[down], tries=[yes._replace(got=us(3.1))])) == set()
    assert checks(Evidence(downs=[down], tries=[yes._replace(asked=us(-0.1))])) == set()
    assert checks(Evidence(downs=[down._replace(customer="bob")], tries=[yes])) == set()
    assert checks(Evidence(downs=[down], tries=[yes])) == {"11 allowed"}
    assert checks(Evidence(downs=[down._replace(customer=ADA)], tries=[yes])) == {"11 allowed"}
    assert checks(Evidence(tries=[busy._replace(status=500)])) == {"11 status"}
    assert checks(Evidence(tries=[busy._replace(retry_after=None)])) == {"11 status"}


def test_the_shortest_story_is_told_with_its_seed() -> None:
    found = evidence(*BAD["two leases at once"][1])
    told = shortest(found, judge(found), seed=7)
    assert "seed 7" in told
    assert "1 over: m2 with 1/1 used of gap" in told
    assert len(told.splitlines()) == 3


def test_the_budgets_of_the_judge_are_those_of_the_policy() -> None:
    policy = {each.name: each for each in load_policy(YAML).budgets}
    for budget in BUDGETS:
        given = policy.pop(budget.name)
        assert isinstance(given.window, Rolling)
        assert (given.limit, given.window.effective_us) == (budget.limit, budget.window_us)
        assert (given.per is not None) is budget.per_campaign
        assert given.selector.channels == (frozenset(budget.channels) if budget.channels else None)
    assert set(policy) == {"day"}


def test_the_doses_of_the_judge_are_those_of_the_plan() -> None:
    read = load_plan(plan("x"))
    assert {each.name: each.dose for each in read.experiment.variants} == DOSES
    assert not misfits(load_policy(YAML), read.experiment), "the control is the policy, and patches name its budget"
    (budget,) = (each for each in BUDGETS if each.name == TESTED)
    assert (budget.channels, next(iter(DOSES.values()))) == ((TESTED,), budget.limit)


def test_the_judge_is_small_and_knows_nothing_of_the_engine() -> None:
    folder = Path(oracle.__file__).parent
    for path in (folder / f"{name}.py" for name in ("oracle", "evidence", "gather", "policy")):
        names = [
            ast.dump(each)
            for each in ast.walk(ast.parse(path.read_text()))
            if isinstance(each, ast.Import | ast.ImportFrom)
        ]
        assert not any("'engine" in each for each in names), path
    assert len(Path(oracle.__file__).read_text().splitlines()) <= 200
