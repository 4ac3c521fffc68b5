"""Chaos for half a minute, and a mutant: that the promises hold, and that it would be seen if not.

Longer and with other seeds: `make chaos` and `make mutants`.
"""

from tests.chaos.figures import figures
from tests.chaos.history import shortest
from tests.chaos.mutants import MUTANTS, hunt, is_as_expected
from tests.chaos.run import Plan, deployed

SEED = 20_261_005
SECONDS = 30.0


def test_no_promise_breaks_while_everything_else_does() -> None:
    with deployed(Plan(seed=SEED)) as run:
        run.load(SECONDS)
        violations = run.judge()
        assert not violations, shortest(run.evidence, violations, SEED)
        told = figures(run.evidence)
        agrees, words = run.deployment.verify()
        assert agrees, words
    assert len(told.faults) >= 5, "hardly anything was broken"
    assert told.allowed > 50, "hardly anything was allowed"
    assert told.sends > 30, "hardly anything was sent"


def test_a_deliberate_fault_is_caught() -> None:
    (mutant,) = [each for each in MUTANTS if each.name == "no-lock"]
    caught = hunt(mutant, SEED)
    assert is_as_expected(mutant, caught), caught
