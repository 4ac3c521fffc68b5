"""Readouts in the service: what it finds in its own tables is what an analysis of files finds that were told apart."""

import json
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.operations.plan_file import read_plan
from engine.operations.readout import Stretch, compute, pauses_between, refresh
from engine.operations.standard_metrics import as_told, extended
from engine.store import analysis, snapshots
from engine.store.exposures import ExposureFlag
from experiments.design import Columns
from experiments.readout import Readout
from experiments.reporting.weekly import weekly
from experiments.tables import aggregate
from tests.operations.random_worlds import random_world
from tests.operations.readout_files import NOW_US, assert_equal, assert_same_weeks, from_files
from tests.operations.readout_plans import BUDGET, PLAIN, arms, computed, opened
from tests.operations.readout_worlds import DAY_US, HOUR_US, START_US, World, moment


@pytest.fixture
def worlds(database_url: str) -> Generator[list[World]]:
    made: list[World] = []
    yield made
    for each in made:
        each.close()


@pytest.mark.parametrize("plan", [PLAIN, BUDGET], ids=["plain", "budget"])
@pytest.mark.parametrize("seed", [1])
def test_the_service_finds_what_an_analysis_of_files_finds(
    database_url: str, worlds: list[World], tmp_path: Path, plan: dict[str, Any], seed: int
) -> None:
    world = random_world(database_url, plan, seed, 250, NOW_US)
    worlds.append(world)
    found = computed(world)
    full = extended(as_told(read_plan(world.plan)), ["email", "push"], has_margins=True, has_refusals=False)
    assert set(found.document["standard"]) == set(full.added)
    of_files = replace(full.plan, columns=Columns())
    other = from_files(world, of_files, tmp_path)
    assert_equal(found.readout, other)
    of_files = replace(of_files, metrics=tuple(each for each in of_files.metrics if each.name in ("bought", "days")))
    tables = aggregate(of_files, tmp_path / "exposures.parquet", tmp_path / "events.parquet", as_of=moment(NOW_US))
    assert_same_weeks(found.document["weeks"], weekly(of_files, tables))
    standard = {each.name: each for each in found.readout.metrics if each.name in full.added}
    for name in (
        "reachable_28_email",
        "complained_28",
        "returned_28",
        "opted_down_28",
        "contacts_28",
        "active_weeks_28",
        "three_in_24h_28",
        "bounced_again_28",
        "complained_again_28",
    ):
        assert sum(each.numerator for each in standard[name].arms) > 0, name
    again = Readout.from_json(json.dumps(found.document["readout"]))
    assert again == found.readout
    looks = [each.where for each in found.readout.checks if each.where.startswith("all eligible")]
    assert looks == (["all eligible of phase 1", "all eligible of phase 2"] if plan is BUDGET else [])


def test_the_standard_metrics_of_a_few_customers_are_what_one_counts_by_hand(
    database_url: str, worlds: list[World]
) -> None:
    plan = {**PLAIN, "variants": [{"name": "old", "control": True}, {"name": "new"}], "segments": []}
    world = World(database_url, plan, START_US + 29 * DAY_US + HOUR_US)
    worlds.append(world)
    day = [START_US + HOUR_US + number * DAY_US for number in range(-40, 30)][40:]  # day[0] is everybody's entry
    long_ago = START_US - 40 * DAY_US
    for who, variant in (("ann", 0), ("ben", 0), ("cy", 1), ("dee", 1)):
        world.enter(who, variant, day[0])
    for at_us in (long_ago, day[3], day[4], day[9], day[20]):  # back after 43 days; in weeks 1, 2 and 3
        world.tell("ann", "session", at_us)
    world.tell("ben", "session", day[8])  # never seen before: nobody who returned
    world.tell("ben", "session", day[27] + DAY_US)  # the window is over
    for hours in (0, 10, 23):
        world.contact("cy", "push", day[5] + hours * HOUR_US, day[5] + hours * HOUR_US, sent_us=day[5])
    for hours in (0, 10, 24):  # the third after exactly 24 hours
        world.contact("dee", "email", day[5] + hours * HOUR_US, day[5] + hours * HOUR_US, sent_us=day[5])
    world.tell("cy", "complained", day[6], channel="email")
    world.tell("cy", "complained", day[7], channel="email")
    world.tell("dee", "complained", day[0] - 1, channel="push")  # before entry: history
    world.tell("dee", "complained", day[9], channel="push")
    world.tell("ben", "unsubscribed", day[1], channel="email", flags=2)  # a scanner's, it seems
    world.tell("cy", "unsubscribed", day[2], channel="email")
    world.tell("cy", "resubscribed", day[3], channel="email")
    world.tell("cy", "takt:unreachable", day[2], channel="email")
    world.tell("cy", "takt:reachable", day[3], channel="email")
    world.tell("cy", "takt:unreachable", day[6], channel="email")
    world.tell("ann", "takt:unreachable", day[2], channel="push")
    world.tell("ben", "takt:unreachable", day[2], channel="email")
    world.tell("ben", "takt:reachable", day[9], channel="email")
    world.tell("dee", "opted_down", day[2], channel="push")
    for message, at_us in (("a", day[1]), ("a", day[2]), ("b", day[3])):
        world.refuse("ann", message, at_us)
    world.refuse("ben", "a", day[0] - 1)
    world.refuse("ben", "a", day[5])
    world.refuse("ben", "b", day[5], verdict=1)  # it was merely checked, and allowed

    found = computed(world)
    assert found.document["refusals"] is None, "of a plan about budgets alone"
    assert arms(found, "returned_28") == {"old": (1, 2), "new": (0, 2)}
    assert arms(found, "active_weeks_28") == {"old": (4, 2), "new": (0, 2)}
    assert arms(found, "contacts_28") == {"old": (0, 2), "new": (6, 2)}
    assert arms(found, "three_in_24h_28") == {"old": (0, 2), "new": (1, 2)}
    assert arms(found, "complained_28") == {"old": (0, 2), "new": (2, 2)}
    assert arms(found, "complained_again_28") == {"old": (0, 2), "new": (1, 2)}
    assert arms(found, "opted_down_28") == {"old": (0, 2), "new": (1, 2)}
    assert arms(found, "refused_28") == {"old": (3, 2), "new": (0, 2)}
    assert arms(found, "refused_again_28") == {"old": (1, 2), "new": (0, 2)}
    assert arms(found, "left") == {"old": (0, 2), "new": (1, 2)}
    with_suspects = {each.variant: each.numerator for each in found.readout.metric("left").with_suspects}
    assert with_suspects == {"old": 1, "new": 1}
    # Who is lost to e-mail at the end is; who came back by then is not, and no other channel or event says anything.
    assert arms(found, "reachable_28_email") == {"old": (2, 2), "new": (1, 2)}
    assert "unsubscribed_28" not in found.document["standard"], "the plan has it, called `left`"
    assert "reachable_28_push" not in found.document["standard"]


def test_what_is_sent_is_what_the_journal_says_and_no_event_counts_again(
    database_url: str, worlds: list[World]
) -> None:
    world = World(database_url, PLAIN, START_US + 40 * DAY_US)
    worlds.append(world)
    world.enter("ann", 0, START_US)
    at_us = START_US + HOUR_US
    world.contact("ann", "email", at_us, at_us, sent_us=at_us)
    for kind in ("sent", "delivered"):
        world.tell("ann", kind, at_us, channel="email")
    assert arms(computed(world), "contacts_28")["old"] == (1, 1)


def test_what_customers_were_refused_is_told_as_far_as_it_is_on_record(database_url: str, worlds: list[World]) -> None:
    now_us = START_US + 60 * DAY_US
    world = World(database_url, BUDGET, now_us)
    worlds.append(world)
    world.enter("ann", 0, START_US, START_US + DAY_US)
    world.enter("ben", 1, START_US, now_us - 14 * DAY_US)
    world.enter("cy", 1, START_US)  # eligible, and no answer differed
    world.enter("dee", 1, START_US, now_us - 6 * DAY_US)  # for less than a week: one refusal would be many a week
    for who, message, days_ago in (
        *(("ann", "a", 29), ("ann", "b", 20), ("ann", "b", 3), ("ann", "c", 2)),
        *(("ben", "a", 15), ("ben", "b", 13), ("cy", "a", 5), ("dee", "a", 4)),
    ):
        world.refuse(who, message, now_us - days_ago * DAY_US)

    def told(kept_days: float) -> list[tuple[str, int, float, int]] | None:
        since = now_us - round(kept_days * DAY_US)
        world.connection.execute(
            "INSERT INTO kept_since (name, since_us) VALUES ('refusals', %s)"
            " ON CONFLICT (name) DO UPDATE SET since_us = EXCLUDED.since_us",
            (since,),
        )
        found = computed(world).document["refusals"]
        if found is None:
            return None
        assert (found["from_us"], found["until_us"]) == (max(since, now_us - 28 * DAY_US), now_us)
        return [(each["variant"], each["customers"], each["weeks"], each["messages"]) for each in found["by_variant"]]

    assert told(40) == [("one", 1, 4, 2), ("three", 1, 2, 1)]
    assert told(7) == [("one", 1, 1, 1), ("three", 1, 1, 0)], "what was refused before is no more on record"
    assert told(6.9) is None
    assert told(0) is None


def test_an_experiment_in_which_nobody_is_yet_can_be_read(database_url: str, worlds: list[World]) -> None:
    for plan in (PLAIN, BUDGET):
        world = World(database_url, plan, START_US + DAY_US)
        worlds.append(world)
        found = computed(world)
        assert [each.units for each in found.readout.groups] == [0] * len(plan["variants"])
        assert found.document["concurrent"] == []
        assert Readout.from_json(json.dumps(found.document["readout"])) == found.readout


def test_testers_and_customers_in_two_variants_are_left_out_and_counted(database_url: str, worlds: list[World]) -> None:
    world = World(database_url, PLAIN, START_US + 40 * DAY_US)
    worlds.append(world)
    world.enter("ann", 0, START_US, time_zone="Europe/Berlin")
    world.enter("bob", 1, START_US, flags=ExposureFlag.TESTER)
    world.enter("cy", 1, START_US, flags=ExposureFlag.IN_TWO_VARIANTS)
    world.enter("dee", 1, START_US, flags=ExposureFlag.IN_TWO_VARIANTS | ExposureFlag.TESTER)
    found = computed(world)
    assert sum(each.units for each in found.readout.groups) == 1
    assert {each.code: each.count for each in found.readout.exclusions} == {"tester": 1, "in_two_variants": 2}
    assert found.document["concurrent"] == []


def test_who_became_a_tester_after_entry_is_left_out_too(database_url: str, worlds: list[World]) -> None:
    world = World(database_url, {**PLAIN, "testers": {"2": "old", "eve": "new"}}, START_US + 40 * DAY_US)
    worlds.append(world)
    for number, name in enumerate(("1", "2", "ann", "eve")):  # "2" is a name, and nobody's place
        world.enter(name, number % 2, START_US)
    found = computed(world)
    assert {each.variant: each.units for each in found.readout.groups} == {"old": 2, "new": 0, "other": 0}
    assert {each.code: each.count for each in found.readout.exclusions} == {"tester": 2, "unknown_time_zone": 2}


def test_experiments_that_meet_in_a_customer_are_cross_tabulated(database_url: str, worlds: list[World]) -> None:
    world = World(database_url, PLAIN, START_US + 40 * DAY_US)
    worlds.append(world)
    other = world.add_experiment({**BUDGET, "key": "other"})
    over = world.add_experiment({**BUDGET, "key": "over"}, ended_us=START_US + DAY_US)
    for number, (variant, second) in enumerate(((0, 0), (0, 1), (0, 1), (1, 0))):
        entered = world.enter(f"c{number}", variant, START_US + 2 * DAY_US)
        for experiment in (other, over):
            world.expose(f"c{number}", experiment, replace(entered, variant=second))
    expected = [("old", "one", 1), ("old", "three", 2), ("new", "one", 1)]
    (met,) = computed(world).document["concurrent"]
    assert met["experiment"] == "other"
    assert [(each["variant"], each["other"], each["customers"]) for each in met["customers"]] == expected


def test_pauses_are_listed_and_who_entered_meanwhile_is_left_out_beside(database_url: str, worlds: list[World]) -> None:
    world = World(database_url, PLAIN, START_US + 40 * DAY_US)
    worlds.append(world)
    pause = {"name": "outage", "from_us": START_US + 5 * DAY_US, "until_us": None}
    world.connection.execute(
        "INSERT INTO policies (created_us, author, note, source, data) VALUES (0, '', '', '', '{}')"
    )
    in_force: list[tuple[int, list[Any]]] = [(START_US - DAY_US, []), (START_US + 5 * DAY_US, [pause])]
    in_force += [(START_US + 6 * DAY_US, [pause]), (START_US + 7 * DAY_US, [])]
    for number, (at_us, pauses) in enumerate(in_force, start=1):
        world.connection.execute(
            "INSERT INTO rulesets (number, activated_us, policy_version, tzdata_version, author, pauses)"
            " VALUES (%s, %s, 1, '', '', %s)",
            (number, at_us, json.dumps(pauses)),
        )
    for number, days in enumerate((1, 4, 5, 6, 7)):
        world.enter(f"c{number}", number % 2, START_US + days * DAY_US)
    world.enter("last", 0, START_US + 7 * DAY_US - 1)
    paused = computed(world).document["pauses"]
    assert paused["stretches"] == [
        {
            "name": "outage",
            "from_us": START_US + 5 * DAY_US,
            "until_us": START_US + 7 * DAY_US,
            "is_breaker": False,
        }
    ]
    assert paused["customers_without"] == 3


def test_a_budget_that_became_another_meanwhile_is_among_the_cautions(database_url: str, worlds: list[World]) -> None:
    world = World(database_url, BUDGET, START_US + DAY_US)
    worlds.append(world)
    world.connection.cursor().executemany(
        "INSERT INTO experiment_log (experiment, entry, at_us, action, author, note, data)"
        " VALUES (%s, %s, %s, %s, 'bob', '', %s)",
        [
            (world.number, 1, START_US, "start", "{}"),
            (world.number, 2, START_US + HOUR_US, "policy", '{"version": 7}'),
            # of a clock that was set back since
            (world.number, 3, START_US + 2 * DAY_US, "policy", '{"version": 8, "beside": ["all is exempt", "b"]}'),
        ],
    )
    own, beside = (each for each in computed(world).document["cautions"] if "version" in each)
    assert "with version 7 of the policy, for the control too" in own
    assert "with version 8 of the policy, all is exempt; b, for the control too" in beside


def test_stretches_are_cut_to_the_experiment_and_to_what_each_pause_says() -> None:
    def of(name: str, from_us: int, until_us: int | None, **more: Any) -> dict[str, Any]:
        return {"name": name, "from_us": from_us, "until_us": until_us, **more}

    in_force = [(0, [of("a", 0, None)]), (50, [of("a", 0, None), of("b", 50, 60, is_breaker=True)]), (70, [])]
    assert pauses_between(in_force, 10, 100) == [Stretch("a", 10, 70, False), Stretch("b", 50, 60, True)]
    assert pauses_between(in_force, 70, 100) == []
    assert pauses_between([(0, [of("a", 0, None)])], 10, 100) == [Stretch("a", 10, 100, False)]


def test_a_stopped_experiment_is_read_as_of_its_end(database_url: str, worlds: list[World]) -> None:
    world = World(database_url, PLAIN, START_US + 40 * DAY_US)
    worlds.append(world)
    world.enter("ann", 0, START_US)
    world.tell("ann", "purchase", START_US + 20 * DAY_US + 1, value=1.0)
    world.connection.execute(
        "UPDATE experiments SET state = 'stopped', ended_us = %s WHERE number = %s",
        (START_US + 20 * DAY_US, world.number),
    )
    world.settle()
    computed_us = refresh(database_url, world.number, 0)
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT as_of_us, computed_us, readout->'readout'->>'as_of' FROM snapshots").fetchone()
    assert row == (START_US + 20 * DAY_US, computed_us, "2026-10-25")
    assert refresh(database_url, world.number, 0) == computed_us, "fresh enough for who asked before it"
    with psycopg.connect(database_url) as connection:
        asked = snapshots.next_number(connection)
    again_us = refresh(database_url, world.number, asked)
    assert again_us > computed_us, "and not for who asked after it"
    assert refresh(database_url, world.number, asked) == again_us
    assert refresh(database_url, world.number) > again_us


def test_exposures_and_events_are_of_one_instant_while_more_stream_in(database_url: str, worlds: list[World]) -> None:
    world = World(database_url, PLAIN, START_US + 40 * DAY_US)
    worlds.append(world)
    world.enter("ann", 0, START_US)
    world.settle()
    with analysis.alone(world.url, world.number) as connection:
        with analysis.one_instant(connection):
            of = opened(world, connection)
            world.enter("bob", 1, START_US)  # after the exposures were read, and before the events are
            for who in ("ann", "bob"):
                world.tell(who, "purchase", START_US + DAY_US, value=1.0)
            world.settle()
            found = compute(*of)
        assert arms(found, "bought") == {"old": (0, 1), "new": (0, 0), "other": (0, 0)}
        with analysis.one_instant(connection):
            *_, later = opened(world, connection)
            assert [(each.variant, each.eligible) for each in later.entered()] == [(0, 1), (1, 1)]


def test_only_aggregates_leave_the_database(database_url: str, worlds: list[World]) -> None:
    """Of each statement, how many rows it brought: never as many as there are customers."""
    world = World(database_url, {**PLAIN, "segments": []}, START_US + 40 * DAY_US)
    worlds.append(world)
    customers = 600
    for number in range(customers):
        world.enter(f"c{number}", number % 3, START_US + HOUR_US)
        world.tell(f"c{number}", "session", START_US + 2 * DAY_US)
    brought: list[int] = []
    names: list[object] = []

    class Counting(psycopg.Cursor[Any]):
        def fetchall(self) -> list[Any]:
            return self._seen(super().fetchall())

        def fetchone(self) -> Any:
            row = super().fetchone()
            self._seen([] if row is None else [row])
            return row

        def _seen(self, rows: list[Any]) -> list[Any]:
            brought.append(len(rows))
            names.extend(value for row in rows for value in row)
            return rows

    class CountingServer(psycopg.ServerCursor[Any]):
        def fetchmany(self, size: int = 0) -> list[Any]:
            rows = super().fetchmany(size)
            brought.append(len(rows))
            names.extend(value for row in rows for value in row)
            return rows

    world.settle()
    with analysis.alone(world.url, world.number) as connection:
        connection.cursor_factory, connection.server_cursor_factory = Counting, CountingServer
        with analysis.one_instant(connection):
            found = compute(*opened(world, connection))
    assert sum(each.units for each in found.readout.groups) == customers
    assert len(brought) > 10
    assert max(brought) < 50
    assert not [each for each in names if isinstance(each, str) and each.startswith("c") and each[1:].isdigit()]


def test_names_are_names_whatever_characters_they_have(database_url: str, worlds: list[World]) -> None:
    odd = 'o\'clock "%s" {x} \\ ; --'
    metrics = [
        {"name": odd, "kind": "mean", "event": "session", "value": odd, "role": "primary", "direction": "increase"},
        {"name": "long", "kind": "count", "event": odd, "role": "secondary", "direction": "increase"},
    ]
    variants = [{"name": odd, "control": True}, {"name": f"{odd}?"}]
    first, second = ("1" + "a" * 70, "2" + "a" * 70)  # longer than the names of a database's columns
    plan = {**PLAIN, "variants": variants, "segments": [odd, first, second], "metrics": metrics}
    world = World(database_url, plan, START_US + 40 * DAY_US)
    worlds.append(world)
    for number in range(4):
        segments = {odd: f"{odd}{number % 2}", first: "x", second: f"y{number}"}
        world.enter(f"c{number}", number % 2, START_US, segments=segments)
        world.tell(f"c{number}", "session", START_US + 1, properties={odd: number})
        world.tell(f"c{number}", "session", START_US + 2, properties={odd: "7"})  # a text is no number
        world.tell(f"c{number}", odd, START_US + 2)
    found = computed(world)
    assert arms(found, odd) == {odd: (0 + 2, 2), f"{odd}?": (1 + 3, 2)}
    assert arms(found, "long") == {odd: (2, 2), f"{odd}?": (2, 2)}
    looked_at = {each.where for each in found.readout.checks if each.code == "srm_segment"}
    assert looked_at == {
        f"{odd} {odd}0",
        f"{odd} {odd}1",
        f"{first} x",
        *(f"{second} y{number}" for number in range(4)),
    }
