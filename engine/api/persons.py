"""People: what is on file about one, two customers who are one, and being forgotten."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from pydantic import BeforeValidator, Field

from engine.api.answers import Out
from engine.api.auth import Manages
from engine.api.batches import json_response
from engine.api.bodies import body_of
from engine.api.examples import body, scoped
from engine.api.limits import exact
from engine.api.schemas import Id, In, instant
from engine.core.tokens import Scope
from engine.operations.erase import Erased, erase
from engine.operations.export import SCHEMA, export
from engine.operations.merge import Merged, merge

router = APIRouter(tags=["customers"])
CustomerId = Annotated[Id, BeforeValidator(exact), Path(description="A slash in it is written as %2F.")]
MERGE: Final[dict[str, Any]] = {"from": "device-77"}


class MergeIn(In):
    from_: Annotated[Id, Field(alias="from", description="The customer who goes on under the id in the path.")]


class MergedOut(Out):
    """`changed`: they were not one already. `revoked`: open leases of either that suppressions of the other ended.
    `in_two_variants`: experiments that leave the person out from now on, because each half was in another variant."""

    customer_id: str
    merged: str
    changed: bool
    contacts: int
    events: int
    revoked: int
    in_two_variants: int
    at: datetime


class ErasedOut(Out):
    """How much was on file. `changed`: nobody of this id was erased before. `experiments`: those of whose readouts a
    row without a name stays a part. `in_plans`: experiments whose plans name the customer as a tester."""

    customer_id: str
    changed: bool
    contacts: int
    refusals: int
    events: int
    experiments: int
    in_plans: list[str]
    at: datetime


class ExportOut(Out):
    """`tables`: the rows by table, by column; instants are RFC 3339. `known_as`: every id of the person."""

    format: int
    customer_id: str
    known_as: list[str]
    at: datetime
    tables: dict[str, list[dict[str, Any]]]


@router.get(
    "/v1/customers/{customer_id}/export",
    summary="Everything on file about a person",
    response_model=ExportOut,
    openapi_extra=scoped(Scope.MANAGE),
)
async def export_customer(customer_id: CustomerId, request: Request, _key: Manages) -> Response:
    """Whole, of one instant, under every id that was merged with this one. Addresses are kept as keyed hashes alone."""
    told = await export(request.app.state.decider, customer_id)
    return json_response(
        {
            "format": SCHEMA,
            "customer_id": told.customer_id,
            "known_as": list(told.known_as),
            "at": instant(told.at_us),
            "tables": told.tables,
        }
    )


@router.post(
    "/v1/customers/{customer_id}/merge",
    summary="Two customers are one person",
    response_model=MergedOut,
    openapi_extra=body(MergeIn, MERGE, Scope.MANAGE),
)
async def merge_customer(customer_id: CustomerId, request: Request, _key: Manages) -> Response:
    """The customer in the path goes on: contacts count together, the strictest suppression and the newest consent hold,
    and whatever is asked or told of the other id is about this one. It cannot be undone."""
    given = await body_of(request, MergeIn)
    return _dated(await merge(request.app.state.decider, customer_id, given.from_))


@router.delete(
    "/v1/customers/{customer_id}",
    summary="Forget a person",
    response_model=ErasedOut,
    openapi_extra=scoped(Scope.MANAGE),
)
async def erase_customer(customer_id: CustomerId, request: Request, _key: Manages) -> Response:
    """Deletes what is on file, under every id that was merged with this one. Once this has answered nobody may contact
    them, and nothing told of them is kept; it cannot be undone. Lifting the suppression of everything lets them be
    known again, as somebody new."""
    return _dated(await erase(request.app.state.decider, customer_id))


def _dated(done: Merged | Erased) -> Response:
    found = done._asdict()
    at_us = found.pop("at_us")
    return json_response({**found, "at": instant(at_us)})
