"""Customers: what is on file, how their budgets stand, why they were or were not contacted."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BeforeValidator

from engine.api.answers import CustomerOut, FiledListOut, FiledOut, JournalOut
from engine.api.auth import Ingests, Manages, Reads
from engine.api.batches import json_response, settle_items
from engine.api.bodies import body_of
from engine.api.examples import CUSTOMER, LIFT, PREFERENCES, SUPPRESSION, batch_of, body, scoped
from engine.api.journal_views import entry_data, file_data, view_data
from engine.api.limits import exact
from engine.api.schemas import (
    ConsentIn,
    CustomerIn,
    CustomerRowIn,
    CustomersIn,
    Id,
    LiftIn,
    PageIn,
    PreferencesIn,
    SuppressionIn,
    microseconds,
)
from engine.core.customer import Preference
from engine.core.errors import Invalid, Problem, TaktError
from engine.core.suppression import BINDS_EXEMPT_BY_DEFAULT, Consent, Scope, Suppression
from engine.core.tokens import Scope as KeyScope
from engine.operations.addresses import PURPOSE, PutReachable, hashed
from engine.operations.file import UNSET, Filed, Lift, PutCustomer, PutPreferences, Suppress
from engine.operations.look import journal, look

router = APIRouter(tags=["customers"])
CustomerId = Annotated[Id, BeforeValidator(exact), Path(description="A slash in it is written as %2F.")]


@router.put(
    "/v1/customers/{customer_id}",
    summary="Time zone, attributes, consents and addresses",
    response_model=FiledOut,
    openapi_extra=body(CustomerIn, CUSTOMER, KeyScope.INGEST),
)
async def put_customer(customer_id: CustomerId, request: Request, _key: Ingests) -> Response:
    """Each field that is given replaces what is on file; null clears it; what is not given stays."""
    key = await request.app.state.decider.secret(PURPOSE)
    (filed,) = await request.app.state.intake.put([_put(customer_id, await body_of(request, CustomerIn), key)])
    if isinstance(filed, TaktError):
        raise filed
    return json_response(filed_data(filed))


@router.post(
    "/v1/customers/batch",
    summary="Put up to 10,000 customers",
    response_model=FiledListOut,
    openapi_extra=body(CustomersIn, batch_of("customers", {"customer_id": "customer-42", **CUSTOMER}), KeyScope.INGEST),
)
async def put_customers(request: Request, _key: Ingests) -> Response:
    """As the single put; each on its own."""
    key = await request.app.state.decider.secret(PURPOSE)

    def command_of(given: CustomerRowIn) -> PutCustomer | PutReachable:
        return _put(given.customer_id, given, key)

    put = request.app.state.intake.put
    return await settle_items(request, "customers", CustomerRowIn, command_of, filed_data, put)


@router.get(
    "/v1/customers/{customer_id}",
    summary="Budgets used and left, and what is on file",
    response_model=CustomerOut,
    openapi_extra=scoped(KeyScope.READ),
)
async def get_customer(customer_id: CustomerId, request: Request, _key: Reads) -> Response:
    """How every budget stands now, the contacts that occupy them, what is on file, and the cases that are open."""
    return json_response(view_data(await look(request.app.state.decider, customer_id)))


@router.get(
    "/v1/customers/{customer_id}/decisions",
    summary="Why, and why not: the customer's journal",
    response_model=JournalOut,
    openapi_extra=scoped(KeyScope.READ),
)
async def get_decisions(
    customer_id: CustomerId, request: Request, _key: Reads, page: Annotated[PageIn, Query()]
) -> Response:
    """Asks with their reasons, contacts, what became of them, and changes on file; the newest first."""
    entries, names = await journal(request.app.state.decider, customer_id, page.before, page.limit)
    more = len(entries) == page.limit and entries[-1].seq > 1
    data = [entry_data(each, names) for each in entries]
    return json_response(
        {"customer_id": customer_id, "entries": data, "next_before": entries[-1].seq if more else None}
    )


@router.put(
    "/v1/customers/{customer_id}/preferences",
    summary="A customer's own limits",
    response_model=FiledOut,
    openapi_extra=body(PreferencesIn, PREFERENCES, KeyScope.INGEST),
)
async def put_preferences(customer_id: CustomerId, request: Request, _key: Ingests) -> Response:
    """Replaces them all. A choice is a number of contacts: it replaces the limit of every budget that selects only that
    channel or topic; where there is none, it is a budget of the customer's own, over seven days."""
    given = await body_of(request, PreferencesIn)
    preferences: list[Preference] = []
    for index, each in enumerate(given.preferences):
        if (each.channel is None) == (each.topic is None):
            raise Invalid([Problem(f"preferences[{index}]", "both or neither", "a channel or a topic")])
        preferences.append(Preference(each.channel.value if each.channel else None, each.topic, each.limit))
    if len({(each.channel, each.topic) for each in preferences}) < len(preferences):
        raise Invalid([Problem("preferences", "two choices for the same", "one for each channel or topic")])
    filed = await request.app.state.decider.settle(PutPreferences(customer_id, tuple(preferences)))
    return json_response(filed_data(filed))


@router.post(
    "/v1/suppressions",
    tags=["suppressions"],
    summary="No contact in this scope from now on",
    response_model=FiledOut,
    openapi_extra=body(SuppressionIn, SUPPRESSION, KeyScope.INGEST),
)
async def suppress(request: Request, _key: Ingests) -> Response:
    """Once this has answered nothing is allowed in the scope, and open leases in it are revoked."""
    given = await body_of(request, SuppressionIn)
    at_us = microseconds(given.at) if given.at else 2**53
    binds = given.reason in BINDS_EXEMPT_BY_DEFAULT if given.binds_exempt is None else given.binds_exempt
    scope = Scope(given.channel.value if given.channel else None, given.topic)
    suppression = Suppression(scope, given.reason, at_us, given.source, binds)
    return json_response(filed_data(await request.app.state.decider.settle(Suppress(given.customer_id, suppression))))


@router.post(
    "/v1/suppressions/lift",
    tags=["suppressions"],
    summary="The customer agreed to contacts again",
    response_model=FiledOut,
    openapi_extra=body(LiftIn, LIFT, KeyScope.MANAGE),
)
async def lift(request: Request, _key: Manages) -> Response:
    """Ends the suppression of exactly this scope; `changed` says whether there was one."""
    given = await body_of(request, LiftIn)
    scope = Scope(given.channel.value if given.channel else None, given.topic)
    return json_response(filed_data(await request.app.state.decider.settle(Lift(given.customer_id, scope))))


def filed_data(filed: Filed) -> dict[str, Any]:
    return {
        "customer_id": filed.customer_id,
        "changed": filed.changed,
        "revoked": filed.revoked,
        **file_data(filed.customer),
    }


def _put(customer_id: str, given: CustomerIn, key: bytes) -> PutCustomer | PutReachable:
    fields = given.model_fields_set
    put = PutCustomer(
        customer_id,
        given.time_zone if "time_zone" in fields else UNSET,
        (given.attributes or {}) if "attributes" in fields else UNSET,
        tuple(_consent(each) for each in given.consents or ()) if "consents" in fields else UNSET,
    )
    if "addresses" not in fields:
        return put
    addresses = {hashed(key, each.channel, each.address) for each in given.addresses or ()}
    return PutReachable(customer_id, put, tuple(sorted(addresses)))


def _consent(given: ConsentIn) -> Consent:
    scope = Scope(given.channel.value if given.channel else None, given.topic)
    return Consent(scope, given.given, microseconds(given.at), given.source, given.text_version)
