"""All cases, in the order of the report."""

from tests.calibration import amounts, few, looks, rates, ratio_mismatch, times
from tests.calibration.claims import Case


def all_cases() -> list[Case]:
    return [case for each in (rates, amounts, times, looks, few, ratio_mismatch) for case in each.cases()]
