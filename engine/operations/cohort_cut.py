"""How the cohort of a holdout is cut: by its experiment's plan, and the policy that it keeps. Pure."""

from collections.abc import Sequence

from engine.core.policy import Policy
from engine.operations.plan_file import patched_budgets
from engine.store.cohorts import Cut
from engine.store.experiments import Holdout
from experiments.design import Experiment


def cut_of(holdout: Holdout, number: int, plan: Experiment, policy: Policy, every: Sequence[Holdout]) -> Cut:
    """How the cohort of a holdout is cut. `policy`: the version that it keeps; `every`: all holdouts."""
    return Cut(
        holdout,
        number,
        plan.variants.index(plan.control),
        patched_budgets(policy, plan),
        frozenset(name for name, topic in policy.topics.items() if topic.exempt),
        tuple(plan.testers),
        [
            each
            for each in every
            if (each.from_us, each.name) < (holdout.from_us, holdout.name) and each.over_us > holdout.from_us
        ],
    )
