"""OpenAPI: every example in it is sent, and what comes back is held against the schema it names."""

import json
from datetime import datetime
from typing import Any

import pytest

from engine.api import answers
from engine.api.answers import ProblemOut
from engine.api.app import create_app
from engine.settings import Settings
from tests.api.caller import DAY_S, POLICY, Caller, advance_clock
from tests.service import Service, serving

OPERATIONS = {
    "ask",
    "ask_batch",
    "confirm",
    "release",
    "record",
    "bring_events",
    "publish_rate",
    "put_customer",
    "put_customers",
    "get_customer",
    "get_decisions",
    "export_customer",
    "merge_customer",
    "erase_customer",
    "put_preferences",
    "suppress",
    "lift",
    "get_policies",
    "get_policy",
    "validate_policy",
    "activate_policy",
    "activate_version",
    "add_pause",
    "end_pause",
    "validate_experiment",
    "create_experiment",
    "get_experiments",
    "get_experiment",
    "start_experiment",
    "ramp_experiment",
    "begin_phase",
    "note_finding",
    "stop_experiment",
    "ship_experiment",
    "end_experiment_holdout",
    "get_readout",
    "get_holdout_readout",
    "refresh_holdout_readout",
    "refresh_readout",
    "get_traffic",
    "assign",
    "show_choices",
    "choose",
    "live",
    "ready",
    "metrics",
}
PATHS = {"{customer_id}": "customer-42", "{version}": "1", "{name}": "outage", "{key}": "push-more"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings(), "postgresql://nowhere").openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def answer_models(model: type[answers.Out] = answers.Out) -> dict[str, type[answers.Out]]:
    """All that goes out, by name, wherever it is declared."""
    found = {model.__name__: model}
    for each in model.__subclasses__():
        found |= answer_models(each)
    return found


def test_operations_are_named_and_keep_their_names(document: dict[str, Any]) -> None:
    assert {operation["operationId"] for _, _, operation in operations(document)} == OPERATIONS
    for _, path, operation in operations(document):
        assert operation["summary"], path
        assert operation["description"], path


def test_operations_declare_keys_errors_and_examples(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert document["components"]["securitySchemes"]["key"]["name"] == "X-API-Key"
    for _, path, operation in operations(document):
        if not path.startswith("/v1"):
            continue
        assert operation["security"] == [{"bearer": []}, {"key": []}]
        assert "scope `" in operation["description"]
        wanted = {"401", "403", "503"} | ({"413", "415", "422"} if "requestBody" in operation else set())
        assert wanted <= set(operation["responses"]), path
        if "requestBody" in operation:
            assert operation["requestBody"]["content"]["application/json"]["example"], path
    for response in document["components"]["responses"].values():
        schema = response["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ProblemOut"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*(references(each) for each in value.values()))
        return set().union(*(references(each) for each in value)) if isinstance(value, list) else set()

    for reference in references(document):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        assert found


def test_error_examples_are_problems(document: dict[str, Any]) -> None:
    for response in document["components"]["responses"].values():
        content = response["content"]["application/problem+json"]
        if "example" in content:
            ProblemOut.model_validate(content["example"])


def test_every_example_is_answered_as_its_schema_says(service: Service) -> None:
    service.activate(POLICY)
    with Caller(service) as takt:
        document = takt.http.get("/openapi.json").json()
        asked = takt.call("POST", "/v1/decisions", _example(document, "ask"))
        takt.ask("customer-42", "refused-1")
        takt.ask("customer-42", None, mode="check")
        example = document["paths"]["/v1/decisions"]["post"]["responses"]["200"]["content"]["application/json"]
        assert set(example["example"]) == set(asked)
        order = [(m, p, o) for m, p, o in operations(document) if m != "GET"]
        order += [(m, p, o) for m, p, o in operations(document) if m == "GET"]
        order = [each for each in order if not each[1].startswith("/u/")]  # a customer's, as HTML: test_choices
        order.sort(key=lambda each: each[0] == "DELETE")
        steps = [operation["operationId"] for _, _, operation in order]
        order.insert(steps.index("start_experiment") + 1, order.pop(steps.index("assign")))  # while it runs
        order.sort(key=lambda each: each[2]["operationId"] == "end_experiment_holdout")  # once it was read
        for method, template, operation in order:
            if operation["operationId"] in ("begin_phase", "refresh_holdout_readout"):  # neither is for the first day
                advance_clock(service.database_url, DAY_S)
            path = template
            for part, value in PATHS.items():
                path = path.replace(part, value)
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
            response = takt.send(method, path, body)
            assert response.is_success, (path, response.text)
            shown = operation["responses"][str(response.status_code)]
            if template == "/metrics":
                continue
            assert response.headers["content-type"] == "application/json"
            model = answer_models()[shown["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]]
            model.model_validate_json(response.content, strict=False)
            assert '"error"' not in response.text, "each item of each example is good"
            assert set(response.json()) == set(model.model_json_schema()["properties"]), path


def test_the_example_of_an_answer_is_one() -> None:
    document = create_app(Settings(), "postgresql://nowhere").openapi()
    example = document["paths"]["/v1/decisions"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    answer = answers.AnswerOut.model_validate(example)
    assert isinstance(answer.decided_at, datetime)


def test_the_page_shows_every_operation_without_a_script(service: Service) -> None:
    with Caller(service) as takt:
        page = takt.http.get("/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for operation in OPERATIONS:
            assert f"id='{operation}'" in page.text
        assert "<script" not in page.text
        assert " src=" not in page.text
        assert "//" not in page.text.replace("http://json-schema", ""), "no address of anybody else's"


def test_the_page_and_the_document_can_be_switched_off(database_url: str) -> None:
    with serving(database_url, Settings(docs=False)) as service, Caller(service) as takt:
        assert takt.http.get("/docs").status_code == 404
        assert takt.http.get("/openapi.json").status_code == 404
        assert takt.http.get("/livez").status_code == 200


def _example(document: dict[str, Any], operation_id: str) -> Any:
    for _, _, operation in operations(document):
        if operation["operationId"] == operation_id:
            return json.loads(json.dumps(operation["requestBody"]["content"]["application/json"]["example"]))
    raise AssertionError(operation_id)
