"""Errors carry what a program needs, and read as sentences."""

import pickle

import pytest

from experiments.errors import ExperimentError, PlanError, Problem, TableError


def test_errors_survive_pickling_and_have_one_base() -> None:
    problem = Problem("metrics[0].margin", "-1", "a number above 0", 7)
    for error in (PlanError([problem, problem], "plan.yaml"), TableError("spend", "holds texts")):
        again = pickle.loads(pickle.dumps(error))  # noqa: S301
        assert (str(again), vars(again)) == (str(error), vars(error))
        assert isinstance(error, ExperimentError)
    assert str(PlanError([problem])) == (
        "The plan cannot be used: line 7: metrics[0].margin: found -1, expected a number above 0."
    )


def test_an_error_with_many_problems_shows_the_first_twenty() -> None:
    error = PlanError([Problem("key", str(i), "another") for i in range(50)])
    assert len(error.problems) == 50
    assert "found 19," in str(error)
    assert "found 20," not in str(error)
    assert str(error).endswith("and 30 more")


def test_a_plan_error_without_a_problem_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="found no problem"):
        PlanError([])
