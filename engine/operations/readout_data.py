"""Readouts as data, as they leave Takt: by its API, and as files."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from engine.operations.readouts import HeldKept, Kept
from engine.store.snapshots import Reading

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def readout_data(kept: Kept) -> dict[str, Any]:
    """A readout with what only the service knows beside it, and how old it is."""
    snapshot = kept.snapshot
    document = dict(snapshot.readout)
    paused, refusals = document.get("pauses"), document.pop("refusals", None)
    return {
        "experiment": kept.record.key,
        "state": kept.record.state,
        "computed_at": _instant(snapshot.computed_us),
        "age_s": max(kept.now_us - snapshot.computed_us, 0) // 1_000_000,
        "as_of": _instant(snapshot.as_of_us),
        "took_ms": snapshot.took_us // 1_000,
        "call": snapshot.call,
        "refusals": refusals and _stretched(refusals),
        "weeks": [],  # of one that was computed before there were any
        **document,
        "pauses": paused and {**paused, "stretches": [_stretch(each) for each in paused["stretches"]]},
        "findings": [{"at": _instant(each.at_us), "author": each.author, "note": each.note} for each in kept.findings],
    }


def held_readout_data(kept: HeldKept) -> dict[str, Any]:
    """A readout of a holdout, with whom it is about and what came since."""
    snapshot, document = kept.snapshot, dict(kept.snapshot.readout)
    if since := document.get("since"):  # not there where an older Takt made it
        policies = [{"version": each["version"], "from": _instant(each["from_us"])} for each in since["policies"]]
        document["since"] = {**since, "policies": policies, "pauses": [_stretch(each) for each in since["pauses"]]}
    return {
        "experiment": kept.record.key,
        "shipped": kept.record.shipped,
        "from": _instant(kept.holdout.from_us),
        "until": _instant(kept.holdout.until_us),
        "computed_at": _instant(snapshot.computed_us),
        "age_s": max(kept.now_us - snapshot.computed_us, 0) // 1_000_000,
        "as_of": _instant(snapshot.as_of_us),
        "took_ms": snapshot.took_us // 1_000,
        "call": snapshot.call,
        **document,
    }


def course_data(readings: Iterable[Reading]) -> list[dict[str, Any]]:
    """How the effects that decide went, the oldest first; null for ends of intervals that do not hold at every look,
    and for those that have no end."""
    return [
        {
            "as_of": _instant(each.as_of_us),
            "metric": each.metric,
            "variant": each.variant,
            "effect": each.effect,
            "low": each.low if each.low is None or abs(each.low) < float("inf") else None,
            "high": each.high if each.high is None or abs(each.high) < float("inf") else None,
        }
        for each in readings
    ]


def _stretch(stretch: dict[str, Any]) -> dict[str, Any]:
    return _stretched({key: stretch[key] for key in ("name", "from_us", "until_us", "is_breaker")})


def _stretched(data: dict[str, Any]) -> dict[str, Any]:
    """With its ends as instants."""
    at = {"from": _instant(data["from_us"]), "until": _instant(data["until_us"])}
    return {**at, **{key: value for key, value in data.items() if key not in ("from_us", "until_us")}}


def _instant(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)
