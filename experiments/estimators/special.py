"""The few functions of scipy that closed forms need, with types that scipy does not declare. Nothing else is here."""
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
# scipy carries no types: what comes out of it is made a float or an array of floats here, and nowhere else.

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Floats = NDArray[np.float64]


def normal_quantile(probability: float) -> float:
    return float(special.ndtri(probability))


def normal_tail(z: float) -> float:
    """How likely a standard normal is above `z`."""
    return float(special.ndtr(-z))


def normal_below(z: Floats) -> Floats:
    return np.asarray(special.ndtr(z), dtype=np.float64)


def t_quantile(probability: float, degrees: float) -> float:
    """Of Student's t, whose degrees of freedom may be any number above 0."""
    return float(special.stdtrit(degrees, probability))


def t_tail(t: float, degrees: float) -> float:
    """How likely Student's t is above `t`."""
    return float(special.stdtr(degrees, -t))


def beta_quantile(probability: float, a: float, b: float) -> float:
    return float(special.betaincinv(a, b, probability))


def beta_below(a: float, b: float, x: float) -> float:
    """How likely a beta(a, b) is below `x`."""
    return float(special.betainc(a, b, x))


def log_beta(a: float, b: float) -> float:
    return float(special.betaln(a, b))


def log_gamma(x: Floats) -> Floats:
    return np.asarray(special.gammaln(x), dtype=np.float64)


def root(function: Callable[[float], float], one: float, other: float, within: float) -> float:
    """Where a function that has other signs at the two ends is 0 (Brent 1973), to `within`."""
    return float(optimize.brentq(function, one, other, xtol=within, rtol=1e-14))  # pyright: ignore[reportArgumentType]
