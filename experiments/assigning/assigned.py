"""What assignment answers: a variant, or None, and why; of one unit and of many. Values only, and no formula."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

Codes: TypeAlias = NDArray[np.int16]
ReasonCodes: TypeAlias = NDArray[np.int8]
Flags: TypeAlias = NDArray[np.bool_]
NOBODY: Final = -1


class Reason(StrEnum):
    """Why a customer has a variant, or none. The first that applies, in this order."""

    TESTER = "tester"
    STORED = "stored"
    HOLDOUT = "holdout"
    OTHER_SLOT = "other_slot"
    NOT_IN_AUDIENCE = "not_in_audience"
    AUDIENCE_UNKNOWN = "audience_unknown"
    ENTRY_UNKNOWN = "entry_unknown"
    NOT_IN_TRAFFIC = "not_in_traffic"
    ASSIGNED = "assigned"

    @property
    def sentence(self) -> str:
        """For people."""
        match self:
            case Reason.TESTER:
                return "The plan forces this tester into the variant; testers are never analysed."
            case Reason.STORED:
                return "The variant was assigned before, and is kept."
            case Reason.HOLDOUT:
                return "The customer is in the holdout, out of all experiments."
            case Reason.OTHER_SLOT:
                return "The customer's slot in the layer belongs to another experiment, or to none."
            case Reason.NOT_IN_AUDIENCE:
                return "The customer does not meet the conditions of the audience."
            case Reason.AUDIENCE_UNKNOWN:
                return "An attribute that the audience asks for is not known of the customer."
            case Reason.ENTRY_UNKNOWN:
                return "The plan has phases, and it is not known when the customer entered."
            case Reason.NOT_IN_TRAFFIC:
                return "The customer is outside the share of traffic that the experiment takes."
            case Reason.ASSIGNED:
                return "The formula assigns the variant."
            case _:
                assert_never(self)


REASONS: Final = tuple(Reason)
CODE_OF: Final = {each: code for code, each in enumerate(REASONS)}


@dataclass(frozen=True, slots=True)
class Assignment:
    """A variant, or None, and why."""

    variant: str | None
    reason: Reason

    @property
    def is_analysed(self) -> bool:
        """Whether the customer may enter the analysis: assigned, now or before, and no tester."""
        return self.reason in (Reason.ASSIGNED, Reason.STORED)


@dataclass(frozen=True, slots=True, eq=False)
class Assignments:
    """Those of many units, in their order. `codes` are places in `names`, -1 for none."""

    names: tuple[str, ...]
    codes: Codes
    reason_codes: ReasonCodes

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, place: int) -> Assignment:
        code = int(self.codes[place])
        return Assignment(None if code == NOBODY else self.names[code], REASONS[int(self.reason_codes[place])])

    @property
    def variants(self) -> NDArray[np.object_]:
        """Names, and None where there is no variant: a column for a data frame."""
        return np.array([*self.names, None], dtype=np.object_)[self.codes]

    @property
    def reasons(self) -> NDArray[np.object_]:
        """`Reason`s, which are texts too."""
        return np.array(REASONS, dtype=np.object_)[self.reason_codes]

    @property
    def is_analysed(self) -> Flags:
        """Of each, as `Assignment.is_analysed`."""
        return np.isin(self.reason_codes, [CODE_OF[Reason.ASSIGNED], CODE_OF[Reason.STORED]])
