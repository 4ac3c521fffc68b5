"""POST /v1/assignments: which variant of an experiment a customer gets, wherever it shows."""

from datetime import datetime
from typing import Any, Final, Literal

from fastapi import APIRouter, Request, Response

from engine.api.answers import Out
from engine.api.auth import Decides
from engine.api.batches import json_response
from engine.api.bodies import body_of
from engine.api.examples import body
from engine.api.schemas import Id, In, Label, instant
from engine.core.tokens import Scope
from engine.operations.assign import AssignCommand, Assigned, AssignMode

router = APIRouter(tags=["experiments"])
ASSIGNMENT: Final[dict[str, Any]] = {"experiment": "push-more", "customer_id": "customer-42", "mode": "peek"}


class AssignmentIn(In):
    experiment: Label
    customer_id: Id
    mode: AssignMode = AssignMode.EXPOSE


class AssignmentOut(Out):
    """A customer's variant, null outside the experiment, and why. `exposed`: on record, by this call or before."""

    experiment: str
    customer_id: str
    variant: str | None
    reason: Literal[
        "tester",
        "stored",
        "holdout",
        "other_slot",
        "not_in_audience",
        "audience_unknown",
        "entry_unknown",
        "not_in_traffic",
        "assigned",
    ]
    exposed: bool
    ruleset: int
    at: datetime


@router.post(
    "/v1/assignments",
    summary="Which variant of a running experiment a customer gets",
    response_model=AssignmentOut,
    openapi_extra=body(AssignmentIn, ASSIGNMENT, Scope.DECIDE),
)
async def assign(request: Request, _key: Decides) -> Response:
    """`expose` (the default) writes down that the customer meets the experiment now: ask where the variant shows, once
    it does. `peek` leaves no trace, and is all there is for experiments that change budgets: their customers enter by
    asks."""
    given = await body_of(request, AssignmentIn)
    command = AssignCommand(given.customer_id, given.experiment)
    decider = request.app.state.decider
    peeks = given.mode is AssignMode.PEEK
    return json_response(assignment_data(await (decider.peek(command) if peeks else decider.settle(command))))


def assignment_data(assigned: Assigned) -> dict[str, Any]:
    """As `AssignmentOut` describes it."""
    return {
        "experiment": assigned.experiment,
        "customer_id": assigned.customer_id,
        "variant": assigned.variant,
        "reason": assigned.reason,
        "exposed": assigned.exposed,
        "ruleset": assigned.ruleset,
        "at": instant(assigned.at_us),
    }
