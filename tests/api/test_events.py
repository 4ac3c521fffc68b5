"""`POST /v1/events`: every form, what became of each event, and what they did."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.api.caller import Caller, is_problem

NOW = datetime.now(UTC)
CLOUD_JSON = "application/cloudevents+json"
CLOUD_BATCH = "application/cloudevents-batch+json"


def event(customer_id: str | None, type_: str = "session", **more: Any) -> dict[str, Any]:
    given = {"id": f"{type_}-1", "source": f"test-{customer_id}", "type": type_, "at": _text(NOW - timedelta(hours=1))}
    return given | ({} if customer_id is None else {"customer_id": customer_id}) | more


def cloud(customer_id: str, type_: str = "session", **data: Any) -> dict[str, Any]:
    given = {"specversion": "1.0", "id": f"{type_}-1", "source": f"test-{customer_id}", "type": type_}
    return given | {"time": _text(NOW), "subject": customer_id, "data": data}


def _text(at: datetime) -> str:
    return at.isoformat()


def bring(takt: Caller, *events: dict[str, Any]) -> list[Any]:
    return [each.get("result") or each["error"] for each in _bring(takt, *events)["results"]]


def _bring(takt: Caller, *events: dict[str, Any]) -> Any:
    return takt.call("POST", "/v1/events", {"events": events})


def post(takt: Caller, body: object, kind: str = "application/json", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}
    return takt.http.post("/v1/events", content=content, headers=given)


def test_events_are_counted_and_answered_in_their_order(takt: Caller, ada: str) -> None:
    answer = _bring(takt, event(ada), event(ada, "Session"), event(ada), event(ada, "purchase", value=9.5))
    assert {name: answer[name] for name in ("accepted", "duplicates", "unresolved", "failed")} == {
        "accepted": 2,
        "duplicates": 1,
        "unresolved": 0,
        "failed": 1,
    }
    assert [each.get("result") for each in answer["results"]] == ["accepted", None, "duplicate", "accepted"]
    assert answer["results"][1]["error"]["problems"][0]["path"] == "events[1].type"
    assert bring(takt, event(ada), event(ada, "purchase", value=9.5)) == ["duplicate", "duplicate"]


def test_one_event_may_come_by_itself(takt: Caller, ada: str) -> None:
    response = post(takt, event(ada))
    assert (response.status_code, response.json()["accepted"]) == (200, 1)
    assert is_problem(post(takt, event(ada, at="soon")), 422, "invalid")
