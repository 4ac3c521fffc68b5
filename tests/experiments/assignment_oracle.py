"""Assignment once more, from docs/assignment.md alone: by `sha256sum` and decimal arithmetic, sharing no code.

`python -m tests.experiments.assignment_oracle > tests/vectors/assignment.json` wrote the golden vectors, which never
change: a change of one is a reshuffle of every running experiment.
"""

import json
import subprocess
from decimal import ROUND_FLOOR, Decimal, getcontext
from typing import Any, Final

HOSTILE: Final = (
    *("ada", "", " ", "2", "12", "0", "007", "ADA", "o'hara", 'say "hi"', "back\\slash", "semi;--", "%s", "$1", "a:b"),
    *(
        "tab\there",
        "new\nline",
        "é",
        "e\u0301",
        "Zoë@example.com",
        "日本語",
        "😀",
        "👩‍👩‍👧",
        "\u202etfel",
        "x" * 200,
        "ü" * 200,
    ),
    *("😀" * 200, "3f2b8c1e-0d4a-4c5e-9b7f-2a1d6e8c9f00"),
)
LISTS: Final = (("a",), ("a1",), ("push-budget-2026q4",), ("été 😀",), ("layer", "push-budget"), ("holdout", "h"))
SHARES: Final = ("0", "1", "0.1", "0.5", "0.05", "0.333", "0.001", "1e-07", "0.30000000000000004", "1e-30")
WEIGHTS: Final = (
    *(("1", "1"), ("1", "1", "1"), ("0.1", "0.2", "0.7"), ("0", "1", "0", "2"), ("90", "10"), ("33.3", "66.7")),
    *(("1e-06", "1000000"), ("1", "0")),
)
PLAN: Final = {
    "seed": "push-budget-2026q4",
    "variants": {"three": "0.25", "control": "1", "five": "0.5"},
    "traffic": "0.8",
    "layer": {"name": "push-budget", "first": 1000, "after": 9000},
    "holdout": {"name": "always-on", "share": "0.05"},
}
_2_60: Final = Decimal(2) ** 60
getcontext().prec = 200


def digest(*texts: str) -> str:
    """The hex digits for fields and unit, by the program that every system has."""
    message = b"".join(str(len(each.encode())).encode() + b":" + each.encode() for each in texts)
    done = subprocess.run(["sha256sum"], input=message, capture_output=True, check=True)
    return done.stdout.decode()[:64]


def numbers(*texts: str) -> tuple[int, int]:
    found = digest(*texts)
    return int(found[0:15], 16), int(found[15:30], 16)


def threshold(share: str) -> int:
    return int((Decimal(share) * _2_60).to_integral_value(ROUND_FLOOR))


def bounds(weights: tuple[str, ...]) -> list[int]:
    amounts = [int(Decimal(each) * 10**30) for each in weights]
    return [sum(amounts[: i + 1]) * 2**60 // sum(amounts) for i in range(len(amounts))]


def vectors() -> dict[str, Any]:
    """Numbers are texts: JSON readers of many languages keep 53 bits of one."""
    draws = [
        {
            "fields": list(fields),
            "unit": unit,
            "sha256": digest(*fields, unit),
            "first": str(numbers(*fields, unit)[0]),
            "second": str(numbers(*fields, unit)[1]),
        }
        for fields in LISTS
        for unit in HOSTILE
    ]
    return {
        "draws": draws,
        "thresholds": [{"share": each, "threshold": str(threshold(each))} for each in SHARES],
        "bounds": [{"weights": list(each), "bounds": list(map(str, bounds(each)))} for each in WEIGHTS],
        "plan": PLAN,
        "assignments": [_assigned(unit) for unit in HOSTILE],
    }


def _assigned(unit: str) -> dict[str, Any]:
    """What `PLAN` makes of a unit."""
    traffic, number = numbers("push-budget-2026q4", unit)
    first, second, _ = bounds(("1", "0.5", "0.25"))
    variant = ("control", "five", "three")[0 if number < first else 1 if number < second else 2]
    reason = "assigned"
    if numbers("holdout", "always-on", unit)[0] < threshold("0.05"):
        reason = "holdout"
    elif not 1000 <= numbers("layer", "push-budget", unit)[0] % 10_000 < 9000:
        reason = "other_slot"
    elif traffic >= threshold("0.8"):
        reason = "not_in_traffic"
    return {"unit": unit, "variant": variant if reason == "assigned" else None, "reason": reason}


if __name__ == "__main__":
    print(json.dumps(vectors(), indent=1, ensure_ascii=True))
