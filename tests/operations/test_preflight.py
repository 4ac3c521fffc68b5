"""Before a start: what the last weeks say of the run, against figures made by hand."""

from collections.abc import AsyncGenerator

import psycopg
import pytest

from engine.core.policy import DAY_US
from engine.operations import experiments
from engine.operations.policy_file import load_policy
from engine.operations.preflight import Preflight, look_ahead
from engine.store.database import Database
from experiments import power
from tests.operations.experimenting import shop
from tests.operations.plans import AA, PLAN, POLICY, layered, plan, written

pytestmark = pytest.mark.anyio

CUSTOMERS = 400
UNSUBSCRIBED = 20
BOUGHT = [10.0, 30.0, 30.0, 50.0]
SPEND = AA.replace(
    "{name: bought, kind: rate, event: purchase, within_days: 14,",
    "{name: spend, kind: mean, event: purchase, value: value, within_days: 28, role: guardrail, direction: increase,"
    " margin: 1}\n  - {name: bought, kind: rate, event: purchase, within_days: 28,",
)


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    async with shop(database_url) as opened:
        yield opened


async def weeks(database: Database) -> None:
    """Four weeks: 400 customers were asked about push promotions, 20 unsubscribed, some bought.

    And what must not count: e-mail to others, events that a machine is suspected of, events of months ago.
    """
    now_us = await database.clock_us()
    then = now_us - 27 * DAY_US
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
        cursor = await connection.execute(
            "INSERT INTO labels (name) VALUES ('promotions'), ('unsubscribed'), ('purchase'), ('crm') RETURNING number"
        )
        topic, unsubscribed, purchase, source = [row[0] for row in await cursor.fetchall()]
        asks = (
            "INSERT INTO {} SELECT %s, %s, %s, {} n, 1, %s, 0, 0, 0, %s, 1, 50, 1, 0, %s || n{}, NULL{}"
            " FROM generate_series(1, %s) n"
        )
        contact = asks.format("journal", "n,", ", 'm'", ", NULL")
        refusal = asks.format("refusals", "0,", ", ''", "")
        half = CUSTOMERS // 2
        for at_us in (then, now_us - DAY_US):
            await connection.execute(contact.encode(), (at_us, at_us, at_us, topic, 2, "a", half))
            await connection.execute(refusal.encode(), (at_us, at_us, at_us, topic, 2, "b", half))
        await connection.execute(contact.encode(), (then, then, then, topic, 1, "other", 1_000))
        await connection.execute(contact.encode(), (*[now_us - 60 * DAY_US] * 3, topic, 2, "old", 1_000))
        event = (
            "INSERT INTO events (at_us, received_us, event_key, message_key, value, kind, source, topic, campaign,"
            " channel, flags, customer_id, event_id)"
            " SELECT %s, %s, %s, 0, %s, %s, %s, 0, 0, %s, %s, 'a' || n, 'e' FROM generate_series(1, %s) n"
        )
        await connection.execute(event, (then, then, 1, None, unsubscribed, source, 2, 0, UNSUBSCRIBED))
        await connection.execute(event, (then, then, 2, None, unsubscribed, source, 2, 0, 5))
        await connection.execute(event, (then, then, 3, None, unsubscribed, source, 2, 2, 200))
        await connection.execute(event, (*[now_us - 60 * DAY_US] * 2, 4, None, unsubscribed, source, 2, 0, 200))
        for number, value in enumerate(BOUGHT):
            await connection.execute(event, (then, then, 5 + number, value, purchase, source, 0, 0, 1))


async def ahead(database: Database, text: str, policy: str = POLICY) -> Preflight:
    return await look_ahead(database, load_policy(policy), plan(text).experiment)


async def test_without_a_week_of_asks_and_planned_units_nothing_is_known(database: Database):
    found = await ahead(database, PLAN)
    assert (found.customers, found.metrics) == (None, ())
    assert any("is not known" in each for each in found.warnings)


async def test_planned_units_stand_in_for_asks(database: Database):
    found = await ahead(database, written(planned_units=1_000))
    assert found.customers == 1_000
    assert any("margin of gone" in each and "is not known" in each for each in found.warnings)


async def test_rates_come_from_the_asks_and_events_of_the_last_four_weeks(database: Database):
    await weeks(database)
    found = await ahead(database, written(traffic=0.5, inference="fixed"))
    assert found.customers == CUSTOMERS // 2, "half of those asked about push promotions"
    assert found.asks_per_day == pytest.approx(2 * CUSTOMERS / 27, abs=0.1)
    gone = next(each for each in found.metrics if each.metric == "gone")
    rate = 1 - (1 - UNSUBSCRIBED / CUSTOMERS) ** (28 / 27)
    assert gone.base == pytest.approx(rate, rel=1e-3)
    assert gone.expected == CUSTOMERS // 4, "all that enter in four weeks, half of them in each arm"
    assert gone.needed == pytest.approx(power.margin(rate, 0.002), rel=1e-3)
    assert gone.shows == pytest.approx(power.detectable(rate * (1 - rate), 100, 100), rel=1e-3)
    (warning,) = [each for each in found.warnings if "margin of gone" in each]
    assert f"{gone.needed:,} customers a variant, and 100 will" in warning


async def test_to_be_read_at_any_time_asks_for_more(database: Database):
    await weeks(database)
    fixed, anytime = [
        next(each for each in (await ahead(database, written(inference=how))).metrics if each.metric == "gone")
        for how in ("fixed", "anytime")
    ]
    assert fixed.needed is not None
    assert anytime.needed is not None
    assert 1.8 < anytime.needed / fixed.needed < 2.1


async def test_a_mean_has_the_variance_of_all_customers_those_without_included(database: Database):
    await weeks(database)
    text = written(SPEND, inference="fixed", planned_units=2)
    found = await ahead(database, text)
    asked = CUSTOMERS + 1_000  # of no budget: whoever was asked about at all
    spend = next(each for each in found.metrics if each.metric == "spend")
    scale = 28 / 27
    mean = sum(BOUGHT) / asked  # one customer bought all
    variance = (sum(BOUGHT) ** 2 / asked - mean**2) * scale
    assert spend.base == pytest.approx(mean * scale, rel=1e-3)
    assert spend.needed == pytest.approx(power.means(variance, 1.0), rel=1e-2)


async def test_slots_and_a_holdout_leave_fewer_customers(database: Database):
    await weeks(database)
    text = written(layered(PLAN, 0, 2500), holdout="{name: untouched, share: 0.2}", traffic=0.5)
    assert (await ahead(database, text)).customers == CUSTOMERS * 0.25 * 0.8 * 0.5


async def test_of_two_guardrails_each_must_be_shown_more_surely(database: Database):
    await weeks(database)
    gone = "  - {name: gone, kind: rate, event: unsubscribed, within_days: 28, role: guardrail,"
    two = PLAN.replace(gone, f"{gone} direction: decrease, margin: 0.02}}\n{gone.replace('gone', 'lost', 1)}")
    (needed,) = {
        each.needed for each in (await ahead(database, two + "inference: fixed\n")).metrics if each.metric == "lost"
    }
    rate = 1 - (1 - UNSUBSCRIBED / CUSTOMERS) ** (28 / 27)
    assert needed == pytest.approx(power.margin(rate, 0.002, power.Comparison(power=0.9)), rel=1e-3)


async def test_a_margin_that_can_be_shown_gets_no_warning(database: Database):
    await weeks(database)
    found = await ahead(database, written(PLAN.replace("0.002", "0.3")))
    assert not any("cannot be shown" in each for each in found.warnings)


async def test_nobody_is_watched_for_longer_than_the_run(database: Database):
    await weeks(database)
    short = PLAN.replace("2027-01-04", "2026-10-26")
    found = await ahead(database, short)
    assert all(each.expected == 0 for each in found.metrics)
    assert any("margin of gone cannot be shown" in each for each in found.warnings)


@pytest.mark.parametrize(
    ("end", "policy", "warned"),
    [
        ("2026-10-18", POLICY, True),
        ("2026-10-19", POLICY, False),
        ("2026-10-19", POLICY.replace("window: {rolling: 7d}\n    over", "window: {rolling: 10d}\n    over"), True),
        ("2026-12-05", POLICY.replace("window: {rolling: 7d}\n    over", "window: {calendar: month}\n    over"), True),
    ],
)
async def test_a_run_under_two_full_windows_is_warned_of(database: Database, end: str, policy: str, warned: bool):
    if "calendar" in policy:
        policy = policy.replace("schema: 1\n", "schema: 1\nunknown_timezone: UTC\n")
    text = PLAN.replace("2027-01-04", end) + "min_days: 7\n"
    found = await ahead(database, text, policy)
    assert any("two full windows" in each for each in found.warnings) is warned


async def test_what_can_make_no_difference_is_warned_of(database: Database):
    for policy, told in (
        (POLICY.replace("schema: 1\n", "schema: 1\nmode: observe\n"), "only observes"),
        (POLICY.replace("    limit: 1\n", "    limit: 1\n    shadow: true\n"), "is a shadow"),
        (
            POLICY.replace("    limit: 1\n", "    limit: 3\n").replace("    overrides", "    #"),
            "sets what the policy has",
        ),
    ):
        found = await ahead(database, PLAN, policy)
        assert any(told in each for each in found.warnings), told


async def test_a_run_short_of_its_horizon_is_told_beforehand(database: Database):
    found = await ahead(database, PLAN.replace("2027-01-04", "2026-12-31"))
    assert any("'short run'" in each for each in found.warnings)
    assert not any("'short run'" in each for each in (await ahead(database, PLAN)).warnings)


async def test_a_start_keeps_its_preflight_in_the_log(database: Database):
    await weeks(database)
    await experiments.create(database, PLAN, experiments.By("ann"))
    taken = await experiments.start(database, "push-more", experiments.By("ann"))
    assert any("margin of gone cannot be shown" in each for each in taken.warnings)
    (*_, entry) = (await experiments.whole(database, "push-more")).log
    assert entry.data["warnings"] == list(taken.warnings)
    assert entry.data["preflight"]["customers"] == CUSTOMERS
