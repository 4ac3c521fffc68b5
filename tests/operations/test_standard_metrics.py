"""What every experiment reads without being asked for: added where it is lacking, and never deciding."""

from dataclasses import replace

from engine.core.events import OWN_TYPE, EventType
from engine.operations.standard_metrics import Extended, extended, values_of
from engine.store import analysis_sql
from experiments.design import METRICS_MAX, Experiment, Mean, Rate, Reachable, Role, Value
from experiments.reading.event_metrics import outcomes
from tests.operations.plans import PLAN, plan

OURS = plan(PLAN).experiment


def full(of: Experiment = OURS, channels: tuple[str, ...] = ("email", "push")) -> Extended:
    return extended(of, channels, has_margins=True, has_refusals=True)


def test_they_are_those_that_the_plan_lacks_under_whatever_name() -> None:
    found = full()
    assert "reachable_28_email" in found.added
    assert "reachable_28_push" not in found.added, "the plan has it, called `reachable`"
    assert "unsubscribed_28" not in found.added, "the plan has it, called `gone`"
    assert found.plan.metrics[: len(OURS.metrics)] == OURS.metrics
    assert [each.name for each in found.plan.metrics[len(OURS.metrics) :]] == list(found.added)
    other = replace(OURS.metrics[1], outcome=replace(outcomes(OURS.metrics[1])[0], within_days=14))
    assert "unsubscribed_28" in full(replace(OURS, metrics=(OURS.metrics[0], other))).added, "of other days"


def test_none_of_them_decides() -> None:
    added = full().plan.metrics[len(OURS.metrics) :]
    assert {each.role for each in added} == {Role.SECONDARY, Role.DESCRIPTIVE}
    assert {type(each) for each in added} == {Reachable, Rate, Mean, Value}


def test_what_there_is_nothing_of_is_not_read() -> None:
    found = extended(OURS, [], has_margins=False, has_refusals=False)
    missing = set(full().added) - set(found.added)
    assert missing == {"reachable_28_email", "refused_28", "refused_again_28", "net_value_28"}
    assert values_of(found.plan) == frozenset()
    assert values_of(full().plan) == {"margin"}


def test_a_name_that_the_plan_uses_otherwise_is_left_to_it() -> None:
    taken = replace(OURS.metrics[0], name="contacts_28")
    found = full(replace(OURS, metrics=(taken, OURS.metrics[1])))
    assert "standard_contacts_28" in found.added
    both = replace(OURS.metrics[0], name="standard_contacts_28", day=27)
    assert not {each for each in full(replace(OURS, metrics=(taken, both))).added if "contacts" in each}


def test_a_plan_without_room_keeps_its_own() -> None:
    many = tuple(replace(OURS.metrics[0], name=f"m{number}", day=number) for number in range(METRICS_MAX - 2))
    found = full(replace(OURS, metrics=many))
    assert len(found.plan.metrics) == METRICS_MAX
    assert len(found.added) == 2
    assert found.no_room


def test_no_sender_can_send_what_is_derived() -> None:
    derived = {value for name, value in vars(analysis_sql).items() if name.isupper() and isinstance(value, str)}
    derived = {each for each in derived if each.startswith("takt:")}
    named = {each.event for metric in full().plan.metrics for each in outcomes(metric) if each.event}
    assert derived == {each for each in named if each not in {kind.value for kind in EventType}}
    assert not [each for each in derived if OWN_TYPE.fullmatch(each)]
