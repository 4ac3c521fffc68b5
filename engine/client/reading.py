"""Answers as JSON into values. Fields that are new to this client are passed over; missing ones are no answer."""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from engine.client.values import Answer, Ask, BudgetLine, Contact, Filed, Problem, Reason, Resolution, TaktUnavailable

P = ParamSpec("P")
T = TypeVar("T")
_PLACE_IN_LIST = re.compile(r"^\w+\[\d+\]\.?")
_VERDICTS = ("allow", "defer", "deny")
_RESULTS = ("accepted", "duplicate", "unresolved", "unplaced", "too_old")


def _strictly(read: Callable[P, T]) -> Callable[P, T]:
    """What cannot be read is no answer, and allows nothing."""

    @wraps(read)
    def reader(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TaktUnavailable(f"what answered is not Takt, or not this version of it ({error!r})") from error

    return reader


@_strictly
def answer_of(ask: Ask, data: Mapping[str, Any]) -> Answer:
    if data["verdict"] not in _VERDICTS or data["customer_id"] != ask.customer_id:
        raise ValueError("verdict")
    return Answer(
        ask=ask,
        verdict=data["verdict"],
        state=data["state"],
        reasons=tuple(
            Reason(each["code"], each["rule"], each["text"], _instant(each["frees_at"])) for each in data["reasons"]
        ),
        retry_at=_instant(data["retry_at"]),
        retry_certain=data["retry_certain"],
        retry_after_s=data["retry_after_s"],
        lease_expires_at=_instant(data["lease_expires_at"]),
        lease_s=data["lease_s"],
        budgets=tuple(
            BudgetLine(
                each["budget"], each["limit"], each["used"], each["left"], _instant(each["frees_at"]), each["shadow"]
            )
            for each in data["budgets"]
        ),
        variants=dict(data["variants"]),
        observed=data["observed"],
        ruleset=data["ruleset"],
        decided_at=_instant(data["decided_at"]),
        replayed=data["replayed"],
        attempt=data["attempt"],
        headers=dict(data.get("headers") or {}),
    )


@_strictly
def item_of(data: Any, read: Callable[[Any], T]) -> T | Problem:
    """One item of a list: what was done, or why not, with places named within the item."""
    if "error" not in data:
        return read(data)
    problem = problem_of(data["error"], 500)
    places = tuple({**each, "path": _PLACE_IN_LIST.sub("", each["path"])} for each in problem.problems)
    return replace(problem, problems=places)


@_strictly
def resolution_of(data: Mapping[str, Any]) -> Resolution:
    at = datetime.fromisoformat(data["at"])
    return Resolution(data["customer_id"], data["message_id"], data["attempt"], data["state"], data["applied"], at)


@_strictly
def result_of(data: Mapping[str, Any]) -> str:
    if data["result"] not in _RESULTS:
        raise ValueError("result")
    return data["result"]


@_strictly
def filed_of(data: Mapping[str, Any]) -> Filed:
    return Filed(data["customer_id"], data["changed"])


def problem_of(data: Any, status: int) -> Problem:
    """A problem document, or what stands in for one where a proxy answered in Takt's place."""
    body = cast("Mapping[str, Any]", data if isinstance(data, dict) else {})
    found, places = body.get("status"), body.get("problems")
    return Problem(
        status=found if isinstance(found, int) else status,
        code=str(body.get("code") or "http"),
        detail=str(body.get("detail") or f"status {status}"),
        problems=tuple(cast("list[Any]", places)) if isinstance(places, list) else (),
    )


def fields_of(value: Ask | Contact) -> dict[str, Any]:
    """The fields that were given."""
    found = ((each.name, getattr(value, each.name)) for each in fields(value))
    return {name: given for name, given in found if given is not None}


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
