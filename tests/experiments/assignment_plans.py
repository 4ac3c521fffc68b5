"""Plans to assign by, and hostile customers to assign, shared by the tests of assignment and of its SQL."""

from collections.abc import Mapping
from datetime import date
from itertools import product
from typing import Any

import numpy as np

from experiments.assignment import Assignments
from experiments.design import Condition, Direction, Experiment, Holdout, Layer, Mean, Outcome, Phase, Role, Variant
from tests.experiments.assignment_oracle import HOSTILE, PLAN

START, LATER, END = date(2026, 10, 5), date(2026, 11, 2), date(2027, 1, 4)
MANY = [f"customer-{i}" for i in range(100_000)]
SPEND = Mean(name="spend", role=Role.PRIMARY, direction=Direction.INCREASE, outcome=Outcome(column="spend"))


def plan(*weights: tuple[str, float], key: str = "push-budget-2026q4", **more: Any) -> Experiment:
    """A plan of variants; the first is the control."""
    named = weights or (("one", 1), ("three", 1))
    variants = tuple(Variant(name, weight, control=not i) for i, (name, weight) in enumerate(named))
    return Experiment(key=key, variants=variants, metrics=(SPEND,), start=START, end=END, **more)


def golden() -> Experiment:
    """The plan of the golden vectors."""
    weights: Mapping[str, str] = PLAN["variants"]  # pyright: ignore[reportAssignmentType]  # a literal of mixed values
    named = [(name, float(weights[name])) for name in ("control", "three", "five")]
    return plan(*named, traffic=0.8, layer=Layer("push-budget", 1000, 9000), holdout=Holdout("always-on", 0.05))


def same(one: Assignments, other: Assignments) -> bool:
    return list(one.variants) == list(other.variants) and list(one.reasons) == list(other.reasons)


HARD = 'o\'neil \\ "x"'


def everything_at_once() -> Experiment:
    """A plan with all that can be said of assignment."""
    return plan(
        ("one", 1),
        ("three", 0.5),
        ("none", 0),
        (HARD, 0.25),
        layer=Layer("Ü'ber \\", 500, 8500),
        holdout=Holdout("h'old", 0.1),
        phases=(
            Phase(START, {"one": 1, "three": 1, "none": 0, HARD: 0}, 0.4),
            Phase(LATER, {"one": 3, "three": 1, "none": 0, HARD: 2}, 0.9),
        ),
        audience=(Condition("country", among=("DE", "O'Z")), Condition("vip", equal=False), Condition("age", below=65)),
        testers={"o'hara": "three", "😀": HARD},
        seed="s'eed 😀 \\",
    )


def any_texts(count: int) -> list[str]:
    """Texts of any characters but those that PostgreSQL (0) or UTF-8 (half ones) cannot hold."""
    draw = np.random.default_rng(17)
    characters = np.concatenate([np.arange(*each) for each in ((1, 0xD800), (0xE000, 0x110000), *[(1, 0x300)] * 1000)])
    return ["".join(map(chr, characters[draw.integers(len(characters), size=1 + i % 60)])) for i in range(count)]


AGES = (30, 64.5, 70, None, float("nan"))


def rows() -> list[tuple[str, str | None, date | None, str | None, bool | None, float | None]]:
    """Hostile ids in all circumstances: (id, stored, entered, country, vip, age)."""
    units = [*HOSTILE, *(f"{each}-{i}" for each in HOSTILE for i in range(15)), *dict.fromkeys(any_texts(500))]
    around = list(
        product(
            (None, None, None, "one"), (START, LATER, END, None), ("DE", "DE", "O'Z", "FR", None), (False, True, None)
        )
    )
    return [(unit, *around[i * 7 % len(around)], AGES[i % 5]) for i, unit in enumerate(units)]
