"""What docs/privacy.md shows is what happens, and what it says of merging and erasing holds afterwards."""

import json

import httpx

from tests.docs.test_docs import ROOT, agrees, blocks, run
from tests.service import Service

TEXT = (ROOT / "docs" / "privacy.md").read_text()


def test_the_page_s_exchange_is_a_real_one(service: Service) -> None:
    runs, answers = blocks(TEXT, "run"), blocks(TEXT, "answer")
    assert list(runs) == list(answers) == ["export", "merge", "erase"]
    for name, (language, body) in runs.items():
        printed = json.loads(run(language, body, service))
        assert agrees(json.loads(answers[name][1]), printed), f"{name}: Takt answered\n{printed}"
    ask = {"customer_id": "device-77", "message_id": "m1", "channel": "email", "topic": "newsletter"}
    answer = httpx.post(f"{service.url}/v1/decisions", json=ask, headers={"X-API-Key": service.key}).json()
    assert (answer["verdict"], answer["reasons"][0]["code"]) == ("deny", "suppressed")
