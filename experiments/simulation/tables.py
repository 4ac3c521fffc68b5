"""Simulated lives as the tables that an analyst gets, and the outcomes of each customer as they really were.

Outcomes are counted here by plain sums over windows of 24 hours since entry, sharing no code with the analysis.
"""

from datetime import UTC, date, datetime
from importlib import import_module
from typing import Any

import numpy as np

from experiments.simulation.lives import DAY_US, Flags, Floats, Ints, Kind, Log, People

pa: Any = import_module("pyarrow")  # it carries no types
pc: Any = import_module("pyarrow.compute")

OUTCOMES = (
    "sent",
    "clicks",
    "unsubscribed",
    "complained",
    "left",
    "reachable",
    "sessions",
    "retained",
    "purchases",
    "spend",
)
"""Within the horizon: counts of e-mails, human clicks, sessions, purchases, and what was spent; whether the customer
unsubscribed, complained, or left (closed the account, or was erased); whether reachable at its end (neither
unsubscribed, unless resubscribed, nor complained, nor left); and retained: a session in its second half."""

ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata")
_CHANNEL = "email"
_LATE_SHARE, _TWICE_SHARE = 0.03, 0.015
_MESSAGE_KINDS = (Kind.SENT, Kind.CLICKED, Kind.UNSUBSCRIBED, Kind.COMPLAINED)


def outcomes(log: Log, horizon_days: int, until_us: int | None = None) -> dict[str, Floats]:
    """One number a customer for each of `OUTCOMES`; of events before `until_us` (None: all)."""
    since = log.at - log.entered_at[log.customer]
    inside = (log.entered_at[log.customer] >= 0) & (since >= 0) & (since < horizon_days * DAY_US) & ~log.suspect
    if until_us is not None:
        inside &= log.at < until_us

    def count(*kinds: Kind, where: Flags | None = None) -> Floats:
        chosen = inside & np.isin(log.kind, kinds) & (True if where is None else where)
        return np.bincount(log.customer[chosen], minlength=len(log.entered_at)).astype(np.float64)

    bought = inside & (log.kind == Kind.PURCHASE)
    left = count(Kind.ACCOUNT_CLOSED, Kind.ERASED)
    out = count(Kind.UNSUBSCRIBED, Kind.COMPLAINED) - count(Kind.RESUBSCRIBED)
    found = (
        count(Kind.SENT),
        count(Kind.CLICKED),
        np.minimum(count(Kind.UNSUBSCRIBED), 1),
        np.minimum(count(Kind.COMPLAINED), 1),
        left,
        ((out <= 0) & (left == 0)).astype(np.float64),
        count(Kind.SESSION),
        np.minimum(count(Kind.SESSION, where=since >= horizon_days // 2 * DAY_US), 1),
        count(Kind.PURCHASE),
        np.bincount(log.customer[bought], log.value[bought], minlength=len(log.entered_at)),
    )
    return {name: np.asarray(each, dtype=np.float64) for name, each in zip(OUTCOMES, found, strict=True)}


def exposures_table(start: date, names: tuple[str, ...], who: People, variants: Ints, log: Log, until_day: int) -> Any:
    """Who entered before that day, in the order of entry."""
    rows = _entered(log, until_day)
    return pa.table(
        {
            "customer_id": _ids(log, until_day).take(pa.array(rows)),
            "variant": _named(variants[rows], names),
            "entered_at": _instants(start, log.entered_at[rows]),
            "lifecycle": _named(who.is_new[rows].astype(np.int64), ("established", "new")),
            "time_zone": _named(who.zone[rows], ZONES),
        }
    )


def events_table(start: date, seed: int, log: Log, until_day: int) -> Any:
    """What had arrived before that day, in the order of arrival."""
    random = np.random.default_rng([seed, 3])
    count = len(log.at)
    delay = np.where(random.random(count) < _LATE_SHARE, 2 * DAY_US, 120_000_000) * random.standard_exponential(count)
    received = log.at + delay.astype(np.int64)
    twice = np.flatnonzero(random.random(count) < _TWICE_SHARE)
    again = received[twice] + (random.standard_exponential(len(twice)) * DAY_US / 24).astype(np.int64)
    row, received = np.concatenate((np.arange(count), twice)), np.concatenate((received, again))
    kept = np.flatnonzero(received < until_day * DAY_US)
    kept = kept[np.argsort(received[kept], kind="stable")]
    row, received = row[kept], received[kept]
    customer = _ids(log, until_day).take(pa.array(log.customer[row]))
    is_message = np.isin(log.kind[row], _MESSAGE_KINDS)
    return pa.table(
        {
            "id": _joined(pa.array(row).cast(pa.string()), "e", ""),
            "customer_id": customer,
            "type": _named(log.kind[row], tuple(each.name.lower() for each in Kind)),
            "at": _instants(start, log.at[row]),
            "received_at": _instants(start, received),
            "channel": pc.if_else(pa.array(is_message | (log.kind[row] == Kind.RESUBSCRIBED)), _CHANNEL, None),
            "message_id": pc.if_else(
                pa.array(is_message),
                pc.binary_join_element_wise(customer, pa.array(log.message_day[row]).cast(pa.string()), "-m"),
                None,
            ),
            "value": pa.array(log.value[row], mask=np.isnan(log.value[row])),
            "suspect": pa.array(log.suspect[row]),
        }
    )


def wide_table(
    start: date, names: tuple[str, ...], who: People, variants: Ints, log: Log, until_day: int, horizon_days: int
) -> Any:
    """One row a customer who entered before that day, with what they did by then."""
    rows, until_us = _entered(log, until_day), until_day * DAY_US
    table = exposures_table(start, names, who, variants, log, until_day)
    for name, each in outcomes(log, horizon_days, until_us).items():
        is_amount = name in ("sent", "clicks", "sessions", "purchases", "spend")
        table = table.append_column(name, pa.array(each[rows] if is_amount else each[rows] > 0))
    counted = _first(log, np.isin(log.kind, (Kind.UNSUBSCRIBED,)), until_us)
    soon = counted - log.entered_at < horizon_days * DAY_US
    unsubscribed = _first(log, (log.kind == Kind.UNSUBSCRIBED) & ~log.suspect, until_us)
    left = _first(log, np.isin(log.kind, (Kind.COMPLAINED, Kind.ACCOUNT_CLOSED, Kind.ERASED)), until_us)
    ended = np.minimum(np.minimum(unsubscribed, left), until_us)
    more = {
        "unsubscribed_suspects_counted": ((counted < until_us) & soon)[rows],
        "mature": (log.entered_at + horizon_days * DAY_US <= until_us)[rows],
        "days": ((ended - log.entered_at) / DAY_US)[rows],
        "event": ((unsubscribed < until_us) & (unsubscribed <= left))[rows],
        "competing": ((left < until_us) & (left < unsubscribed))[rows],
    }
    for name, each in more.items():
        table = table.append_column(name, pa.array(each))
    return table


def _entered(log: Log, until_day: int) -> Ints:
    entered = np.flatnonzero((log.entered_at >= 0) & (log.entered_at < until_day * DAY_US))
    return entered[np.argsort(log.entered_at[entered], kind="stable")]


def _first(log: Log, chosen: Flags, until_us: int) -> Ints:
    """By customer, the first of these events since entry; `until_us` where there is none before it."""
    found = np.full(len(log.entered_at), until_us, dtype=np.int64)
    entered_at = log.entered_at[log.customer]
    chosen = chosen & (entered_at >= 0) & (log.at >= entered_at)
    np.minimum.at(found, log.customer[chosen], log.at[chosen])
    return found


def _ids(log: Log, until_day: int) -> Any:
    """Of all customers. Who was erased by then has another one in every table: the rows stay, the person is gone."""
    numbers = pc.utf8_lpad(pa.array(np.arange(len(log.entered_at))).cast(pa.string()), width=7, padding="0")
    erased = np.zeros(len(log.entered_at), dtype=np.bool_)
    erased[log.customer[(log.kind == Kind.ERASED) & (log.at < until_day * DAY_US)]] = True
    nameless = pc.utf8_lpad(pa.array(np.cumsum(erased)).cast(pa.string()), width=5, padding="0")
    return pc.if_else(pa.array(erased), _joined(nameless, "anonymous-", ""), _joined(numbers, "c", ""))


def _joined(texts: Any, before: str, between: str) -> Any:
    return pc.binary_join_element_wise(pa.scalar(before), texts, between)


def _named(numbers: Ints, names: tuple[str, ...]) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(numbers), pa.array(names, pa.string())).cast(pa.string())


def _instants(start: date, since_us: Ints) -> Any:
    midnight = int(datetime(start.year, start.month, start.day, tzinfo=UTC).timestamp()) * 1_000_000
    return pa.array(since_us + midnight, pa.timestamp("us", tz="UTC"))
