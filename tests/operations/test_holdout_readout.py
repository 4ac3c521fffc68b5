"""Readouts of holdouts: what the service finds is what one counts by hand of who was there, and on which side."""

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from engine.operations.decider import Decider
from engine.operations.erase import erase
from engine.operations.holdout_plan import held_plan, watched
from engine.operations.holdout_readout import read_held
from engine.operations.merge import merge
from engine.operations.plan_file import read_plan
from engine.operations.readout import Found
from engine.store import analysis
from experiments.design import Form, Retention, Role
from tests.operations.holdout_worlds import (
    PLAN,
    SHARE,
    SHIP_US,
    Shipped,
    counted,
    is_held,
    is_treated,
    random_shipped,
    side,
)
from tests.operations.persons import dump
from tests.operations.readout_files import assert_equal
from tests.operations.readout_plans import arms
from tests.operations.readout_worlds import DAY_US, HOUR_US

STANDARD = ("contacts", "three_in_24h", "active_weeks", "complained_again", "returned")


@pytest.fixture
def worlds(database_url: str) -> Generator[list[Shipped]]:
    made: list[Shipped] = []
    yield made
    for each in made:
        each.world.close()


def read(shipped: Shipped, day: int | None) -> Found:
    shipped.world.settle()
    with analysis.alone(shipped.world.url, shipped.world.number) as connection, analysis.one_instant(connection):
        return read_held(connection, shipped.world.number, day).found


def sides(found: Found) -> dict[str, int]:
    return {each.variant: each.units for each in found.readout.groups}


def names(found: Found) -> list[str]:
    return [each.name for each in found.readout.metrics]


@pytest.mark.parametrize(("day", "seed"), [(28, 1), (90, 2)])
def test_each_side_is_what_one_counts_by_hand(database_url: str, worlds: list[Shipped], day: int, seed: int) -> None:
    shipped = random_shipped(database_url, seed, 260, SHIP_US + (day + 9) * DAY_US)
    worlds.append(shipped)
    found = read(shipped, day)
    looked_at = {"bought": f"bought_{day}", "back": f"back_{day}", **{each: f"{each}_{day}" for each in STANDARD}}
    looked_at |= {each: each if day == 28 else f"{each}_{day}" for each in ("left", "spend")}
    for metric, name in looked_at.items():
        expected, told = counted(shipped, metric, day), arms(found, name)
        assert sum(total for total, _ in expected.values()) > 0, name
        for variant, (total, customers) in expected.items():
            assert told[variant] == (pytest.approx(total, rel=1e-9), customers), (name, variant)
    assert {each["variant"]: each["customers"] for each in found.document["cohort"]} == sides(found)
    for each in found.document["cohort"]:
        mine = [who for who in shipped.world.customers if side(shipped, who) == each["variant"]]
        assert each["treated_before"] == sum(is_treated(shipped, who) for who in mine) > 0
        assert each["customers"] == len(mine) - each["treated_before"]
    beside: dict[str, Any] = found.document["with_treated_before"]
    assert beside["customers"] == sum(side(shipped, who) is not None for who in shipped.world.customers)
    assert {each["metric"] for each in beside["effects"]} <= {f"bought_{day}", looked_at["left"]}
    assert "event_of_others" not in {each.code for each in found.readout.exclusions}


def test_who_had_lived_under_the_shipped_limit_before_is_left_out_on_both_sides(
    database_url: str, worlds: list[Shipped]
) -> None:
    shipped = Shipped(database_url, SHIP_US + 30 * DAY_US)
    worlds.append(shipped)
    before_us = SHIP_US - DAY_US
    for number in range(40):
        who = f"c{number}"
        # The limit of three had a say for none but the last: until then all had the answers of one.
        variant, diverged_us = [(0, before_us), (1, None), (0, None), (1, before_us)][number % 4]
        shipped.world.enter(who, variant, before_us, diverged_us)
    shipped.world.enter("staff", 1, before_us, flags=1)
    found = read(shipped, 28)
    treated = [who for who in shipped.world.customers if who == "staff" or int(who[1:]) % 4 == 3]
    assert {each["variant"]: each["treated_before"] for each in found.document["cohort"]} == {
        "holdout": sum(map(is_held, treated)),
        "three": sum(not is_held(who) for who in treated),
    }
    others = [who for who in shipped.world.customers if who not in treated]
    assert sides(found)["holdout"] == sum(map(is_held, others))
    assert any(each.startswith("Left out are 11 customers") for each in found.document["cautions"])


def test_who_was_there_is_known_by_contacts_that_a_changed_budget_counts(
    database_url: str, worlds: list[Shipped]
) -> None:
    shipped = Shipped(database_url, SHIP_US + 30 * DAY_US)
    worlds.append(shipped)
    shipped.sent("first", SHIP_US - 28 * DAY_US)
    shipped.sent("last", SHIP_US - 1)
    shipped.sent("too early", SHIP_US - 28 * DAY_US - 1)
    shipped.sent("too late", SHIP_US)
    shipped.sent("by e-mail", SHIP_US - 1, "email")
    shipped.sent("of a receipt", SHIP_US - 1, topic="receipts")
    shipped.world.enter("eligible", 0, SHIP_US - 1)
    shipped.world.enter("assigned", 0, None)
    found = read(shipped, 28)
    there = [who for who in shipped.world.customers if who in ("first", "last", "eligible")]
    assert sides(found) == {
        "holdout": sum(map(is_held, there)),
        "three": sum(not is_held(who) for who in there),
    }


def test_customers_of_an_older_holdout_are_left_out_and_those_of_a_younger_are_not(
    database_url: str, worlds: list[Shipped]
) -> None:
    shipped = Shipped(database_url, SHIP_US + 30 * DAY_US)
    worlds.append(shipped)
    shipped.holdout("older", SHIP_US - DAY_US, 0.2)
    shipped.holdout("over", SHIP_US - 365 * DAY_US, 0.5)
    shipped.holdout("ended", SHIP_US - 40 * DAY_US, 0.5)
    shipped.world.connection.execute("UPDATE holdouts SET ended_us = %s WHERE name = 'ended'", (SHIP_US - DAY_US,))
    shipped.world.connection.execute("UPDATE holdouts SET ended_us = %s WHERE name = 'older'", (SHIP_US + DAY_US,))
    shipped.holdout("younger", SHIP_US + DAY_US, 0.5)
    people = [f"c{number}" for number in range(60)]
    for who in people:
        shipped.sent(who, SHIP_US - 1)
    found = read(shipped, 28)
    elsewhere = [who for who in people if is_held(who, "older", 0.2)]
    assert elsewhere
    assert sum(each["in_older_holdout"] for each in found.document["cohort"]) == len(elsewhere)
    assert sides(found)["holdout"] == sum(is_held(who) for who in people if who not in elsewhere)


@pytest.mark.anyio
async def test_a_readout_is_the_same_once_customers_were_erased(
    decider: Decider, database_url: str, worlds: list[Shipped]
) -> None:
    shipped = random_shipped(database_url, 3, 120, SHIP_US + 60 * DAY_US)
    worlds.append(shipped)
    before = read(shipped, 28)
    gone = [f"c{number}" for number in range(0, 120, 3)]
    for who in gone:
        await erase(decider, who)
    after = read(shipped, 28)
    assert_equal(before.readout, after.readout)
    assert before.document["cohort"] == after.document["cohort"]
    assert before.document["with_treated_before"] == after.document["with_treated_before"]
    left = dump(database_url)
    assert not [who for who in gone if f"\t{who}\t" in left]
    units = [line for line in left.split("\n") if line.startswith("holdout_units")]
    assert len(units) == sum(side(shipped, who) is not None for who in gone)


@pytest.mark.anyio
async def test_a_tester_who_was_erased_is_left_out_as_before(
    decider: Decider, database_url: str, worlds: list[Shipped]
) -> None:
    shipped = Shipped(database_url, SHIP_US + 30 * DAY_US)
    worlds.append(shipped)
    for who in ("staff", *(f"c{number}" for number in range(20))):
        shipped.sent(who, SHIP_US - HOUR_US)
    shipped.world.settle()
    before = read(shipped, 28)
    assert sum(sides(before).values()) == 20
    assert sum(each["treated_before"] for each in before.document["cohort"]) == 1
    await erase(decider, "staff")
    after = read(shipped, 28)
    assert after.document["cohort"] == before.document["cohort"]
    assert_equal(before.readout, after.readout)


@pytest.mark.anyio
async def test_who_was_merged_since_the_ship_is_on_neither_side(
    decider: Decider, database_url: str, worlds: list[Shipped]
) -> None:
    shipped = Shipped(database_url, SHIP_US + 30 * DAY_US)
    worlds.append(shipped)
    people = [f"c{number}" for number in range(20)]
    for who in people:
        shipped.sent(who, SHIP_US - HOUR_US)
    shipped.world.settle()
    await merge(decider, "c0", "c1")
    await merge(decider, "c2", "somebody new")
    found = read(shipped, 28)
    rest = [who for who in people if who not in ("c0", "c1", "c2")]
    assert sides(found)["holdout"] == sum(map(is_held, rest))
    assert sum(sides(found).values()) == len(rest)
    assert sum(each["merged"] for each in found.document["cohort"]) == 2


def test_what_came_since_is_named(database_url: str, worlds: list[Shipped]) -> None:
    shipped = Shipped(database_url, SHIP_US + 100 * DAY_US)
    worlds.append(shipped)
    shipped.ruleset(SHIP_US + DAY_US, shipped.old)
    shipped.ruleset(SHIP_US + 2 * DAY_US, shipped.old)
    shipped.ruleset(SHIP_US + 29 * DAY_US, shipped.new)
    other = shipped.world.add_experiment({**PLAN, "key": "other"})
    shipped.world.add_experiment({**PLAN, "key": "over"}, ended_us=SHIP_US)
    for number in range(30):
        entered = shipped.world.enter(f"c{number}", 0, SHIP_US - 1)
        shipped.world.expose(f"c{number}", other, entered)
    early, late = read(shipped, 28).document, read(shipped, 90).document
    others = sum(not is_held(f"c{number}") for number in range(30))
    assert [each["version"] for each in early["since"]["policies"]] == [shipped.new, shipped.old]
    assert [each["version"] for each in late["since"]["policies"]] == [shipped.new, shipped.old, shipped.new]
    assert early["since"]["experiments"] == [{"experiment": "other", "customers": others}]
    said = "\n".join(late["cautions"])
    assert "Short run: it was shipped after 60 of the 90 days of its horizon." in said
    assert "The policy was changed 2 times since the ship" in said
    assert "experiments ran among the others alone, as part of what is compared: other." in said
    assert "Margins are those of the plan, which had other windows: left_90." in said
    assert late["run"] == {"days": 60.2, "horizon_days": 90, "is_short": True}


def test_metrics_are_watched_to_the_day_and_say_it_in_their_names() -> None:
    plan = read_plan(PLAN)
    held = held_plan(plan, "three", 0.05, plan.start, plan.end, 90)
    assert [each.name for each in held.metrics] == ["bought_90", "left_90", "spend_90", "back_90", "pages"]
    assert [each.role for each in held.metrics][:2] == [Role.PRIMARY, Role.GUARDRAIL]
    assert [(each.name, each.weight) for each in held.variants] == [("holdout", 0.05), ("three", 0.95)]
    assert not held.is_about_budgets
    common: dict[str, Any] = {"role": Role.SECONDARY, "direction": plan.metrics[0].direction}
    back = next(each for each in plan.metrics if isinstance(each, Retention))
    for form, days, expected in (
        (Form.WITHIN, (7, 14), (83, 90)),
        (Form.ON_DAY, (28, 29), (89, 90)),
        (Form.ON_OR_AFTER, (7, 14), (7, 90)),
        (Form.ON_OR_AFTER, (200, 300), (89, 90)),
    ):
        found = watched(replace(back, form=form, from_day=days[0], until_day=days[1], **common), 90)
        assert isinstance(found, Retention)
        assert (found.from_day, found.until_day) == expected


def test_the_shares_of_the_sides_are_tested(database_url: str, worlds: list[Shipped]) -> None:
    shipped = Shipped(database_url, SHIP_US + 30 * DAY_US)
    worlds.append(shipped)
    number = held = 0
    while held < 400:  # a company that lost whom it did not hold back
        who, number = f"c{number}", number + 1
        if is_held(who, share=SHARE):
            held += 1
            shipped.sent(who, SHIP_US - 1)
    for who in (f"d{each}" for each in range(300)):
        shipped.sent(who, SHIP_US - 1)
    found = read(shipped, 28)
    assert [each.call.value for each in found.readout.verdicts] == ["invalid"]
