"""Published complaint rates over HTTP: kept by provider and day, and refused where they make no sense."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.caller import Caller, is_problem

TODAY = datetime.now(UTC).date()
RATE: dict[str, Any] = {
    "provider": " GMail ",
    "channel": "email",
    "day": str(TODAY),
    "complaint_rate": 0.002,
    "delivered": 9_000,
}


def test_a_rate_is_kept_and_the_same_day_again_takes_its_place(takt: Caller) -> None:
    kept = takt.call("POST", "/v1/provider-rates", RATE)
    assert kept == {**RATE, "provider": "gmail", "can_stop": True}
    again = takt.call(
        "POST", "/v1/provider-rates", {**RATE, "provider": "gmail", "complaint_rate": 0, "delivered": None}
    )
    assert (again["complaint_rate"], again["can_stop"]) == (0.0, False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("provider", ""),
        ("channel", "fax"),
        ("day", "yesterday"),
        ("day", "2026-02-30"),
        ("day", "20260205"),
        ("day", str(TODAY + timedelta(days=3))),
        ("day", str(TODAY - timedelta(days=500))),
        ("complaint_rate", 0.3e1),
        ("complaint_rate", -0.1),
        ("complaint_rate", "0.1"),
        ("complaint_rate", True),
        ("complaint_rate", None),
        ("delivered", -1),
        ("delivered", 2**60),
        ("delivered", 1.5),
        ("more", 1),
    ],
)
def test_a_rate_that_is_none_is_refused_by_its_place(takt: Caller, field: str, value: object) -> None:
    response = takt.send("POST", "/v1/provider-rates", {**RATE, field: value})
    assert is_problem(response, 422, "invalid")
    assert [each["path"] for each in response.json()["problems"]] == [field]
