"""What docs/unsubscribe.md shows is what happens, mail library and mail program included."""

import json

from engine.settings import Settings
from tests.docs.test_docs import ROOT, agrees, blocks, run
from tests.service import serving

TEXT = (ROOT / "docs" / "unsubscribe.md").read_text()


def test_the_how_to_s_exchange_is_a_real_one(database_url: str) -> None:
    runs, answers = blocks(TEXT, "run"), blocks(TEXT, "answer")
    assert list(runs) == ["ask", "mail", "click", "after"]
    with serving(database_url, Settings(public_url="https://takt.example.com")) as service:
        for name, (language, body) in runs.items():
            printed = run(language, body, service)
            if name == "ask":
                headers = json.loads(printed)["headers"]
                assert headers["List-Unsubscribe"].startswith("<https://takt.example.com/u/")
                assert f'"List-Unsubscribe-Post": "{headers["List-Unsubscribe-Post"]}"' in TEXT
            if name in answers:
                shown, real = json.loads(answers[name][1]), json.loads(printed)
                if name == "after":
                    shown["reasons"] = [{**real["reasons"][0], **shown["reasons"][0]}]
                assert agrees(shown, real), f"{name}: the how-to shows\n{shown}\nand Takt answered\n{real}"
