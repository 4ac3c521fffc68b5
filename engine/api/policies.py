"""Policies and pauses: read, validate, activate."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from engine.api.auth import Manages, Reads
from engine.api.batches import json_response
from engine.api.examples import PAUSE, POLICY, one_body
from engine.api.schemas import PauseIn, PolicyIn, instant, microseconds
from engine.core.policy import Selector
from engine.core.rules import Pause
from engine.operations import policies
from engine.operations.policies import Activation
from engine.operations.policy_file import load_policy, policy_yaml
from engine.operations.rulebook import pause_data

router = APIRouter(tags=["policies"])
_SHOWN = 100


@router.get("/v1/policies", summary="What is in force, and the versions there were")
async def get_policies(request: Request, _key: Reads) -> Response:
    database = request.app.state.decider.database
    current = await policies.in_force(database)
    versions = await policies.versions(database, _SHOWN)
    return json_response(
        {
            "in_force": None if current is None else activation_data(current),
            "versions": [
                {
                    "version": each.version,
                    "created_at": instant(each.created_us),
                    "author": each.author,
                    "note": each.note,
                }
                for each in versions
            ],
        }
    )


@router.get("/v1/policies/{version}", summary="One version, as it was written")
async def get_policy(version: Annotated[int, Path(ge=1, lt=2**31)], request: Request, _key: Reads) -> Response:
    kept = await policies.version(request.app.state.decider.database, version)
    return json_response({"version": kept.version, "author": kept.author, "note": kept.note, "yaml": kept.source})


@router.post(
    "/v1/policies/validate",
    summary="Whether a policy is valid, and where not",
    openapi_extra=one_body(PolicyIn, POLICY),
)
async def validate_policy(given: PolicyIn, _key: Reads) -> Response:
    """Answers with the policy in its canonical form, or 422 with every problem and its line."""
    return json_response({"valid": True, "yaml": policy_yaml(load_policy(given.yaml))})


@router.post("/v1/policies", summary="Put a policy in force", openapi_extra=one_body(PolicyIn, POLICY))
async def activate_policy(given: PolicyIn, request: Request, key: Manages) -> Response:
    """Keeps it as a new version. An ask that arrives after this has answered is decided under it, in every process."""
    database = request.app.state.decider.database
    return json_response(
        activation_data(await policies.activate(database, given.yaml, author=key.name, note=given.note))
    )


@router.post("/v1/policies/{version}/activate", summary="Put an earlier version in force again")
async def activate_version(version: Annotated[int, Path(ge=1, lt=2**31)], request: Request, key: Manages) -> Response:
    database = request.app.state.decider.database
    return json_response(activation_data(await policies.activate_version(database, version, author=key.name)))


@router.post("/v1/pauses", tags=["pauses"], summary="Stop contacts at once", openapi_extra=one_body(PauseIn, PAUSE))
async def add_pause(given: PauseIn, request: Request, key: Manages) -> Response:
    """Binds in every process once this has answered, also under a policy that only observes. Exempt topics pass."""
    selector = Selector(
        channels=frozenset(each.value for each in given.channels) if given.channels else None,
        topics=frozenset(given.topics) if given.topics else None,
        campaigns=frozenset(given.campaigns) if given.campaigns else None,
        teams=frozenset(given.teams) if given.teams else None,
    )
    from_us = microseconds(given.from_) if given.from_ else 0
    pause = Pause(given.name, selector, from_us, microseconds(given.until) if given.until else None)
    activation = await policies.pause(request.app.state.decider.database, pause, author=key.name)
    return json_response(activation_data(activation), 201)


@router.delete("/v1/pauses/{name}", tags=["pauses"], summary="End a pause")
async def end_pause(name: str, request: Request, key: Manages) -> Response:
    database = request.app.state.decider.database
    return json_response(activation_data(await policies.lift_pause(database, name, author=key.name)))


def activation_data(activation: Activation) -> dict[str, Any]:
    return {
        "ruleset": activation.ruleset,
        "policy_version": activation.policy_version,
        "activated_at": instant(activation.activated_us),
        "author": activation.author,
        "mode": activation.policy.mode.value,
        "yaml": policy_yaml(activation.policy),
        "pauses": [_pause_data(each) for each in activation.pauses],
    }


def _pause_data(pause: Pause) -> dict[str, Any]:
    data = pause_data(pause)
    from_us, until_us = data.pop("from_us"), data.pop("until_us")
    return {
        **data,
        "from": instant(from_us) if from_us else None,
        "until": None if until_us is None else instant(until_us),
    }
