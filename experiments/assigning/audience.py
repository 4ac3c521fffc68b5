"""Whether a customer is in the audience of a plan, which may be unknown: an attribute that nobody told is no answer."""

from collections.abc import Mapping, Sequence

from experiments.plans.variants import Condition, Scalar


def contains(conditions: Sequence[Condition], attributes: Mapping[str, Scalar | None]) -> bool | None:
    """True where all conditions are met, False where one is not, None where that cannot be known."""
    found = [_meets(each, attributes.get(each.attribute)) for each in conditions]
    return False if False in found else None if None in found else True


def _meets(condition: Condition, value: Scalar | None) -> bool | None:
    """Whether a value meets a condition; None where it is missing (NaN is), or where a text is asked for its size."""
    if value is None or is_missing(value):
        return None
    if condition.equal is not None:
        return _same(value, condition.equal)
    if condition.among is not None:
        return any(_same(value, each) for each in condition.among)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    at_least = condition.at_least is None or value >= condition.at_least
    return at_least and (condition.below is None or value < condition.below)


def is_missing(value: object) -> bool:
    """Nothing, NaN, or pandas' NA: what data frames have for nothing, of texts too."""
    try:
        return value is None or bool(value != value)
    except TypeError:  # NA does not even say whether it is itself
        return True


def _same(one: Scalar, other: Scalar) -> bool:
    """Equal, and not a truth value beside a number: 1 is not true."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
