"""`takt experiments readout`, straight on the database."""

import json

from tests.api.caller import DAY_S, Caller, advance_clock
from tests.cli.command import Ended, takt
from tests.operations.plans import PLAN, POLICY
from tests.service import Service


def readout(service: Service, *arguments: str) -> Ended:
    return takt(service, "experiments", "readout", *arguments)


def test_the_newest_readout_is_printed_and_computed_where_there_is_none(
    shared_service: Service,
) -> None:
    shared_service.activate(POLICY)
    with Caller(shared_service) as caller:
        caller.call("POST", "/v1/experiments", {"yaml": PLAN})
        assert "is a draft" in readout(shared_service, "push-more").sentence
        caller.call("POST", "/v1/experiments/push-more/start")
        for number in range(12):
            caller.ask(f"c{number}", "a", channel="push")
            caller.ask(f"c{number}", "b", channel="push")
        caller.call("POST", "/v1/experiments/push-more/notes", {"note": "Two of six asked why."})
    advance_clock(shared_service.database_url, DAY_S)

    printed = readout(shared_service, "push-more")
    assert printed.code == 0, printed.err
    assert printed.err.startswith("Computed ")
    assert printed.out.startswith("push-more\nThree pushes a week lose nobody.\n")
    assert "\nALL ELIGIBLE\n  Variants differed for 100.0% of 12 eligible customers." in printed.out
    assert "Two of six asked why." in printed.out
    assert json.loads(readout(shared_service, "push-more", "--json").out)["readout"]["key"] == "push-more"
    assert readout(shared_service, "push-more").out == printed.out
    assert readout(shared_service, "push-more", "--refresh").code == 0

    assert "there is no readout" in readout(shared_service, "push-more", "--at", "2026-01-05T09:00:00Z").sentence
    assert "there is no experiment 'nobody'" in readout(shared_service, "nobody").sentence
    for wrong in (["--at", "yesterday"], ["--at", "2026-01-05T09:00:00"], ["--refresh", "--at", "2026-01-05T09:00Z"]):
        assert readout(shared_service, "push-more", *wrong).code == 2

    with Caller(shared_service) as caller:
        caller.call("POST", "/v1/experiments/push-more/ship", {"variant": "three"})
    assert "has not been there for a day" in readout(shared_service, "push-more", "--holdout").sentence
    advance_clock(shared_service.database_url, 2 * DAY_S)
    held = readout(shared_service, "push-more", "--holdout")
    assert held.code == 0, held.err
    assert held.out.startswith("2 days since 'three' was shipped, against policy ")
    assert "\nCOHORT\n" in held.out
    assert "Short run: it was shipped after 1 of the 90 days of its horizon." in " ".join(held.out.split())
    assert json.loads(readout(shared_service, "push-more", "--holdout", "--json").out)["days"] == 2
    assert "not over yet" in readout(shared_service, "push-more", "--holdout", "--day", "28").sentence
    for wrong in (["--day", "28"], ["--holdout", "--at", "2026-01-05T09:00:00Z"]):
        assert readout(shared_service, "push-more", *wrong).code == 2
