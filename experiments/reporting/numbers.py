"""Numbers for people: rates with numerators and denominators, people in 10,000, money, intervals.

Strings for reading, rounded to about three digits; nothing is computed from them. Plain ASCII, so that a pipe, a log
and a mail show them alike.
"""

from enum import StrEnum
from math import floor, isinf, log10

PEOPLE = 10_000
_DIGITS = 3


class Scale(StrEnum):
    """What a metric's numbers measure: a SHARE of customers, a NUMBER or MONEY a customer, a RATIO, or DAYS."""

    SHARE = "share"
    NUMBER = "number"
    MONEY = "money"
    RATIO = "ratio"
    DAYS = "days"


def plain(value: float, digits: int = _DIGITS) -> str:
    """`1,234,567`, `12.3`, `0.0123`: all digits before the point, and about `digits` in all.

    >>> plain(1234567.8), plain(12.345), plain(0.012345), plain(0), plain(-3)
    ('1,234,568', '12.3', '0.0123', '0', '-3')
    """
    if isinf(value):
        return "any" if value > 0 else "-any"
    if value == round(value):
        return f"{value:,.0f}" if value else "0"
    return _trimmed(f"{value:,.{_decimals(value, digits)}f}")


def signed(value: float, digits: int = _DIGITS) -> str:
    """As `plain`, with a plus where above 0."""
    text = plain(value, digits)
    return f"+{text}" if value > 0 and text != "0" else text


def percent(rate: float) -> str:
    """A rate as a percentage: two decimals, more below 1 %.

    >>> percent(0.10617), percent(0.00573), percent(0), percent(1)
    ('10.62 %', '0.573 %', '0 %', '100 %')
    """
    value = 100 * rate
    if isinf(value) or value == round(value):
        return f"{value:.0f} %"
    return f"{value:.{max(2, _decimals(value, _DIGITS))}f} %"


def share(numerator: float, denominator: float) -> str:
    """A rate with what it was made of.

    >>> share(2262, 21306)
    '2,262 of 21,306 (10.62 %)'
    """
    rate = f" ({percent(numerator / denominator)})" if denominator else ""
    return f"{plain(numerator)} of {plain(denominator)}{rate}"


def amount(value: float, scale: Scale, currency: str | None = None) -> str:
    """The size of an effect in words, without its direction: `value` is at or above 0.

    >>> amount(0.0766, Scale.SHARE), amount(0.314, Scale.MONEY, "EUR"), amount(1, Scale.DAYS)
    ('766 in 10,000 customers', '0.314 EUR a customer', '1 day a customer')
    """
    return f"{plain(_scaled(value, scale))} {unit(scale, currency, value)}".rstrip()


def measured(value: float, low: float, high: float, scale: Scale, unit: str) -> str:
    """An effect with its unit and its interval.

    >>> measured(-0.268, -0.34, -0.198, Scale.DAYS, "days a customer")
    '-0.268 days a customer (-0.34 to -0.198)'
    """
    number, _, rest = effect(value, low, high, scale).partition(" ")
    return f"{number} {unit} {rest}".replace("  ", " ")


def effect(value: float, low: float, high: float, scale: Scale) -> str:
    """An effect and its interval, signed, in the unit that `unit` names.

    >>> effect(0.0766, 0.069, 0.0842, Scale.SHARE)
    '+766 (+690 to +842)'
    """
    return f"{signed(_scaled(value, scale))} ({interval(low, high, scale)})"


def interval(low: float, high: float, scale: Scale) -> str:
    """Both ends, signed; an end without limit in words.

    >>> interval(-0.001, 0.002, Scale.SHARE), interval(float("-inf"), 2, Scale.NUMBER)
    ('-10 to +20', 'at most +2')
    """
    low, high = _scaled(low, scale), _scaled(high, scale)
    if isinf(low) and isinf(high):
        return "anything"
    if isinf(low):
        return f"at most {signed(high)}"
    if isinf(high):
        return f"at least {signed(low)}"
    digits = _shared_digits(low, high)
    return f"{signed(low, digits)} to {signed(high, digits)}"


def unit(scale: Scale, currency: str | None = None, value: float | None = None) -> str:
    """What an effect of this scale is counted in; of `value`, where it reads otherwise of one."""
    match scale:
        case Scale.SHARE:
            return f"in {PEOPLE:,} customers"
        case Scale.MONEY:
            return f"{currency or 'money'} a customer"
        case Scale.DAYS:
            return "day a customer" if value is not None and plain(abs(value)) == "1" else "days a customer"
        case Scale.NUMBER:
            return "a customer"
        case Scale.RATIO:
            return ""


def count(number: float, singular: str, digits: int = _DIGITS) -> str:
    """A counted noun.

    >>> count(1, "customer"), count(2000, "customer"), count(0.5, "contact")
    ('1 customer', '2,000 customers', '0.5 contacts')
    """
    shown = plain(number, digits)
    return f"{shown} {singular}" if shown == "1" else f"{shown} {singular}s"


def p_value(value: float) -> str:
    """`p = 0.031`; very small ones only as small.

    >>> p_value(0.03123), p_value(1e-9)
    ('p = 0.0312', 'p < 0.0001')
    """
    return f"p = {plain(value)}" if value >= 0.0001 else "p < 0.0001"


def _scaled(value: float, scale: Scale) -> float:
    return value * PEOPLE if scale is Scale.SHARE else value


def _decimals(value: float, digits: int) -> int:
    return max(0, digits - 1 - floor(log10(abs(value)))) if value else 0


def _shared_digits(low: float, high: float) -> int:
    """Enough digits to tell two ends apart that agree in their first ones."""
    if low == high or isinf(high - low):
        return _DIGITS
    apart = floor(log10(max(abs(low), abs(high)))) - floor(log10(high - low))
    return min(12, max(_DIGITS, apart + 2))


def _trimmed(text: str) -> str:
    """Without zeros that end a fraction, and without a minus before nothing."""
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.removeprefix("-") if not text.strip("-0.,") else text
