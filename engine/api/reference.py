"""What there is to know of the API: its OpenAPI document, and that document as a page.

The page is plain HTML, made here: it needs no script, nothing from elsewhere, and no connection to it.
"""

import json
from html import escape
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from engine.api import schemas
from engine.api.answers import ProblemOut
from engine.api.examples import ANSWER
from engine.api.problems import KINDS, PROBLEM_JSON, problem_of
from engine.core.errors import Conflict, Forbidden, Invalid, NotFound, Problem, TaktError, Unauthenticated, Unavailable

router = APIRouter()

_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key, by itself."},
}
_MAY_CONFLICT: Final = (
    "add_pause",
    "activate_policy",
    "activate_version",
    "create_experiment",
    "refresh_readout",
    "merge_customer",
)
_EXAMPLES: Final[dict[int, TaktError]] = {
    401: Unauthenticated("this key is unknown, expired or revoked"),
    403: Forbidden("this key (crm) lacks the scope 'manage'"),
    404: NotFound("customer 'customer-42' was never asked about, recorded or put"),
    409: Conflict("there is a pause 'outage' already: lift it first"),
    422: Invalid([Problem("send_at", "'tomorrow'", "an instant such as 2026-10-05T09:00:00Z")]),
    503: Unavailable("the database is not reachable"),
}


def describe(app: FastAPI) -> None:
    """Let the application tell, in OpenAPI, also what FastAPI does not know of it."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    return Response(_page(request.app.openapi()), media_type="text/html")


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=app.description, routes=app.routes
    )
    components: dict[str, Any] = document["components"]
    known = components["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        known.pop(name, None)
    bodies = [each for each in _kinds_of(schemas.In) if each is not schemas.PageIn]
    _, extra = models_json_schema(
        [(each, "validation") for each in (*bodies, ProblemOut)], ref_template="#/components/schemas/{model}"
    )
    known.update(extra["$defs"])
    components["securitySchemes"] = _SECURITY
    components["responses"] = {_name(status): _response(status) for status in (*_EXAMPLES, 413, 415)}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            _complete(path, operation)
    # Here and not at the route: FastAPI leaves what is null out of its examples.
    answered = document["paths"]["/v1/decisions"]["post"]["responses"]["200"]
    answered["content"]["application/json"]["example"] = ANSWER
    return document


def _kinds_of(model: type[schemas.In]) -> list[type[schemas.In]]:
    """All bodies that routes take, wherever they are declared."""
    kinds = model.__subclasses__()
    return kinds + [each for kind in kinds for each in _kinds_of(kind)]


def _complete(path: str, operation: dict[str, Any]) -> None:
    """Name the key, the scope and the errors of an operation."""
    responses = operation["responses"]
    responses.pop("422", None)
    scope = operation.pop("x-scope", None)
    if scope is None:
        return
    operation["description"] += f"\n\nNeeds a key with the scope `{scope}`."
    operation["security"] = [{name: []} for name in _SECURITY]
    statuses = [401, 403, 503]
    if "{" in path or "requestBody" in operation:
        statuses.append(422)
    if "requestBody" in operation:
        statuses += [413, 415]
    of_an_experiment = path.startswith("/v1/experiments/{")
    if of_an_experiment or (
        "{" in path and operation["operationId"].startswith(("get_customer", "get_policy", "activate", "end"))
    ):
        statuses.append(404)
    if (of_an_experiment and "requestBody" in operation) or operation["operationId"] in _MAY_CONFLICT:
        statuses.append(409)
    responses.update({str(each): {"$ref": f"#/components/responses/{_name(each)}"} for each in sorted(statuses)})


def _name(status: int) -> str:
    return "".join(word.capitalize() for word in _title(status).split())


def _title(status: int) -> str:
    return next(kind.title for kind in KINDS if kind.status == status)


def _response(status: int) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/ProblemOut"}}
    if status in _EXAMPLES:
        content["example"] = problem_of(_EXAMPLES[status])
    response: dict[str, Any] = {"description": _title(status), "content": {PROBLEM_JSON: content}}
    if status == 503:
        schema = {"type": "integer", "minimum": 1}
        response["headers"] = {"Retry-After": {"description": "Seconds after which to come again.", "schema": schema}}
    return response


def _page(document: dict[str, Any]) -> str:
    operations = [
        _section(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    models = [
        f"<h3 id='{escape(name)}'>{escape(name)}</h3><p>{escape(schema.get('description', ''))}</p>{_code(schema)}"
        for name, schema in sorted(document["components"]["schemas"].items())
    ]
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>Takt: the API</title><style>{_STYLE}</style><h1>Takt: the API</h1>"
        f"<p>{escape(document['info']['summary'])}</p><p>{escape(document['info']['description'])}</p>"
        "<p>As OpenAPI: <a href='/openapi.json'>/openapi.json</a></p>"
        f"{''.join(operations)}<h2>Schemas</h2>{''.join(models)}</html>"
    )


def _section(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [
        f"<h2 id='{escape(operation['operationId'])}'><code>{method.upper()} {escape(path)}</code></h2>",
        f"<p><b>{escape(operation['summary'])}</b> {escape(operation.get('description', ''))}</p>",
    ]
    for where, content in (
        ("Request", operation.get("requestBody", {}).get("content", {})),
        ("Answer", next(iter(operation["responses"].values())).get("content", {})),
    ):
        body = content.get("application/json", {})
        reference = str(body.get("schema", {}).get("$ref", "")).rpartition("/")[2]
        if reference:
            parts.append(f"<p>{where}: <a href='#{escape(reference)}'>{escape(reference)}</a></p>")
        if "example" in body:
            parts.append(_code(body["example"]))
    return "".join(parts)


def _code(data: object) -> str:
    return f"<pre>{escape(json.dumps(data, indent=2, ensure_ascii=False))}</pre>"


_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "pre{overflow:auto;padding:.75rem;border:1px solid;border-radius:.25rem;font-size:.85rem}h2{margin-top:2.5rem}"
)
