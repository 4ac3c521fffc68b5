"""What an experiment stands on besides its own budgets: what of it a policy moves is told, and nothing else is."""

from collections.abc import AsyncGenerator

import pytest

from engine.operations import experiments, policies
from engine.operations.footing import moved
from engine.operations.policy_file import load_policy
from engine.operations.readouts import Readouts
from engine.operations.ship import ship
from engine.store.database import Database
from tests.operations.experimenting import ANN, in_force, jump, running, shop
from tests.operations.plans import AA, EMAIL, PLAN, POLICY, layered, plan

SMALL = """\
schema: 1
mode: enforce
unknown_timezone: Europe/Berlin
topics:
  promotions: {purpose: sell}
  newsletter: {purpose: sell}
  orders: {purpose: serve, exempt: true}
budgets:
  - {name: email-weekly, channels: [email], limit: 2, window: {rolling: 7d}}
  - {name: often, limit: 9, window: {rolling: 1d}}
lease: 5m
"""
WEEK = "window: {rolling: 7d}"


def beside(budget: str) -> tuple[str, str]:
    """One more budget."""
    return "lease: 5m\n", f"  - {{name: all, {budget}}}\nlease: 5m\n"


def told(text: str, was: str = SMALL, experiment: str = EMAIL) -> list[str]:
    return moved(load_policy(was), load_policy(text), plan(experiment).experiment)


@pytest.mark.parametrize(
    ("was", "becomes", "sentence"),
    [
        ("enforce", "observe", "the policy only observes"),
        ("promotions: {purpose: sell", "promotions: {exempt: true, purpose: sell", "the topic promotions is exempt"),
        ("exempt: true", "exempt: false", "the topic orders is not exempt any more"),
        ("newsletter: {", "newsletter: {counts: false, ", "the topic newsletter uses no budget any more"),
        ("  newsletter: {purpose: sell}\n", "", "there is no topic newsletter any more"),
        (*beside(f"limit: 1, {WEEK}"), "the budget all (1 in 7d) allows fewer a day than a variant does"),
        (*beside(f"limit: 2, {WEEK}"), "the budget all (2 in 7d) allows fewer a day than a variant does"),
        (*beside(f"limit: 0, teams: [crm], {WEEK}"), "the budget all (0 in 7d) allows fewer"),
        (*beside(f"limit: 1, topics: [newsletter], {WEEK}"), "the budget all (1 in 7d) allows fewer"),
        (*beside("limit: 9, window: {calendar: month}"), "the budget all (9 a calendar month) allows fewer"),
        (*beside("limit: 100, window: lifetime"), "the budget all (100 ever) allows fewer"),
        (*beside("min_gap: 3d"), "the budget all (1 in 3d) allows fewer"),
        (*beside(f"limit: 5, weights: {{email: 2}}, {WEEK}"), "the budget all (5 in 7d) allows fewer"),
        (*beside(f"limit: 3, hold_back: {{keep: 1, for_priority: 70}}, {WEEK}"), "the budget all (3 in 7d) allows"),
        (*beside(f"limit: null, overrides: [{{when: {{tier: new}}, limit: 1}}], {WEEK}"), "the budget all (no limit"),
        ("limit: 9, window: {rolling: 1d}", "limit: 9, window: {rolling: 30d}", "the budget often (9 in 30d) allows"),
    ],
)
def test_what_is_moved_is_told(was: str, becomes: str, sentence: str):
    assert was in SMALL
    (found,) = told(SMALL.replace(was, becomes))
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        beside(f"limit: 3, {WEEK}"),
        beside("limit: 3, window: {calendar: week}"),
        beside("limit: 1, window: {calendar: day}"),
        beside("limit: 2000, window: lifetime"),
        beside("min_gap: 16h"),
        beside(f"limit: 1, {WEEK}, shadow: true"),
        beside(f"limit: 1, channels: [push, sms], {WEEK}"),
        beside(f"limit: 6, weights: {{email: 2, phone: 6}}, {WEEK}"),
        beside(f"limit: 4, hold_back: {{keep: 1, for_priority: 70}}, {WEEK}"),
        ("limit: 9", "limit: 8"),
        ("often", "seldom"),
        ("  - {name: often, limit: 9, window: {rolling: 1d}}\n", ""),
        ("topics:\n", "topics:\n  surveys: {purpose: ask}\n"),
        ("topics:\n", "topics:\n  news: {purpose: serve, exempt: true}\n"),
        ("newsletter: {purpose: sell}", "newsletter: {purpose: ask, consent: opt_in}"),
        ("lease: 5m\n", "lease: 9m\nquiet_hours:\n  - {channels: [email], from: '21:00', to: '08:00'}\n"),
        ("lease: 5m\n", "channels:\n  email: {consent: opt_in}\nsoft_bounces: {suppress_after: 2, within: 30d}\n"),
        ("limit: 2,", "limit: 2, when_exceeded: deny,"),  # its own budget: that is told otherwise
    ],
)
def test_what_cannot_matter_is_not(was: str, becomes: str):
    assert was in SMALL
    assert told(SMALL.replace(was, becomes)) == []


def test_what_is_moved_back_is_told_again():
    for was, becomes, sentence in (
        ("enforce", "observe", "the policy does not only observe any more"),
        ("newsletter: {", "newsletter: {counts: false, ", "the topic newsletter uses budgets"),
        (
            *beside(f"limit: 1, {WEEK}"),
            "the budget all (1 in 7d), which allowed fewer a day than a variant, does so no",
        ),
    ):
        (found,) = told(SMALL, SMALL.replace(was, becomes))
        assert found.startswith(sentence)
    one, two = (SMALL.replace(*beside(f"limit: {limit}, {WEEK}")) for limit in (1, 2))
    assert told(one, two) == ["the budget all (1 in 7d) allows fewer a day than a variant does"]
    assert told(one.replace("name: all", "name: whole"), one) == [], "another name is nothing else"


def test_only_of_contacts_that_both_count_and_by_what_these_weigh():
    news = f"  - {{name: news, channels: [push], topics: [newsletter], limit: 1, {WEEK}}}\n"
    assert told(POLICY + news, POLICY, PLAN) == [], "its budget counts promotions alone"
    assert len(told(POLICY + news.replace("newsletter", "newsletter, promotions"), POLICY, PLAN)) == 1
    heavy = SMALL.replace("channels: [email], limit: 2,", "channels: [email], limit: 2, weights: {email: 2},")
    assert told(heavy.replace(*beside(f"limit: 2, {WEEK}")), heavy) == [], "3 are one and a half of them"
    assert len(told(heavy.replace(*beside(f"limit: 1, {WEEK}")), heavy)) == 1


def test_without_a_limit_in_some_variant_every_limit_is_tighter():
    unlimited = EMAIL.replace("dose: 3, ", "").replace("limit: 3", "limit: null")
    often = "the budget often (8 in 1d) allows fewer a day than a variant does"
    assert told(SMALL.replace("limit: 9", "limit: 8"), experiment=unlimited) == [often]


def test_nothing_is_told_of_what_changes_no_budget_or_where_nothing_binds_anyway():
    assert told(SMALL.replace("enforce", "observe"), experiment=AA) == []
    observed = SMALL.replace("enforce", "observe")
    assert told(observed.replace(*beside(f"limit: 1, {WEEK}")), observed) == []


def test_of_very_much_some_is_told():
    many = "".join(f"  topic-{i:02}: {{purpose: sell}}\n" for i in range(40))
    found = told(SMALL, SMALL.replace("topics:\n", f"topics:\n{many}"))
    assert (len(found), found[0], found[-1]) == (11, "there is no topic topic-00 any more", "30 more like these")


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    async with shop(database_url) as opened:
        yield opened


@pytest.mark.anyio
async def test_who_takes_away_what_an_experiment_stands_on_is_warned_and_its_log_and_readouts_say_so(
    database: Database,
):
    key = await running(database)
    observing = POLICY.replace("schema: 1\n", "schema: 1\nmode: observe\n")
    (warning,) = (await policies.activate(database, observing, author="bob")).warnings
    assert warning == (
        "The experiment 'push-more' is running, and what it stands on is otherwise now, for its control too: the policy"
        " only observes. Its log and its readouts say so."
    )
    assert (await policies.activate(database, observing, author="bob")).warnings == (), "it is as it was"
    (*_, entry) = (await experiments.whole(database, key)).log
    assert (entry.action, entry.author, entry.note) == (
        "policy",
        "bob",
        "with version 2 of the policy, the policy only observes",
    )
    assert entry.data == {"version": 2, "beside": ["the policy only observes"]}
    wider = POLICY.replace("window: {rolling: 7d}\n    overrides", "window: {rolling: 8d}\n    overrides")
    tighter = wider + f"  - {{name: all, limit: 1, {WEEK}}}\n"
    own, *others = (await policies.activate(database, tighter, author="bob")).warnings
    assert "a budget that it changes is another now" in own
    assert [each.count("all (1 in 7d) allows fewer") for each in others] == [1], "two things at once are told apart"
    assert (await policies.activate_version(database, 1, author="bob")).warnings[1].count("does so no more") == 1
    cautions = (await Readouts(database).refresh(key)).snapshot.readout["cautions"]
    day = experiments.day_of(entry.at_us)
    assert cautions[0] == (
        f"Since {day}, with version 2 of the policy, the policy only observes, for the control too: before and after it"
        " something else was compared."
    )
    assert cautions[1].startswith(f"A budget that this experiment changes became another on {day}, with version 4 of")
    assert "version 4 of the policy, the policy does not only observe any more; the budget all" in cautions[2]
    assert len([each for each in cautions if "something else was compared" in each]) == 5


@pytest.mark.anyio
async def test_what_a_variant_did_not_stand_on_when_it_was_tested_it_ships_with_a_warning(database: Database):
    key = await running(database)
    jump(database, 91)
    await experiments.stop(database, key, ANN)
    observing = POLICY.replace("schema: 1\n", "schema: 1\nmode: observe\n")
    assert (await policies.activate(database, observing, author="bob")).warnings == (), "it runs no more"
    taken = await ship(database, key, ANN, variant="three")
    assert taken.warnings == ("Not as it was tested: since the start, the policy only observes.",)
    assert (await in_force(database)).policy_version == 3


@pytest.mark.anyio
async def test_a_ship_that_holds_back_another_running_experiment_says_so_in_its_log_too(database: Database):
    """Two that one ask may be charged to share a layer; then the shipped limit holds for the customers of both."""
    low = PLAN.replace("push-more", "any-fewer").replace("push-weekly", "any-weekly").replace("dose: 1", "dose: 9")
    low = low.replace("dose: 3", "dose: 0").replace("limit: 3", "limit: 0")
    await running(database, layered(low, 0, 5000))
    await running(database, layered(EMAIL, 5000, 10000))
    jump(database, 91)
    taken = await ship(database, "any-fewer", ANN, variant="three")
    (warning,) = taken.warnings
    assert "'email-more' is running" in warning
    assert "the budget any-weekly (0 in 7d) allows fewer a day than a variant does" in warning
    (*_, entry) = (await experiments.whole(database, "email-more")).log
    assert (entry.action, entry.data["version"], entry.author) == ("policy", 2, "ann")
    (*_, shipped) = (await experiments.whole(database, "any-fewer")).log
    assert shipped.data["warnings"] == [warning]
