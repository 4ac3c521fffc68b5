"""Which variant does this customer get? An experiment evaluated by itself, under the lock of the customer's account."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from engine.core.errors import Invalid, NotFound, Problem
from engine.core.rules import Rules, RunningExperiment
from engine.core.treatments import Evaluated, evaluate
from engine.operations.batch import Batch, Held, Plain
from engine.operations.exposing import enter


class AssignMode(StrEnum):
    """`expose` writes down that the customer meets the experiment now, `peek` leaves no trace."""

    EXPOSE = "expose"
    PEEK = "peek"


class Assigned(NamedTuple):
    """A customer's variant (None: not in the experiment) and why. `exposed`: on record, by this call or before."""

    experiment: str
    customer_id: str
    variant: str | None
    reason: str
    exposed: bool
    ruleset: int
    at_us: int


@dataclass(frozen=True, slots=True)
class AssignCommand(Plain):
    """The evaluation of one running experiment, by its key. Raises `NotFound` where it is not running.

    An experiment that changes budgets can only be peeked at: who is asked about enters it by the ask, and if being
    told entered them too, those whom somebody asked for would be analysed, whether a budget ever met them or not.
    """

    customer_id: str
    experiment: str

    def apply(self, batch: Batch, held: Held) -> Assigned:
        experiment = self._running(batch.rules)
        if experiment.number in batch.rules.patches:
            expected = f"peek: {self.experiment} changes budgets, so customers enter it by asks (POST /v1/decisions)"
            raise Invalid([Problem("mode", "expose", expected)])
        evaluated = self._evaluated(batch.rules, held, experiment)
        enter(batch, held, evaluated.memberships, evaluated.steps)
        return self._assigned(batch.rules, held, experiment, evaluated)

    def peek(self, rules: Rules, held: Held) -> Assigned:
        """The same, without a trace."""
        experiment = self._running(rules)
        evaluated = self._evaluated(rules, held, experiment)
        return self._assigned(rules, held, experiment, evaluated)

    def _running(self, rules: Rules) -> RunningExperiment:
        found = rules.running(self.experiment)
        if found is None:
            raise NotFound(f"no experiment {self.experiment!r} is running")
        return found

    def _evaluated(self, rules: Rules, held: Held, experiment: RunningExperiment) -> Evaluated:
        return evaluate(rules, self.customer_id, held.customer, experiment, held.now_us)

    def _assigned(self, rules: Rules, held: Held, experiment: RunningExperiment, evaluated: Evaluated) -> Assigned:
        variant, reason, *_ = evaluated.place
        return Assigned(
            self.experiment,
            self.customer_id,
            None if variant is None else experiment.variants[variant],
            reason,
            variant is not None and experiment.number in held.customer.variants,
            rules.number,
            held.now_us,
        )
