"""The error tree: codes that programs can rely on, and errors that survive a process boundary."""

import inspect
import pickle

import pytest

from engine.core import errors
from engine.core.errors import InvalidPolicy, Overloaded, Problem, TaktError

ALL = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, TaktError)]
PROBLEMS = (Problem("lease", "7", "a duration", 3), Problem("", "null", "a mapping"))


def test_each_error_has_a_code_of_its_own_and_says_when_it_is_raised():
    assert len({each.code for each in ALL}) == len(ALL)
    assert all(each.__doc__ and ("Raised" in each.__doc__ or each is TaktError) for each in ALL)


def test_every_error_stands_in_the_drawing():
    assert all(f" {each.__name__}" in (errors.__doc__ or "") for each in ALL)


def test_an_invalid_document_says_where_and_what_in_its_message():
    assert str(InvalidPolicy(PROBLEMS, "shop.yaml")) == (
        "shop.yaml is invalid: line 3: lease: found 7, expected a duration (and 1 more)."
    )


def test_there_is_no_invalid_document_without_a_problem():
    with pytest.raises(ValueError):
        InvalidPolicy(())


@pytest.mark.parametrize(
    "error", [TaktError("No."), Overloaded("Full.", retry_after_s=7), InvalidPolicy(PROBLEMS, "a")]
)
def test_an_error_keeps_what_it_carries_when_pickled(error: TaktError):
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(again), vars(again), str(again)) == (type(error), vars(error), str(error))
