"""A simulated company plays through the operations, and what Takt makes of it is what was to come of it."""

import numpy as np
import psycopg
import pytest

from engine.demo.companies import small
from engine.demo.company import HOUR_US, Company
from engine.demo.fates import fate, formula
from engine.demo.player import Played, play
from engine.operations.decider import Decider
from engine.settings import Settings

SEED = 3


async def played(url: str, company: Company) -> Played:
    decider = Decider(url, Settings(lanes=2))
    await decider.open()
    try:
        return await play(decider, company, SEED)
    finally:
        await decider.close()


@pytest.mark.anyio
async def test_takt_lets_through_what_arithmetic_says_and_tells_who_entered_when(database_url: str) -> None:
    """Two accounts of one policy that share no code: every message of every customer on every day."""
    company = small(customers=200, days=28)
    ids = company.ids
    of = await played(database_url, company)
    truth = fate(company, SEED, formula(company), of.stopped)
    for day in range(company.days):
        for campaign in company.campaigns:
            ours, theirs = of.sent[day][campaign.name], truth.sent[day][campaign.name]
            differing = np.flatnonzero(ours != theirs)
            assert not len(differing), (day, campaign.name, differing[:5])
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT x.key, e.customer_id, e.variant, coalesce(e.diverged_us, CASE WHEN x.key <> 'push-budget' THEN"
            " e.eligible_us END) FROM exposures e JOIN experiments x ON x.number = e.experiment"
        ).fetchall()
    variants = formula(company)
    for key, entered in truth.entered_us.items():
        found = {customer_id: (variant, at_us) for k, customer_id, variant, at_us in rows if k == key and at_us}
        numbers = np.flatnonzero(entered >= 0)
        assert set(found) == {ids[each] for each in numbers}, key
        for each in numbers:
            variant, at_us = found[ids[each]]
            assert variant == variants[key][each]
            assert 0 <= at_us - of.day_zero_us - entered[each] < HOUR_US
