"""Why rows or units are no part of the analysis: a closed set of stable codes, with a sentence each.

Nothing that was left out stays unsaid. Structural nonsense (a missing column, text for numbers, one unit in two rows of
the wide form) is no exclusion but a `TableError`.
"""

from enum import StrEnum
from typing import assert_never

from experiments.aggregates import Exclusion


class Reason(StrEnum):
    """In the order in which they are looked for; of a unit, the first that applies counts. Append, never reorder."""

    NO_UNIT = "no_unit"
    TESTER = "tester"
    IN_TWO_VARIANTS = "in_two_variants"
    NO_VARIANT = "no_variant"
    UNKNOWN_VARIANT = "unknown_variant"
    NO_ENTRY_TIME = "no_entry_time"
    ENTERED_BEFORE_START = "entered_before_start"
    ENTERED_AFTER_END = "entered_after_end"
    ENTERED_AFTER_AS_OF = "entered_after_as_of"
    PHASE_OUTSIDE_PLAN = "phase_outside_plan"
    NO_OUTCOME = "no_outcome"
    REPEATED_EXPOSURE = "repeated_exposure"
    EVENT_BEFORE_ENTRY = "event_before_entry"
    EVENT_AFTER_AS_OF = "event_after_as_of"
    EVENT_WITHOUT_TIME = "event_without_time"
    EVENT_WITHOUT_UNIT = "event_without_unit"
    EVENT_WITHOUT_VALUE = "event_without_value"
    EVENT_OF_OTHERS = "event_of_others"
    DUPLICATED_EVENT = "duplicated_event"
    SUSPECT_EVENT = "suspect_event"
    BOUNCE_OF_UNKNOWN_KIND = "bounce_of_unknown_kind"
    UNKNOWN_TIME_ZONE = "unknown_time_zone"
    GONE_BEFORE_ENTRY = "gone_before_entry"
    EVENT_AND_COMPETING = "event_and_competing"
    OUTCOME_NOT_CUT = "outcome_not_cut"


def exclusion(reason: Reason, count: int, detail: str = "") -> Exclusion:
    """The exclusion with its sentence; `detail` names the metric, the column, or what was found."""
    return Exclusion(reason.value, count, f"{count:,} {_sentence(reason, count != 1)}{detail}")


def _sentence(reason: Reason, many: bool) -> str:  # noqa: C901 - one branch a reason
    rows, units, events = ("rows", "units", "events") if many else ("row", "unit", "event")
    match reason:
        case Reason.NO_UNIT:
            return f"{rows} without a unit"
        case Reason.TESTER:
            return f"{units} of the plan's testers"
        case Reason.IN_TWO_VARIANTS:
            return f"{units} seen in two variants"
        case Reason.NO_VARIANT:
            return f"{units} without a variant"
        case Reason.UNKNOWN_VARIANT:
            return f"{units} in a variant that the plan does not know"
        case Reason.NO_ENTRY_TIME:
            return f"{units} without a time of entry"
        case Reason.ENTERED_BEFORE_START:
            return f"{units} who entered before the plan's start"
        case Reason.ENTERED_AFTER_END:
            return f"{units} who entered after the plan's end"
        case Reason.ENTERED_AFTER_AS_OF:
            return f"{units} who entered at or after the instant of this analysis"
        case Reason.PHASE_OUTSIDE_PLAN:
            return f"{units} in a phase that the plan does not have"
        case Reason.NO_OUTCOME:
            return f"{units} without a usable outcome (empty, not finite, or below 0 for a duration), left out of "
        case Reason.REPEATED_EXPOSURE:
            return f"{rows} that repeat an exposure: the first stands"
        case Reason.EVENT_BEFORE_ENTRY:
            return f"{events} from before the unit entered: no outcome, but history of what is reachable"
        case Reason.EVENT_AFTER_AS_OF:
            return f"{events} at or after the instant of this analysis"
        case Reason.EVENT_WITHOUT_TIME:
            return f"{events} without a time"
        case Reason.EVENT_WITHOUT_UNIT:
            return f"{events} without a unit"
        case Reason.EVENT_WITHOUT_VALUE:
            return f"{events} without a finite value, left out of sums of "
        case Reason.EVENT_OF_OTHERS:
            return f"{events} of customers who are not analysed"
        case Reason.DUPLICATED_EVENT:
            return f"{rows} that repeat the id of an event: the earliest stands"
        case Reason.SUSPECT_EVENT:
            return f"suspect {events} (of machines, it seems), left out of the outcomes and counted beside them"
        case Reason.BOUNCE_OF_UNKNOWN_KIND:
            return f"bounced {events} that do not say whether they are hard, taken as soft"
        case Reason.UNKNOWN_TIME_ZONE:
            return f"{units} without a known time zone, whose calendar days are counted in UTC"
        case Reason.GONE_BEFORE_ENTRY:
            return f"{units} gone before entry, by the event or a competing one, and not at risk in "
        case Reason.EVENT_AND_COMPETING:
            return f"{units} with both the event and a competing one, taken as the event in "
        case Reason.OUTCOME_NOT_CUT:
            return f"{units} whose outcome cannot be cut at the instant of this analysis, taken as it stands in "
        case _:
            assert_never(reason)
