"""A simulated company plays through the operations, and what Takt makes of it is what arithmetic says."""

import numpy as np
import psycopg
import pytest

from engine.core.policy import DAY_US
from engine.demo.companies import demo, small
from engine.demo.company import HOUR_US, Company
from engine.demo.fates import Fate, fate, formula, outcome, plan_of, truth, window_us
from engine.demo.player import Played, play
from engine.operations.decider import Decider
from engine.operations.verify import verify
from engine.settings import Settings
from experiments.design import Direction, Outcome, Rate, Role
from tests.calibration.service.playing import kept

SEED = 3


async def played(url: str, company: Company) -> Played:
    decider = Decider(url, Settings(lanes=2))
    await decider.open()
    try:
        of = await play(decider, company, SEED)
        report = await verify(decider.database)
        assert report.is_clean, report.findings
        assert (report.customers, report.skipped) == (company.customers, 0)
        return of
    finally:
        await decider.close()


@pytest.mark.anyio
async def test_takt_does_what_arithmetic_says_in_every_message_entry_and_sum(database_url: str) -> None:
    """Two accounts of one policy, and of one analysis, that share no code."""
    company = small(customers=200, days=28)
    of = await played(database_url, company)
    by_hand, variants = fate(company, SEED, formula(company), of.stopped), formula(company)
    for day in range(company.days):
        for campaign in company.campaigns:
            differing = np.flatnonzero(of.sent[day][campaign.name] != by_hand.sent[day][campaign.name])
            assert not len(differing), (day, campaign.name, differing[:5])
    assert sum(int(each.sum()) for sent in of.sent for each in sent.values()) > 500
    assert_entered(database_url, company, of, by_hand)
    reads = await kept(database_url, of, [each.key for each in company.trials])
    for trial in company.trials:
        found, until_us = reads[trial.key]
        for metric in plan_of(trial).metrics:
            entered = by_hand.entered_us[trial.key]
            mature = (entered >= 0) & (entered + window_us(metric) <= until_us)
            numbers = outcome(company, by_hand, metric, entered)
            for place, name in enumerate(trial.variants):
                arm, own = found.metric(metric.name).arm(name), mature & (variants[trial.key] == place)
                assert arm.units == own.sum(), (trial.key, metric.name, name)
                assert arm.numerator == pytest.approx(numbers[own].sum()), (trial.key, metric.name, name)


def assert_entered(url: str, company: Company, of: Played, by_hand: Fate) -> None:
    """The same customers, in the same variants, within the same hour."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT x.key, e.customer_id, e.variant, CASE x.key WHEN 'push-budget' THEN e.diverged_us"
            " ELSE e.eligible_us END FROM exposures e JOIN experiments x ON x.number = e.experiment"
        ).fetchall()
    ids, variants = company.ids, formula(company)
    for key, entered in by_hand.entered_us.items():
        found = {
            customer_id: (variant, at_us) for of_key, customer_id, variant, at_us in rows if of_key == key and at_us
        }
        numbers = np.flatnonzero(entered >= 0)
        assert set(found) == {ids[each] for each in numbers}, key
        assert len(numbers) > 20, key
        for each in numbers:
            variant, at_us = found[ids[each]]
            assert variant == variants[key][each]
            assert 0 <= at_us - of.day_zero_us - entered[each] < HOUR_US


@pytest.mark.anyio
async def test_the_company_of_the_demo_has_all_that_real_ones_have(database_url: str) -> None:
    company = demo(customers=150, days=14)
    of = await played(database_url, company)
    with psycopg.connect(database_url) as connection:

        def count(query: str) -> int:
            row = connection.execute(query.encode()).fetchone()
            return row[0] if row else 0

        events = "FROM events e JOIN labels l ON l.number = e.kind WHERE"
        assert count("SELECT clock_offset_us FROM deployment") == 0
        past = "FROM journal j JOIN labels l ON l.number = j.campaign WHERE l.name LIKE 'agency-flyer%'"
        assert count(f"SELECT count(*) {past}") == sum(int(each["agency-flyer"].sum()) for each in of.sent) > 0
        told = sum(len(page.customer) for pages in of.days for page in pages if page.type == "session")
        assert count(f"SELECT count(*) {events} l.name = 'session'") == told  # though some were told twice
        assert count(f"SELECT count(*) {events} l.name = 'session' AND received_us > at_us + {DAY_US}") > 0
        assert count(f"SELECT count(*) {events} l.name = 'clicked' AND flags & 3 <> 0") > 0
        exempt = "FROM refusals r JOIN labels l ON l.number = r.topic WHERE l.name = 'order-updates'"
        assert count(f"SELECT count(*) {exempt}") == 0 < sum(int(each["order-updates"].sum()) for each in of.sent)
        assert count("SELECT count(*) FROM snapshots") >= len(company.trials)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_who_is_sent_most_leaves_least_though_each_push_more_makes_customers_leave(seed: int) -> None:
    """What a company sees under one policy, against what would have happened under others."""
    company = small()
    lived = fate(company, seed, formula(company), {})
    off = Outcome(event="push_disabled", within_days=28)
    left = Rate(name="left", role=Role.DESCRIPTIVE, direction=Direction.DECREASE, outcome=off)
    entered = lived.entered_us["push-budget"]
    control = formula(company)["push-budget"] == 0
    mature = (entered >= 0) & (entered + 28 * DAY_US <= company.days * DAY_US) & control
    received = np.zeros(company.customers)
    for day, sent in enumerate(lived.sent):
        inside = (day * DAY_US >= entered - DAY_US) & ((day + 1) * DAY_US <= entered + 28 * DAY_US)
        received += (sent["daily-deals"] | sent["we-miss-you"]) & inside
    gone = outcome(company, lived, left, entered)
    assert np.corrcoef(received[mature], gone[mature])[0, 1] < 0
    true = truth(company, seed, "push-budget", {}, company.days * DAY_US)["push_off_28"]
    assert true.effect("one", "three") < 0 < true.effect("five", "three")
