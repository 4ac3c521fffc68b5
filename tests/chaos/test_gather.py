"""What is read of logs and tables, where senders did what nobody expects of them."""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.chaos.by_hand import ADA, checks, contact, us
from tests.chaos.evidence import EPOCH
from tests.chaos.gather import gather

_ANSWER: Mapping[str, Any] = {
    "message_id": "m1", "attempt": 1, "verdict": "allow", "state": "reserved", "ruleset": 1, "replayed": False,
    "variants": {}, "decided_at": 0, "lease_expires_at": 2,
}  # fmt: skip


def test_a_send_that_no_answer_allowed_is_judged(tmp_path: Path, database_url: str) -> None:
    sent = {"t": us(1), "customer": ADA, "message": "m1", "attempt": 1, "channel": "push", "campaign": "spring"}
    _write(tmp_path / "provider-s.jsonl", sent)
    assert _checks(tmp_path, database_url) == {"1 lease"}
    _answered(tmp_path, verdict="deny", state=None)
    assert _checks(tmp_path, database_url) == {"1 lease", "2 lost"}
    _answered(tmp_path)
    assert _checks(tmp_path, database_url) == set()


def test_a_yes_is_refused_by_a_clock_that_was_set_back_alone(tmp_path: Path, database_url: str) -> None:
    for type_, behind_s, broken in (
        ("resubscribed", 61, set[str]()),
        ("resubscribed", 59, {"11 answer"}),
        ("sent", 61, {"11 answer"}),
    ):
        now = (EPOCH + timedelta(microseconds=us(-behind_s))).isoformat()
        expected = f"at most a minute after now, {now}: what allows again may not lie ahead"
        error = {"status": 422, "problems": [{"path": "events[0].at", "found": "x", "expected": expected}]}
        body = {"events": [{"id": "e", "type": type_, "customer_id": ADA, "topic": "news"}]}
        answer = {"id": "1", "port": 1, "asked": us(0), "t": us(0.1), "status": 200, "definite": True}
        intent = {"kind": "intent", "id": "1", "op": "event", "t": us(-0.2), "body": body}
        said = {"accepted": 0, "results": [{"error": error}]}
        _write(tmp_path / "client-s.jsonl", intent, {"kind": "answer", **answer, "body": said})
        assert checks(gather(tmp_path, database_url)) == broken, (type_, behind_s)


def _checks(folder: Path, url: str) -> set[str]:
    """What is found where the journal has the contact."""
    found = gather(folder, url)
    found.entries, found.last_seq = {ADA: [contact(1, 0)]}, {ADA: 1}
    return checks(found)


def _answered(folder: Path, **more: Any) -> None:
    """A client's log of an ask, and of this answer to it."""
    about = {"customer_id": ADA, "message_id": "m1", "channel": "push", "topic": "news"}
    times = {name: (EPOCH + timedelta(microseconds=us(_ANSWER[name]))).isoformat() for name in _ANSWER if "_at" in name}
    answer = {"id": "1", "port": 1, "asked": us(-0.1), "t": us(0.1), "status": 200, "definite": True}
    intent = {"kind": "intent", "id": "1", "op": "ask", "t": us(-0.2), "body": about}
    _write(folder / "client-s.jsonl", intent, {"kind": "answer", **answer, "body": {**_ANSWER, **times, **more}})


def _write(path: Path, *lines: Mapping[str, Any]) -> None:
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
