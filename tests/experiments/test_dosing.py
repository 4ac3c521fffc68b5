"""Doses beside the contacts that were received, and when one is recommended."""

from dataclasses import replace
from datetime import timedelta

import experiments as ex
from experiments.design import (
    Variant,
)
from experiments.moments import Moments
from experiments.readout import Readout
from tests.experiments.planned import ALL, START, a_plan


def test_doses_stand_beside_the_contacts_that_were_received() -> None:
    variants = (Variant("one", control=True, dose=1), Variant("three", dose=3), Variant("five", dose=5))
    received = {name: Moments(9_000, mean, 9_000.0) for name, mean in (("one", 0.8), ("three", 1.9), ("five", 2.4))}
    found = ex.readout_of(a_plan(variants=variants), replace(ALL, received=received))
    assert [(each.dose, each.per_week) for each in found.received] == [(1, 0.8), (3, 1.9), (5, 2.4)]
    assert [each.metric for each in found.doses] == ["visit", "left", "spend"]
    effects = [row.effect for each in found.doses for row in each.table.rows]
    assert [effect is None for effect in effects] == [True, False, False] * 3
    assert all(effect is None or effect.p_value is None for effect in effects)
    page = str(found)
    assert page.index("WHAT CHANGED FOR CUSTOMERS") < page.index("three AGAINST one")
    assert "limit 3: 1.9 contacts a customer and week, over 9,000 customers" in page
    assert found.recommendation is not None
    assert found.recommendation.variant == "three"
    assert found.recommendation.sentence in " ".join(page.split())
    assert Readout.from_json(found.to_json()) == found


def test_no_dose_is_recommended_before_the_end() -> None:
    variants = (Variant("one", control=True, dose=1), Variant("three", dose=3), Variant("five", dose=5))
    found = ex.readout_of(a_plan(variants=variants), replace(ALL, as_of=START + timedelta(days=20)))
    assert found.doses
    assert found.recommendation is None
