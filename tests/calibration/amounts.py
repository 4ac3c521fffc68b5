"""Cases of means, ratios and values: normal and skewed numbers, few buyers, arms of unequal sizes, phases."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import exp

import numpy as np

from experiments.estimates import Estimate, Level, Stratum
from experiments.estimators import means, ratios, value
from experiments.moments import Moments, PairMoments
from tests.calibration.claims import MARGINAL, SKEWED, Case, Tally
from tests.calibration.counting import Floats, log_normal, moments_of, moments_of_buyers, tally

LEVEL = Level()
MEANS = "Means, Welch"
EDGE = "Means at the edge: twice as much paid, few buyers in a small arm, Welch"
PHASES = "Means over phases, Welch with Mantel-Haenszel weights"
RATIOS = "Ratios by customer, delta method"
RATIO_PHASES = "Ratios over phases, delta method with Mantel-Haenszel weights of denominators"
VALUES = "Net value, Welch"
TIES = "Break-even, Fieller"

Drawn = Callable[[np.random.Generator, int], list[Moments]]


def cases() -> list[Case]:
    return [
        _means("normal, 30 and 30 units", _normal(30), _normal(30, 0.5), 0.5),
        _means("normal, 30 and 200 units, standard deviations 3 and 1", _normal(30, spread=3), _normal(200), 0.0),
        _means("exponential, 100 and 100 units", _gamma(100, 1), _gamma(100, 1), 0.0),
        _means("counts (negative binomial, mean 0.5), 200 and 200 units", _counted(200), _counted(200), 0.0),
        *(_spend(*each) for each in _SPENDING),
        *(replace(_spend(*each), family=EDGE, claim=SKEWED) for each in _SPENDING_AT_THE_EDGE),
        _phases(),
        *(_ratio(*each) for each in ((100, 100, 1.0), (1_000, 1_000, 1.1), (3_000, 1_000, 1.0), (9_000, 1_000, 1.0))),
        _ratio_phases(),
        *(_bought(*each) for each in _BUYING),
        *(_net(*each) for each in ((2_000, 2_000, 1.0), (9_000, 1_000, 1.0), (5_000, 5_000, 2.0))),
        _tie(4_000, 4_000),
    ]


_SPENDING = [
    # units of either arm, share of buyers, sigma of what they pay, how many times as much the treatment's pay
    (2_000, 2_000, 0.02, 1.0, 1.0),
    (2_000, 2_000, 0.02, 1.0, 1.1),
    (2_000, 2_000, 0.02, 1.0, 1.5),
    (20_000, 20_000, 0.02, 1.0, 1.25),
    (20_000, 20_000, 0.02, 1.5, 1.0),
    (200, 200, 1.0, 1.0, 1.0),
    (9_000, 1_000, 0.10, 0.7, 1.0),
    (18_000, 2_000, 0.05, 1.0, 1.0),
    (2_000, 6_000, 0.05, 1.0, 1.0),
    (90_000, 10_000, 0.05, 1.0, 1.0),
]
_SPENDING_AT_THE_EDGE = [
    (2_000, 2_000, 0.02, 1.0, 2.0),
    (20_000, 20_000, 0.02, 1.5, 2.0),
    (45_000, 5_000, 0.02, 1.3, 1.0),
]


def _means(name: str, control: Drawn, treatment: Drawn, truth: float) -> Case:
    def run(random: np.random.Generator, simulations: int) -> Tally:
        pairs = zip(control(random, simulations), treatment(random, simulations), strict=True)
        return tally((means.difference([Stratum(*each)], LEVEL) for each in pairs), truth)

    return Case(MEANS, name, MARGINAL, run)


def _spend(n0: int, n1: int, share: float, sigma: float, times: float) -> Case:
    mean = share * exp(sigma**2 / 2)
    name = f"{share:.0%} of {n0:,} and {n1:,} units spend, log-normal with sigma {sigma:g}"
    return _means(
        name + (f", the treatment {times:g} times as much" if times != 1 else ""),
        lambda random, count: moments_of_buyers(random, count, n0, share, log_normal(random, sigma)),
        lambda random, count: moments_of_buyers(random, count, n1, share, log_normal(random, sigma, times)),
        mean * (times - 1),
    )


def _phases() -> Case:
    sizes = ((900, 100), (400, 400), (200, 600))
    weights = [n0 * n1 / (n0 + n1) for n0, n1 in sizes]
    effects = (0.1, 0.2, 0.3)
    truth = sum(w * e for w, e in zip(weights, effects, strict=True)) / sum(weights)

    def run(random: np.random.Generator, simulations: int) -> Tally:
        drawn = [
            (_gamma(n0, 2, phase)(random, simulations), _gamma(n1, 2, phase + effect)(random, simulations))
            for phase, ((n0, n1), effect) in enumerate(zip(sizes, effects, strict=True))
        ]
        return tally(
            (
                means.difference([Stratum(control[i], treatment[i]) for control, treatment in drawn], LEVEL)
                for i in range(simulations)
            ),
            truth,
        )

    return Case(PHASES, "gamma, 900 and 100, 400 and 400, 200 and 600 units", MARGINAL, run)


def _ratio(n0: int, n1: int, times: float) -> Case:
    """Clicks over sessions: customers differ in how often they come, and the busier ones click less."""

    def run(random: np.random.Generator, simulations: int) -> Tally:
        def estimates() -> Sequence[Estimate]:
            found: list[Estimate] = []
            for _ in range(simulations):
                arms = [_clicks(random, units, each) for units, each in ((n0, 1.0), (n1, times))]
                found.append(ratios.difference([Stratum(*arms)], LEVEL))
            return found

        return tally(estimates(), _CLICK_RATE * (times - 1))

    name = f"clicks a session, {n0:,} and {n1:,} units"
    return Case(RATIOS, name + (f", {times:g} times as many" if times != 1 else ""), MARGINAL, run)


_BUSY, _CALM = (6.0, 0.1), (1.0, 0.3)  # sessions beyond the first, clicks a session; half of the customers each
_CLICK_RATE = (7 * 0.1 + 2 * 0.3) / (7 + 2)


def _clicks(random: np.random.Generator, units: int, times: float, share: float = 0.5) -> PairMoments:
    is_busy = random.random(units) < share
    sessions = 1 + random.poisson(np.where(is_busy, _BUSY[0], _CALM[0]))
    clicks = random.binomial(sessions, times * np.where(is_busy, _BUSY[1], _CALM[1]))
    return _pairs(clicks.astype(np.float64), sessions.astype(np.float64))


def _pairs(x: Floats, y: Floats) -> PairMoments:
    dx, dy = x - x.mean(), y - y.mean()
    return PairMoments(
        len(x), float(x.mean()), float(y.mean()), float(dx @ dx), float(dy @ dy), float(dx @ dy), float((dx * dx) @ dx)
    )


def _ratio_phases() -> Case:
    """The first phase is so small that nothing could be said of its ratio; the others differ in weights, in how many
    customers are busy, and in what the treatment does."""
    phases = ((5, 5, 0.5, 1.3), (2_700, 300, 0.2, 1.1), (800, 800, 0.7, 1.2))
    busy, calm = (_BUSY[0] + 1, _BUSY[1]), (_CALM[0] + 1, _CALM[1])
    weights, effects = [], []
    for n0, n1, share, times in phases:
        sessions = share * busy[0] + (1 - share) * calm[0]
        weights.append(sessions * n0 * n1 / (n0 + n1))
        effects.append((times - 1) * (share * busy[0] * busy[1] + (1 - share) * calm[0] * calm[1]) / sessions)
    truth = sum(w * e for w, e in zip(weights, effects, strict=True)) / sum(weights)

    def run(random: np.random.Generator, simulations: int) -> Tally:
        def drawn() -> list[Stratum[PairMoments]]:
            return [
                Stratum(_clicks(random, n0, 1.0, share), _clicks(random, n1, times, share))
                for n0, n1, share, times in phases
            ]

        return tally((ratios.difference(drawn(), LEVEL) for _ in range(simulations)), truth)

    return Case(RATIO_PHASES, "clicks a session, 5 and 5, 2,700 and 300, 800 and 800 units", MARGINAL, run)


_BUYING = [
    # by order or message, units of either arm, share of buyers, sigma of what they pay, how many times as much
    (True, 20_000, 20_000, 0.02, 1.0, 1.5),
    (True, 30_000, 10_000, 0.05, 1.0, 1.0),
    (False, 5_000, 5_000, 0.02, 1.0, 1.5),
    (False, 18_000, 2_000, 0.05, 1.0, 1.0),
    (False, 20_000, 20_000, 0.02, 1.5, 1.0),
]


def _bought(by_order: bool, n0: int, n1: int, share: float, sigma: float, times: float) -> Case:
    truth = exp(sigma**2 / 2) * (times - 1) * (1.0 if by_order else share / _MESSAGES)
    draw = _orders if by_order else _messages

    def run(random: np.random.Generator, simulations: int) -> Tally:
        arms = (
            (draw(random, n0, share, sigma, 1.0), draw(random, n1, share, sigma, times)) for _ in range(simulations)
        )
        return tally((ratios.difference([Stratum(*each)], LEVEL) for each in arms), truth)

    name = f"spent {'an order' if by_order else 'a message'}, {share:.0%} of {n0:,} and {n1:,} units spend, "
    name += f"log-normal with sigma {sigma:g}"
    return Case(RATIOS, name + (f", the treatment {times:g} times as much" if times != 1 else ""), MARGINAL, run)


def _orders(random: np.random.Generator, units: int, share: float, sigma: float, times: float) -> PairMoments:
    """Who buys does so once or more, each time for an amount of its own; no order, nothing spent."""
    orders = (1 + random.poisson(0.5, random.binomial(units, share))).astype(np.float64)
    return _pairs_of_some(units, orders * times * np.exp(sigma * random.standard_normal(len(orders))), orders)


_MESSAGES = 5.0


def _messages(random: np.random.Generator, units: int, share: float, sigma: float, times: float) -> PairMoments:
    """Everybody gets 1 to 9 messages, and few spend."""
    buyers = random.binomial(units, share)
    counts, numbers = random.multinomial(units - buyers, [1 / 9] * 9), np.arange(1, 10)
    amounts, messages = times * np.exp(sigma * random.standard_normal(buyers)), random.integers(1, 10, buyers)
    return _pairs_of_some(
        units, amounts, messages.astype(np.float64), (float(counts @ numbers), float(counts @ numbers**2))
    )


def _pairs_of_some(units: int, x: Floats, y: Floats, others: tuple[float, float] = (0.0, 0.0)) -> PairMoments:
    """Of units of which some have a numerator; `others`: the sum of the others' denominators, and of their squares."""
    more, squares = others
    mean_x, mean_y, x2 = float(x.sum()) / units, (float(y.sum()) + more) / units, float(x @ x)
    m3_x = float((x * x) @ x) - 3 * mean_x * x2 + 2 * units * mean_x**3
    return PairMoments(
        units,
        mean_x,
        mean_y,
        x2 - units * mean_x**2,
        float(y @ y) + squares - units * mean_y**2,
        float(x @ y) - units * mean_x * mean_y,
        m3_x,
    )


_LOSS = 20.0


def _net(n0: int, n1: int, times: float) -> Case:
    def run(random: np.random.Generator, simulations: int) -> Tally:
        found = (
            value.net_difference([Stratum(_worth(random, n0, 1.0), _worth(random, n1, times))], _LOSS, LEVEL)
            for _ in range(simulations)
        )
        return tally(found, _WORTH * (times - 1))

    name = f"5 % of {n0:,} and {n1:,} units pay, 4 % are lost"
    return Case(VALUES, name + (f", the treatment's pay {times:g} times as much" if times != 1 else ""), MARGINAL, run)


def _tie(n0: int, n1: int) -> Case:
    """The treatment earns more and loses more: the true break-even lies where both are worth the same."""
    more, lost = 1.5, 0.06
    truth = _WORTH * (more - 1) / (lost - _LOST)

    def run(random: np.random.Generator, simulations: int) -> Tally:
        below = above = known = 0
        for _ in range(simulations):
            arms = Stratum(_worth(random, n0, 1.0), _worth(random, n1, more, lost))
            found = value.break_even([arms], LEVEL)
            known += found.is_known
            if found.is_known and not any(low <= truth <= high for low, high in found.parts):
                is_below = bool(found.parts) and truth < found.parts[0][0]
                below, above = below + is_below, above + (not is_below)
        return Tally(simulations, known, below, above)

    return Case(TIES, f"{n0:,} and {n1:,} units, the treatment's pay more and more are lost", MARGINAL, run)


_PAYING, _SIGMA, _LOST = 0.05, 0.8, 0.04
_WORTH = _PAYING * 10 * exp(_SIGMA**2 / 2)


def _worth(random: np.random.Generator, units: int, times: float, lost: float = _LOST) -> PairMoments:
    """Money and lost reach; who pays is lost half as often. Of those who do neither only the number matters."""
    payers = random.binomial(units, _PAYING)
    money = 10 * times * np.exp(_SIGMA * random.standard_normal(payers))
    lost_others = (lost - _PAYING * lost / 2) / (1 - _PAYING)
    lost_of_payers = random.random(payers) < lost / 2
    others = random.binomial(units - payers, lost_others)
    x, y = float(money.sum()) / units, (int(lost_of_payers.sum()) + others) / units
    x2, x3 = float(money @ money), float((money * money) @ money)
    return PairMoments(
        units,
        x,
        y,
        x2 - units * x * x,
        units * y * (1 - y),
        float(money @ lost_of_payers) - units * x * y,
        x3 - 3 * x * x2 + 2 * units * x**3,
    )


def _normal(units: int, mean: float = 0.0, spread: float = 1.0) -> Drawn:
    return lambda random, count: moments_of(random.normal(mean, spread, (count, units)))


def _gamma(units: int, shape: float, shift: float = 0.0) -> Drawn:
    return lambda random, count: moments_of(shift + random.gamma(shape, size=(count, units)))


def _counted(units: int) -> Drawn:
    return lambda random, count: moments_of(random.negative_binomial(0.5, 0.5, (count, units)).astype(np.float64))
