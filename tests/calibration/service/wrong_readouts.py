"""The analyses of a tired team, planted in the service: each puts a wrong piece in the place of a right one.

All of them run on PostgreSQL, look plausible and give an interval. A substitution ends with the test that made it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeAlias

import ibis
import pytest

from engine.core.policy import DAY_US
from engine.operations import readout
from engine.store import analysis_sql
from engine.store.analysis import COLUMNS
from experiments.aggregates import Aggregate, Aggregates
from experiments.design import Experiment, Rate
from experiments.moments import Counts, Moments
from tests.experiments import wrong_analyses

Substitution: TypeAlias = Callable[[pytest.MonkeyPatch], None]

_SELDOM, _OFTEN = 5, 12  # contacts in 28 days
_OTHERS: Final = "x.customer_id, x.experiment, x.phase, x.flags, x.segments, x.eligible_us"
_CONTACTS: Final = (
    "SELECT count(*) FROM journal j WHERE j.customer_id = x.customer_id"
    f" AND j.at_us BETWEEN x.diverged_us AND x.diverged_us + {28 * DAY_US}"
)


def exposed_when_allowed(patch: pytest.MonkeyPatch) -> None:
    """Entry by the first message that was *allowed*: whoever was refused all the time is not there, others come
    later."""
    first = "SELECT min(j.at_us) FROM journal j WHERE j.customer_id = x.customer_id AND j.at_us > x.diverged_us"
    _expose(patch, "x.variant", f"({first})")


def eligible_taken_for_diverged(patch: pytest.MonkeyPatch) -> None:
    """The right customers, watched from the first ask, when nothing differed yet."""
    _expose(patch, "x.variant", "CASE WHEN x.diverged_us IS NOT NULL THEN x.eligible_us END")


def everybody_as_denominator(patch: pytest.MonkeyPatch) -> None:
    """All who were asked about, also those whom no variant ever treated otherwise."""
    _expose(patch, "x.variant", "coalesce(x.diverged_us, x.eligible_us)")


def grouped_by_contacts_received(patch: pytest.MonkeyPatch) -> None:
    """As treated: customers are compared by what they got, not by what they were assigned."""
    arm = f"CASE WHEN ({_CONTACTS}) < {_SELDOM} THEN 1 WHEN ({_CONTACTS}) < {_OFTEN} THEN 0 ELSE 2 END"
    _expose(patch, f"CASE WHEN x.diverged_us IS NULL THEN x.variant ELSE {arm} END", "x.diverged_us")


def released_counted_as_sent(patch: pytest.MonkeyPatch) -> None:
    """Whatever was reserved is a contact."""
    _replace_text(patch, "_CONTACTS", "WHERE r.kind IN", "WHERE true OR r.kind IN")


def suspects_counted(patch: pytest.MonkeyPatch) -> None:
    """Unsubscribes of link scanners are taken for those of customers."""
    patch.setattr(analysis_sql, "SUSPECT", 0)


def read_beyond_the_end(patch: pytest.MonkeyPatch) -> None:
    """What happened after an experiment was stopped is counted too."""
    right = readout.Analysis
    patch.setattr(readout, "Analysis", lambda connection, wanted, _until_us: right(connection, wanted))


def inactive_as_left(patch: pytest.MonkeyPatch) -> None:
    """Who has not come for fourteen days has closed the account, whatever they said."""

    def wrong(exposures: Any, events: Any) -> tuple[Any, Any]:
        sessions = events.filter(events[COLUMNS.event] == "session")
        until_us = sessions[COLUMNS.at] + wrong_analyses.SILENCE_DAYS * DAY_US
        next_us = sessions[COLUMNS.at].lead().over(ibis.window(group_by=COLUMNS.unit, order_by=COLUMNS.at))
        silent = sessions.mutate(following=next_us).mutate(
            **{COLUMNS.at: until_us, COLUMNS.event: ibis.literal("account_closed")}
        )
        silent = silent.filter(silent["following"].isnull() | (silent["following"] > silent[COLUMNS.at]))
        others = events.filter(events[COLUMNS.event] != "account_closed")
        return exposures, others.union(silent.select(events.columns))

    wrong_analyses.replace_tables(patch, wrong)


def per_message(patch: pytest.MonkeyPatch) -> None:
    """A rate of customers becomes one of messages."""
    right = readout.aggregate

    def wrong(plan: Experiment, exposures: Any, events: Any, *, as_of: Any) -> Aggregates:
        found = right(plan, exposures, events, as_of=as_of)
        sent = found.outcomes["contacts_28"]
        rates = {
            each.name: {
                cell: _per_message(counts, sent[cell])
                for cell, counts in found.outcomes[each.name].items()
                if cell in sent
            }
            for each in plan.metrics
            if isinstance(each, Rate)
        }
        return replace(found, outcomes={**found.outcomes, **rates})

    patch.setattr(readout, "aggregate", wrong)


immature_counted = wrong_analyses.immature_counted

ALL: Final[tuple[tuple[Substitution, str], ...]] = (
    (exposed_when_allowed, "push-budget"),
    (eligible_taken_for_diverged, "push-budget"),
    (everybody_as_denominator, "push-budget"),
    (grouped_by_contacts_received, "push-budget"),
    (released_counted_as_sent, "push-budget"),
    (per_message, "push-budget"),
    (immature_counted, "push-budget"),
    (suspects_counted, "loud-subjects"),
    (read_beyond_the_end, "loud-subjects"),
)
"""With an experiment of the small company in whose readout each shows."""

OF_DESIGNED: Final[tuple[tuple[Substitution, str], ...]] = (
    (wrong_analyses.phases_pooled, "phases"),
    (inactive_as_left, "fixed"),
    (wrong_analyses.one_minus_kaplan_meier, "fixed"),
    (wrong_analyses.hazards_beside_incidence, "fixed"),
    (wrong_analyses.fisher_beside_a_score_interval, "fixed"),
    (wrong_analyses.student_beside_welch, "fixed"),
    (wrong_analyses.uncorrected_beside_simultaneous, "fixed"),
    (wrong_analyses.fixed_beside_anytime, "anytime"),
)
"""With one of `designed` in whose readout each shows."""


def _expose(patch: pytest.MonkeyPatch, variant: str, diverged: str) -> None:
    """Others in the place of those whom decisions wrote down."""
    exposures = f"(SELECT {_OTHERS}, {variant} AS variant, {diverged} AS diverged_us FROM exposures x)"
    _replace_text(patch, "_ENTERED", "FROM exposures e", f"FROM {exposures} e")


def _replace_text(patch: pytest.MonkeyPatch, name: str, right: str, wrong: str) -> None:
    text: str = getattr(analysis_sql, name)
    assert text.count(right) == 1, f"{name} does not say {right!r} any more"
    patch.setattr(analysis_sql, name, text.replace(right, wrong))


def _per_message(counts: Aggregate, sent: Aggregate) -> Counts:
    assert isinstance(counts, Counts)
    assert isinstance(sent, Moments)
    return Counts(counts.successes, max(counts.successes, round(sent.count * sent.mean)))
