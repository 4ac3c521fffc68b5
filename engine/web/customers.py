"""A customer's page: why, what is left, and what may be done. The id stands in the query, where a slash is a slash."""

from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Query, Request, Response

from engine.core.errors import Conflict, Invalid, NotFound, Problem
from engine.core.suppression import Scope, Suppression, SuppressionReason
from engine.operations.erase import erase
from engine.operations.export import export
from engine.operations.file import Suppress
from engine.operations.look import look, page_of_story
from engine.operations.merge import merge
from engine.render.customer import Person, customer_page, customers_page
from engine.web.answers import PageRoute, of_html, saved, see
from engine.web.asking import Who, selected
from engine.web.framing import framed
from engine.web.signing_in import Reader, form

router = APIRouter(include_in_schema=False, route_class=PageRoute)
CustomerId = Annotated[str, Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Before = Annotated[int | None, Query(ge=1, lt=2**31)]
Until = Annotated[int | None, Query(ge=1, lt=2**62)]
_PLACE: Final = "/customers"
_PAGE: Final = 50
_LATEST_US: Final = 2**53  # clamped to the customer's now


@router.get(_PLACE)
async def lookup(request: Request, who: Reader) -> Response:
    return of_html(customers_page(await framed(request, who, "Customers", _PLACE)))


@router.get("/customer")
async def one(id: CustomerId, request: Request, who: Reader, before: Before = None, until: Until = None) -> Response:
    """`before` and `until` are of the link to what is older. What was pasted with spaces around it is found without,
    where nobody is called so."""
    decider = request.app.state.decider
    try:
        view = await look(decider, id)
    except NotFound:
        if id.strip() in ("", id):
            raise
        return see("/customer", id=id.strip())
    story = await page_of_story(decider, id, before, until, _PAGE, view.customer.variants)
    person = Person(
        customer_id=id,
        customer=view.customer,
        standings=view.standings,
        frees_us=view.frees_us,
        entries=story.told.entries,
        done=story.done,
        is_cut=story.is_cut,
        experiments=story.told.experiments,
        before=story.before,
        until_us=story.until_us,
        is_first_page=before is None,
    )
    return of_html(customer_page(await framed(request, who, id, _PLACE), person))


@router.post("/customer/suppress")
async def suppress(request: Request, who: Who) -> Response:
    """Once this has answered nothing is allowed in the scope, and open leases in it are revoked."""
    fields = await form(request, who)
    channel, topic, problems = await selected(request, fields)
    if problems:
        raise Invalid(problems)
    suppression = Suppression(Scope(channel, topic), SuppressionReason.BY_HAND, _LATEST_US, who.key.name, True)
    await request.app.state.decider.settle(Suppress(_id(fields), suppression))
    return _back(fields, "suppressed")


@router.post("/customer/export")
async def export_all(request: Request, who: Who) -> Response:
    fields = await form(request, who)
    told = await export(request.app.state.decider, _id(fields))
    body = orjson.dumps({"customer_id": told.customer_id, "known_as": list(told.known_as), "tables": told.tables})
    return saved(body.decode(), "application/json", "export.json")


@router.post("/customer/merge")
async def unite(request: Request, who: Who) -> Response:
    fields = await form(request, who)
    await merge(request.app.state.decider, _id(fields), _id(fields, "other"))
    return _back(fields, "merged")


@router.post("/customer/erase")
async def forget(request: Request, who: Who) -> Response:
    """The id is typed twice: nothing brings anybody back."""
    fields = await form(request, who)
    if fields.get("sure") != _id(fields):
        raise Conflict("what was typed is not this customer's id: nothing was erased")
    await erase(request.app.state.decider, _id(fields))
    return see(_PLACE, "erased")


def _id(fields: dict[str, str], name: str = "id") -> str:
    """To the letter: ids may have spaces at their ends, and whose page it is must be who is stopped or erased."""
    found = fields.get(name, "")
    if not 0 < len(found) <= 200 or any(ord(each) < 32 or ord(each) == 127 for each in found):
        raise Invalid([Problem(name, repr(found[:20]), "an id of 1 to 200 printable characters")])
    return found


def _back(fields: dict[str, str], done: str) -> Response:
    return see("/customer", done, id=_id(fields))
