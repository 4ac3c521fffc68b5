"""Policies and pauses: read, validate, activate."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from engine.api.answers import ActivatedOut, ActivationOut, PoliciesOut, PolicyOut, ValidOut
from engine.api.auth import Manages, Reads
from engine.api.batches import json_response
from engine.api.bodies import body_of
from engine.api.examples import PAUSE, POLICY, body, scoped
from engine.api.schemas import PauseIn, PauseName, PolicyIn, instant, microseconds
from engine.core.errors import Invalid, Problem
from engine.core.policy import Selector
from engine.core.rules import Pause
from engine.core.tokens import Scope
from engine.operations import policies
from engine.operations.policies import Activation
from engine.operations.policy_file import policy_yaml
from engine.operations.rulebook import pause_data
from engine.store.policies import PolicyVersion

router = APIRouter(tags=["policies"])
VersionNumber = Annotated[int, Path(ge=1, lt=2**31)]
Replaced = Annotated[
    int | None,
    Query(ge=0, lt=2**31, description="Only in place of this version: 409 where another is in force. 0: of none."),
]
_SHOWN = 100


@router.get(
    "/v1/policies",
    summary="What is in force, and the versions there were",
    response_model=PoliciesOut,
    openapi_extra=scoped(Scope.READ),
)
async def get_policies(request: Request, _key: Reads) -> Response:
    """The ruleset in force with its pauses, and the newest hundred versions of the policy, the newest first."""
    database = request.app.state.decider.database
    current = await policies.in_force(database)
    versions = await policies.versions(database, _SHOWN)
    return json_response(
        {
            "in_force": None if current is None else activation_data(current),
            "versions": [_version_data(each) for each in versions],
        }
    )


@router.get(
    "/v1/policies/{version}",
    summary="One version, as it was written",
    response_model=PolicyOut,
    openapi_extra=scoped(Scope.READ),
)
async def get_policy(version: VersionNumber, request: Request, _key: Reads) -> Response:
    """With the comments of who wrote it."""
    kept = await policies.version(request.app.state.decider.database, version)
    return json_response({**_version_data(kept), "yaml": kept.source})


@router.post(
    "/v1/policies/validate",
    summary="Whether a policy is valid, and where not",
    response_model=ValidOut,
    openapi_extra=body(PolicyIn, POLICY, Scope.READ),
)
async def validate_policy(request: Request, _key: Reads) -> Response:
    """Answers with the policy in its canonical form, or 422 with every problem and its line."""
    given = await body_of(request, PolicyIn)
    return json_response({"valid": True, "yaml": policy_yaml(await policies.read(given.yaml))})


@router.post(
    "/v1/policies",
    summary="Put a policy in force",
    response_model=ActivatedOut,
    openapi_extra=body(PolicyIn, POLICY, Scope.MANAGE),
)
async def activate_policy(request: Request, key: Manages) -> Response:
    """Keeps it as a new version. An ask that arrives after this has answered is decided under it, in every process.
    With `if_version` it replaces that version or none: 409, and nothing changed, once anybody put another in force."""
    given = await body_of(request, PolicyIn)
    activation = await policies.activate(
        request.app.state.decider.database, given.yaml, author=key.name, note=given.note, if_version=given.if_version
    )
    return json_response(_activated_data(activation))


@router.post(
    "/v1/policies/{version}/activate",
    summary="Put an earlier version in force again",
    response_model=ActivatedOut,
    openapi_extra=scoped(Scope.MANAGE),
)
async def activate_version(
    version: VersionNumber, request: Request, key: Manages, if_version: Replaced = None
) -> Response:
    """Under a new ruleset number, with the pauses of the hour. `if_version` as for a new policy."""
    database = request.app.state.decider.database
    done = await policies.activate_version(database, version, author=key.name, if_version=if_version)
    return json_response(_activated_data(done))


@router.post(
    "/v1/pauses",
    tags=["pauses"],
    summary="Stop contacts at once",
    status_code=201,
    response_model=ActivationOut,
    openapi_extra=body(PauseIn, PAUSE, Scope.MANAGE),
)
async def add_pause(request: Request, key: Manages) -> Response:
    """Binds in every process once this has answered, also under a policy that only observes. Exempt topics pass."""
    given = await body_of(request, PauseIn)
    if given.from_ is not None and given.until is not None and given.until <= given.from_:
        raise Invalid([Problem("until", given.until.isoformat(), "an instant after `from`")])
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


@router.delete(
    "/v1/pauses/{name}",
    tags=["pauses"],
    summary="End a pause",
    response_model=ActivationOut,
    openapi_extra=scoped(Scope.MANAGE),
)
async def end_pause(name: Annotated[PauseName, Path()], request: Request, key: Manages) -> Response:
    """Contacts go on in every process once this has answered."""
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


def _activated_data(activation: Activation) -> dict[str, Any]:
    return {**activation_data(activation), "warnings": activation.warnings}


def _version_data(kept: PolicyVersion) -> dict[str, Any]:
    return {
        "version": kept.version,
        "created_at": instant(kept.created_us),
        "author": kept.author,
        "note": kept.note,
    }


def _pause_data(pause: Pause) -> dict[str, Any]:
    data = pause_data(pause)
    from_us, until_us = data.pop("from_us"), data.pop("until_us")
    return {
        **data,
        "from": instant(from_us) if from_us else None,
        "until": None if until_us is None else instant(until_us),
    }
