"""Simulated customers: their truth is true, and they break what an analysis would like to assume."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from experiments.analysis import analyze
from experiments.design import Experiment
from experiments.simulate import Simulation, Truth, World, potential_outcomes, simulate, truth
from experiments.simulation.tables import OUTCOMES

Frame: TypeAlias = Any  # a pandas.DataFrame, whose declared types admit less than it does

WORLD = World(customers=60_000, limits={"one": 1, "three": 3, "five": 5}, seed=3)
START = datetime(2026, 10, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(WORLD)


@pytest.fixture(scope="module")
def wide(simulation: Simulation) -> Frame:
    return simulation.wide.to_pandas()


@pytest.fixture(scope="module")
def events(simulation: Simulation) -> Frame:
    return simulation.events.to_pandas()


@pytest.fixture(scope="module")
def known() -> Truth:
    return truth(WORLD)


@pytest.fixture(scope="module")
def potential() -> dict[str, dict[str, np.ndarray]]:
    return potential_outcomes(WORLD)


def test_the_same_seed_gives_the_same_tables_and_another_seed_others():
    small = World(customers=500, seed=4)
    for name in ("exposures", "events", "wide"):
        assert getattr(simulate(small), name).equals(getattr(simulate(small), name))
    assert not simulate(small).events.equals(simulate(World(customers=500, seed=5)).events)


def test_tables_have_the_columns_of_the_long_form(simulation: Simulation):
    instant = pa.timestamp("us", tz="UTC")
    assert {each.name: each.type for each in simulation.exposures.schema} == {
        "customer_id": pa.string(),
        "variant": pa.string(),
        "entered_at": instant,
        "lifecycle": pa.string(),
        "time_zone": pa.string(),
    }
    assert {each.name: each.type for each in simulation.events.schema} == {
        "id": pa.string(),
        "customer_id": pa.string(),
        "type": pa.string(),
        "at": instant,
        "received_at": instant,
        "channel": pa.string(),
        "message_id": pa.string(),
        "value": pa.float64(),
        "suspect": pa.bool_(),
    }
    assert set(OUTCOMES) <= set(simulation.wide.column_names)


@pytest.mark.parametrize("outcome", ["unsubscribed", "reachable", "left", "sent", "spend", "retained"])
def test_what_randomised_variants_differ_by_is_the_truth_within_chance(wide: Frame, known: Truth, outcome: str):
    arms = {variant: rows[outcome].astype(float) for variant, rows in wide.groupby("variant")}
    for treatment in ("three", "five"):
        estimate = arms[treatment].mean() - arms["one"].mean()
        error = np.sqrt(arms[treatment].var() / len(arms[treatment]) + arms["one"].var() / len(arms["one"]))
        assert abs(estimate - known.effect(outcome, treatment, "one")) < 4.5 * error


def test_who_enters_does_not_depend_on_the_variant(wide: Frame, known: Truth, potential: Any):
    assert len(wide) == known.units
    assert {len(each["sent"]) for each in potential.values()} == {known.units}
    assert wide.customer_id.is_unique


def test_each_customer_under_their_own_variant_is_that_customer_in_the_truth(wide: Frame, potential: Any):
    """One luck for both worlds: what was simulated with variants mixed is found again in the worlds of each alone."""
    names = ["sent", "clicks", "sessions", "spend"]
    in_truth = Counter(zip(*(potential["three"][each] for each in names), strict=True))
    mixed = Counter(wide[wide.variant == "three"][names].itertuples(index=False, name=None))
    assert mixed <= in_truth


def test_contacts_cause_unsubscribes_and_sales(known: Truth):
    means = [known.means[each] for each in ("one", "three", "five")]
    for outcome in ("sent", "unsubscribed", "spend", "complained"):
        low, middle, high = (each[outcome] for each in means)
        assert low < middle < high
    assert means[0]["reachable"] > means[1]["reachable"] > means[2]["reachable"]


def test_contacts_received_correlate_the_wrong_way(wide: Frame):
    """Within a variant whoever got more unsubscribed less."""
    for _, rows in wide.groupby("variant"):
        assert np.corrcoef(rows.sent, rows.unsubscribed)[0, 1] < -0.02


def test_unsubscribes_per_message_say_the_opposite_of_unsubscribes_per_customer(known: Truth):
    one, five = known.means["one"], known.means["five"]
    assert five["unsubscribed"] > 1.5 * one["unsubscribed"]
    assert five["unsubscribed"] / five["sent"] < 0.95 * one["unsubscribed"] / one["sent"]


def test_about_half_of_the_customers_never_reach_the_limit(potential: Any):
    same = potential["one"]["sent"] == potential["five"]["sent"]
    assert 0.4 < same.mean() < 0.6


def test_no_customer_gets_more_than_their_limit_in_any_seven_days(events: Frame, wide: Frame):
    sent = events[events.type == "sent"].drop_duplicates("id").merge(wide[["customer_id", "variant", "entered_at"]])
    sent = sent[sent["at"] >= sent.entered_at].sort_values(["customer_id", "at"])
    day = (sent["at"] - START) // timedelta(days=1)
    for variant, limit in WORLD.limits.items():
        mine = sent.variant == variant
        later = day[mine].groupby(sent.customer_id[mine]).shift(-limit)
        assert (later - day[mine]).min() >= 7


def test_early_entrants_are_the_busy_ones(wide: Frame):
    first = wide.entered_at < START + timedelta(days=2)
    assert wide.sent[first].mean() > 1.5 * wide.sent[~first].mean()


def test_the_week_has_a_shape(events: Frame):
    by_day = events[events.type == "sent"]["at"].dt.day_of_week.value_counts()
    assert by_day[[5, 6]].mean() < 0.8 * by_day[[0, 1, 2, 3, 4]].mean()


def test_some_sleep_for_weeks_and_return(events: Frame):
    sessions = events[events.type == "session"].sort_values(["customer_id", "at"])
    gaps = sessions["at"].groupby(sessions.customer_id).diff()
    assert (gaps > timedelta(days=28)).sum() > 100


def test_machines_click_and_unsubscribe_and_nothing_follows(events: Frame, wide: Frame):
    suspects = events[events.suspect]
    assert set(suspects.type) == {"clicked", "unsubscribed"}
    sent = events[events.type == "sent"].drop_duplicates("id").set_index("message_id")["at"]
    after = (suspects["at"] - suspects.message_id.map(sent)).dropna().to_numpy()
    assert len(after) > 0.99 * len(suspects)  # of a few the sending has not arrived yet
    assert (after > np.timedelta64(0)).all()
    assert (after < np.timedelta64(2, "m")).all()
    only_machines = wide[wide.unsubscribed_suspects_counted & ~wide.unsubscribed & ~wide.left & ~wide.complained]
    assert only_machines.reachable.all()
    assert len(only_machines) > 100


def test_counting_machines_would_change_the_effect(wide: Frame, known: Truth):
    rates = wide.groupby("variant").unsubscribed_suspects_counted.mean()
    assert rates["five"] - rates["one"] > 1.4 * known.effect("unsubscribed", "five", "one")


def test_some_events_come_late_and_some_twice(events: Frame):
    assert events.received_at.is_monotonic_increasing
    assert (events.received_at >= events["at"]).all()
    assert 0.01 < (events.received_at - events["at"] > timedelta(days=1)).mean() < 0.04
    again = events[events.id.duplicated(keep=False)].sort_values("id", kind="stable")
    first, second = again[0::2].reset_index(drop=True), again[1::2].reset_index(drop=True)
    assert len(first) > 0.01 * len(events)
    pd.testing.assert_frame_equal(first.drop(columns="received_at"), second.drop(columns="received_at"))


def test_who_was_erased_stays_as_a_row_without_a_name(simulation: Simulation, events: Frame, wide: Frame):
    erased = set(events[events.type == "erased"].customer_id)
    assert len(erased) > 20
    assert all(each.startswith("anonymous-") for each in erased)
    nameless = wide[wide.customer_id.str.startswith("anonymous-")]
    assert len(nameless) >= len(erased)
    exposed = simulation.exposures.to_pandas().customer_id
    assert erased <= set(exposed)


def test_nothing_happens_after_leaving_and_no_contact_after_unsubscribing(events: Frame):
    once = events[~events.suspect].drop_duplicates("id")
    last = once.groupby("customer_id")["at"].max()
    gone = once[once.type.isin(["account_closed", "erased"])].set_index("customer_id")["at"]
    assert (last[gone.index] == gone).all()
    returned = set(once[once.type == "resubscribed"].customer_id)
    out = once[once.type.isin(["unsubscribed", "complained"]) & ~once.customer_id.isin(returned)]
    out = out.set_index("customer_id")["at"]
    assert out.index.is_unique
    last_sent = once[once.type == "sent"].groupby("customer_id")["at"].max()
    assert (last_sent[out.index] < out).all()


def test_some_leave_by_other_ways_before_they_unsubscribe(wide: Frame):
    assert wide.competing.sum() > 300
    assert wide.event.sum() > 300
    assert not (wide.event & wide.competing).any()


def test_few_buy_and_some_of_them_a_lot(wide: Frame):
    assert (wide.spend > 0).mean() < 0.1
    assert wide.spend.skew() > 10
    top = wide.spend.nlargest(len(wide) // 1000)
    assert top.sum() > 0.15 * wide.spend.sum()


def test_wide_outcomes_are_those_of_the_events_counted_by_hand(events: Frame, wide: Frame):
    once = events[~events.suspect].drop_duplicates("id").merge(wide[["customer_id", "entered_at"]])
    inside = once[(once["at"] >= once.entered_at) & (once["at"] < once.entered_at + timedelta(days=28))]
    by_hand: Frame = pd.DataFrame(
        {
            "sent": inside[inside.type == "sent"].groupby("customer_id").size(),
            "spend": inside[inside.type == "purchase"].groupby("customer_id").value.sum(),
            "unsubscribed": inside[inside.type == "unsubscribed"].groupby("customer_id").size() > 0,
        }
    )
    # A few events of the last days are still on their way; nobody has more than really happened, and most have all.
    joined = wide.set_index("customer_id").join(by_hand.fillna(0).add_suffix("_found")).fillna(0)
    for name in ("sent", "spend", "unsubscribed"):
        assert (joined[f"{name}_found"].astype(float) <= joined[name].astype(float) + 1e-6).all()
        assert np.isclose(joined[f"{name}_found"].astype(float), joined[name].astype(float)).mean() > 0.99


def test_before_the_end_only_what_happened_and_arrived_is_there(simulation: Simulation):
    early = simulate(WORLD, as_of_day=20)
    until = pd.Timestamp(START + timedelta(days=20))
    assert early.exposures.num_rows < simulation.exposures.num_rows
    assert early.exposures.to_pandas().entered_at.max() < until
    assert early.events.to_pandas().received_at.max() < until
    wide = early.wide.to_pandas()
    assert not wide.mature.any()
    assert (wide.entered_at + pd.to_timedelta(wide.days, unit="D") <= until + timedelta(seconds=1)).all()
    assert wide.sent.sum() < simulation.wide.to_pandas().sent.sum()


def test_at_the_end_everybody_is_mature(wide: Frame):
    assert wide.mature.all()


def test_customers_are_shared_out_by_weights():
    counts = simulate(World(customers=20_000, weights={"one": 9, "three": 1})).wide.to_pandas().variant.value_counts()
    assert 0.085 < counts["three"] / counts.sum() < 0.115


def test_a_limit_of_none_sends_nothing():
    wide = simulate(World(customers=3_000, limits={"three": 3, "none": 0})).wide.to_pandas()
    assert wide[wide.variant == "none"].sent.sum() == 0
    assert not wide[wide.variant == "none"].unsubscribed.any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"customers": 0},
        {"limits": {}},
        {"limits": {"one": -1}},
        {"weights": {"one": 1.0}},
        {"weights": {"one": 0.0, "three": 0.0}},
        {"horizon_days": 1},
        {"entry_days": 0},
        {"seed": -1},
    ],
)
def test_a_world_that_cannot_be_is_refused(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match="expected"):
        World(**wrong)


def test_one_customer_is_a_world_too():
    tables = simulate(World(customers=1, start=date(2026, 1, 5)))
    assert tables.exposures.num_rows <= 1


PLAN = """
key: limits
variants:
  - {name: one, weight: 1, control: true, dose: 1}
  - {name: three, weight: 1, dose: 3}
start: 2026-10-05
end: 2026-12-01
horizon_days: 28
metrics:
  - {name: unsubscribed, kind: rate, event: unsubscribed, within_days: 28, role: primary, direction: decrease}
  - {name: retained, kind: retention, event: session, on_or_after_day: 14, until_day: 28,
     role: secondary, direction: increase}
  - {name: spend, kind: mean, event: purchase, value: value, within_days: 28, role: secondary, direction: increase}
columns: {event_id: id}
inference: fixed
"""


def test_a_readout_of_the_events_has_the_numbers_that_were_counted_here():
    """Two ways from the same lives: through Ibis and the plan's windows, and by sums over arrays."""
    world = World(customers=6_000)
    tables = simulate(world, as_of_day=80)  # everything has arrived by then
    readout = analyze(Experiment.from_yaml(StringIO(PLAN)), tables.exposures, tables.events, as_of=date(2026, 12, 24))
    counted = tables.wide.to_pandas().groupby("variant")[["unsubscribed", "retained", "spend"]].agg(["sum", "count"])
    known = truth(world)
    for metric in readout.metrics:
        found = {each.variant: (each.numerator, each.denominator) for each in metric.arms}
        wanted = {each: tuple(counted.loc[each, metric.name]) for each in ("one", "three")}
        assert found == {each: pytest.approx(numbers) for each, numbers in wanted.items()}
        estimate = metric.comparisons[0].estimate
        assert not estimate.excludes(known.effect(metric.name, "three", "one"))
