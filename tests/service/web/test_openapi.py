"""The OpenAPI document: valid, complete, true to what the service answers; and its page, which needs no internet."""

from __future__ import annotations

import re
from dataclasses import fields
from functools import cache
from html.parser import HTMLParser
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from models.definition.rules import optimizer_field
from nncore.layers import LAYERS
from nncore.losses import LOSSES
from nncore.optimizers import OPTIMIZERS, SGD
from nncore.schedules import SCHEDULES
from testing import cases
from testing.harness import Client, Server
from testing.protocols import is_foreign
from testing.samples import CSV, DATA, ROWS, a_model, a_training, fresh
from tests.models.definition.test_definition import CANONICAL, FAULTS
from tests.service.conftest import Trained

#: Paths of pages, and of the document itself.
ABOUT_ITSELF = re.compile(r"/docs|/openapi\.json|/static|/console|/favicon\.ico")


#: The first word of an operation's summary. Summaries have no backticks, because many clients show them unformatted.
VERBS = (
    "Cancel|Check|Define|Delete|Download|Drop|Evaluate|Import|List|Load|Pause|Predict|Publish|Report|Resume|Set|Show|"
    "Train|Upload"
)

#: By the names of their unions in the document.
TABLES: dict[str, dict[str, Any]] = {
    "Layer": LAYERS,
    "Optimizer": OPTIMIZERS,
    "Schedule": SCHEDULES,
    "Loss": LOSSES,
}


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    answer = server.client.get("/openapi.json")
    assert answer.status == 200
    return dict(answer.json)


@pytest.fixture(scope="module")
def validators(document: dict[str, Any]) -> Any:
    """A validator for each named schema, or for any schema of the document."""
    registry = Registry().with_resource("urn:openapi", Resource.from_contents(document, DRAFT202012))

    @cache
    def named(name: str) -> Draft202012Validator:
        schema = {"$ref": f"urn:openapi#/components/schemas/{name}"}
        return Draft202012Validator(schema, registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER)

    return named


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    methods = {"get", "post", "put", "delete", "patch"}
    return {
        (path, method.upper()): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in methods
    }


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert re.fullmatch(r"3\.1\.\d", document["openapi"])
    OpenAPIV31SpecValidator(document).validate()


def test_it_covers_every_route(app: Flask, document: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not ABOUT_ITSELF.match(rule.rule)
    }
    assert operations(document).keys() == routes
    assert len(routes) > 25


@pytest.mark.parametrize("folder", ["routes", "protocols"])
def test_every_file_of_routes_is_registered(app: Flask, folder: str) -> None:
    """A file in service/web/routes or service/web/protocols serves nothing until service/web/app.py names it."""
    package = import_module(f"service.web.{folder}")
    files = {found.name: import_module(f"{package.__name__}.{found.name}") for found in iter_modules(package.__path__)}
    blueprints = {name: file.routes for name, file in files.items() if hasattr(file, "routes")}
    assert folder == "protocols" or blueprints.keys() == files.keys()
    for name, blueprint in blueprints.items():
        assert app.blueprints.get(blueprint.name) is blueprint, name
    assert len(blueprints) > 3


def test_every_operation_says_what_it_does(document: dict[str, Any]) -> None:
    ids = []
    for place, operation in operations(document).items():
        assert re.fullmatch(rf"({VERBS}) [^`\n]*\.", operation["summary"]), place
        assert operation["tags"], place
        statuses = operation["responses"].keys()
        assert any(status.startswith("2") for status in statuses), place
        ids.append(operation.get("operationId"))
        variables = set(re.findall(r"{(\w+)}", place[0]))
        shared = document["paths"][place[0]].get("parameters", [])
        told = {one["name"] for one in [*shared, *operation.get("parameters", [])] if one.get("in") == "path"}
        assert told == variables, place
        if variables:
            assert "404" in statuses, place
    assert None not in ids
    assert len(ids) == len(set(ids))
    assert [name for name in ids if not re.fullmatch(r"(train|sweep|predict|evaluate|[a-z]+(_[a-z]+)+)", name)] == []


def test_links_lead_to_operations_by_parameters_that_they_have(document: dict[str, Any]) -> None:
    """Whatever is created leads to what can be asked of it."""
    known = {operation["operationId"]: (place, operation) for place, operation in operations(document).items()}
    seen = set()
    for place, operation in operations(document).items():
        for response in operation["responses"].values():
            for name, link in response.get("links", {}).items():
                (path, _), target = known[link["operationId"]]
                own = [*document["paths"][path].get("parameters", []), *target.get("parameters", [])]
                taken = {each["name"] for each in own if "name" in each}
                assert {parameter.rpartition(".")[2] for parameter in link["parameters"]} <= taken, (place, name)
                assert all(value.startswith("$response.body#/") for value in link["parameters"].values())
                seen.add(link["operationId"])
    lists = {"list_models", "list_datasets", "list_jobs"}
    by_variables = {name for name, ((path, _), _) in known.items() if "{" in path and not is_foreign(path)}
    # An alias is the client's own word, which no answer but those about aliases has.
    assert by_variables - {"put_alias"} <= seen
    assert not lists & seen


def test_refusals_are_problems(document: dict[str, Any]) -> None:
    seen = 0
    for place, operation in operations(document).items():
        for status, response in operation["responses"].items():
            if status == "default" or status.startswith(("4", "5")):
                name = response.get("$ref", "").rpartition("/")[2]
                described = document["components"]["responses"][name] if name else response
                if "content" in described and not is_foreign(place[0]):
                    assert described["content"].keys() == {"application/problem+json"}, (place, status)
                    seen += 1
    assert seen > 30


@pytest.mark.parametrize("path", ["/jobs/{job_id}/events", "/events"])
def test_events_are_described(document: dict[str, Any], path: str) -> None:
    operation = operations(document)[path, "GET"]
    told = {(one["in"], one["name"]) for one in operation["parameters"] if "in" in one}
    assert told == {("query", "limit"), ("query", "after"), ("header", "Last-Event-ID")}
    content = operation["responses"]["200"]["content"]
    assert content.keys() == {"application/json", "text/event-stream"}
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/EventList"}


def test_what_is_not_ready_is_described(document: dict[str, Any]) -> None:
    content = operations(document)["/health/ready", "GET"]["responses"]["503"]["content"]
    assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/NotReady"}}}


def test_every_member_of_the_tables_is_described(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for union, table in TABLES.items():
        components = {name: f"{name}_{union.lower()}" for name in table}
        places = {name: f"#/components/schemas/{component}" for name, component in components.items()}
        assert schemas[union]["discriminator"]["mapping"] == places
        assert [one["$ref"] for one in schemas[union]["oneOf"]] == list(places.values())
        for name, rule in table.items():
            described = schemas[components[name]]
            assert described["properties"]["type"] == {"const": name}
            members = {item.name for item in fields(rule)}
            assert described["properties"].keys() == {"type", *members}
            assert described["additionalProperties"] is False
            for member in members:
                assert described["properties"][member]["description"], (name, member)


def test_every_member_of_the_main_bodies_is_described(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for path in ("/models", "/train", "/evaluate"):
        members = schemas[body_schema(document, path)]["properties"]
        assert [name for name, member in members.items() if "description" not in member] == []


def test_members_of_the_same_name_do_not_hide_each_other(document: dict[str, Any]) -> None:
    """No component is both one table's member and another's, nor one of the service's shapes."""
    components = [f"{name}_{union.lower()}" for union, table in TABLES.items() for name in table]
    assert len(components) == len(set(components)) == sum(map(len, TABLES.values()))
    assert set(components) <= document["components"]["schemas"].keys()


@pytest.mark.parametrize("rule", cases.every(cases.OPTIMIZERS), ids=cases.label)
def test_every_optimizer_is_as_described(validators: Any, rule: Any) -> None:
    written = optimizer_field().serialize("optimizer", {"optimizer": rule})
    validators("Optimizer").validate(written)
    assert not validators("Optimizer").is_valid({**written, "schedule": {"type": "none"}})


@pytest.mark.parametrize("schedule", cases.every(cases.SCHEDULES), ids=cases.label)
def test_every_schedule_is_as_described(validators: Any, schedule: Any) -> None:
    written = optimizer_field().serialize("optimizer", {"optimizer": SGD(schedule=schedule)})
    validators("Optimizer").validate(written)
    assert not validators("Optimizer").is_valid({**written, "schedule": {**written["schedule"], "warmup": -1}})


def body_schema(document: dict[str, Any], path: str, kind: str = "application/json") -> str:
    schema = document["paths"][path]["post"]["requestBody"]["content"][kind]["schema"]
    return str(schema["$ref"].rpartition("/")[2])


class TestRequests:
    """The schemas accept what the service accepts, and refuse what it refuses if a schema can express it."""

    @pytest.mark.parametrize(
        "definition",
        [
            CANONICAL,
            a_model("a"),
            {"name": "b", "inputs": 1, "classes": 2, "hidden": [3], "activation": "relu"},
            {"name": "c", "inputs": 1, "classes": [3, 1], "hidden": [], "optimizer": {"type": "sgd"}},
            {"name": "d", "inputs": 1, "classes": 2, "hidden": 3, "optimizer": "adam", "loss": "focal"},
            {"name": "f", "inputs": 1, "classes": 2},
            {"name": "e", "inputs": 1, "classes": 2, "layers": ["relu", {"type": "dense", "units": 2}, "softmax"]},
        ],
    )
    def test_definitions(self, document: dict[str, Any], validators: Any, definition: dict[str, Any]) -> None:
        validators(body_schema(document, "/models")).validate(definition)

    #: Faults in combinations of members, which the schema does not express, or faults that JSON schema does
    #: not see: it treats 2.0 as an integer, and implementations differ in what "$" matches.
    BEYOND = {
        "the last layer by name",
        "the layer before the last by name",
        "boundaries descend",
        "factors too few",
        "activation with layers",
        "class a boolean among numbers",
        "class a number among booleans",
        "class repeated",
        "class weights of another class",
        "classes of two kinds",
        "inputs a fraction",
        "layers and hidden",
        "metadata deep",
        "metadata large",
        "newline after name",
        "no dense before softmax",
        "activation alone",
        "no softmax",
        "softmax alone",
        "too few class weights",
        "units other than classes",
    }

    @pytest.mark.parametrize("fault", sorted(FAULTS.keys() - BEYOND - {"learning rate NaN"}))
    def test_bad_definitions(self, document: dict[str, Any], validators: Any, fault: str) -> None:
        definition, _ = FAULTS[fault]
        assert not validators(body_schema(document, "/models")).is_valid(definition)

    @pytest.mark.parametrize(
        "training",
        [
            a_training("m"),
            a_training(a_model("m")),
            a_training({"name": "m", "hidden": [2]}, batch_size="full", validation={"fraction": 0.2}),
            a_training("m", validation=None, optimizer=None, start_from=None),
            {"data": "iris"},
            {"data": {"dataset": "iris"}, "model": {"name": "m"}},
            a_training("m", data="iris", validation=0.2, optimizer="adam", loss="focal"),
            a_training("m", validation="held-out", optimizer={"type": "sgd", "schedule": "cosine"}),
            a_training("m", data={"dataset": "iris"}, checkpoint={"every_epochs": 2, "every_seconds": None, "keep": 0}),
            a_training("m", validation=DATA, optimizer={"type": "adam"}, start_from="ckpt_1", publish=False),
            {"model": "m", "data": {"inputs": ROWS, "labels": [[1, 0, 0]] * 12}},
        ],
    )
    def test_trainings(self, document: dict[str, Any], validators: Any, training: dict[str, Any]) -> None:
        validators(body_schema(document, "/train")).validate(training)

    @pytest.mark.parametrize(
        "members",
        [
            {"epochs": -1},
            {"epochs": "3"},
            {"batch_size": "half"},
            {"seed": -1},
            {"shuffle": 1},
            {"validation": {"fraction": 1.0}},
            {"validation": 1.0},
            {"data": 0.5},
            {"optimizer": {"type": "none"}},
            {"checkpoint": {"keep": -1}},
            {"nonsense": 1},
            {"data": {"inputs": [["1"]], "labels": [1]}},
            {"data": {"inputs": ROWS, "labels": [{}] * 12}},
            {"model": "Bad Name"},
        ],
        ids=str,
    )
    def test_bad_trainings(self, document: dict[str, Any], validators: Any, members: dict[str, Any]) -> None:
        assert not validators(body_schema(document, "/train")).is_valid(a_training("m") | members)

    def test_predictions_and_rows(self, document: dict[str, Any], validators: Any) -> None:
        predict = validators(body_schema(document, "/predict"))
        for body in ({"model": "m", "inputs": ROWS}, {"model": "m", "inputs": [1, 2], "version": "best", "top_k": 2}):
            predict.validate(body)
        for body in ({"model": "m"}, {"model": "m", "inputs": [["1"]]}, {"model": "m", "inputs": ROWS, "x": 1}):
            assert not predict.is_valid(body)
        rows = validators(body_schema(document, "/datasets"))
        rows.validate({"name": "n", **DATA})
        assert not rows.is_valid({"name": "n", "inputs": ROWS})
        rows.validate({"name": "n", "inputs": ROWS, "features": ["x", "y"], "labels": [True, None] * 6})
        rows.validate({"name": "n", "rows": [{"a": 1, "b": None}], "label": "b", "types": {"a": "category"}})
        rows.validate({"name": "n", "columns": ["a"], "rows": [[1]], "missing": "keine", "ignore": ["a"]})
        assert not rows.is_valid({"name": "n", "rows": [{"a": {}}]})

    def test_evaluations(self, document: dict[str, Any], validators: Any) -> None:
        evaluate = validators(body_schema(document, "/evaluate"))
        good = {"model": "m", "data": {"dataset": "iris"}}
        for members in ({}, {"version": 3, "top_k": 2}, {"version": "best"}, {"version": None, "top_k": None}):
            evaluate.validate(good | members)
        for members in ({"version": 0}, {"version": ""}, {"top_k": 0}, {"model": "Bad Name"}, {"data": None}, {"x": 1}):
            assert not evaluate.is_valid(good | members)

    def test_every_documented_example_validates(self, document: dict[str, Any], validators: Any) -> None:
        seen = 0
        for name, schema in document["components"]["schemas"].items():
            for example in schema.get("examples", []):
                validators(name).validate(example)
                seen += 1
        for operation in operations(document).values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                assert "example" not in content, "examples belong to their schema, where this test sees them"
        assert seen >= 1


class TestAnswers:
    """The responses match the document."""

    def answer(self, document: dict[str, Any], path: str, method: str, status: int) -> str:
        schema = document["paths"][path][method]["responses"][str(status)]["content"]["application/json"]["schema"]
        # A route with `fields` has a second choice, of less than the whole document.
        return str(schema.get("anyOf", [schema])[0]["$ref"].rpartition("/")[2])

    @pytest.mark.parametrize(
        "path",
        [
            "/models",
            "/models/{name}",
            "/models/{name}/versions",
            "/models/{name}/versions/{version}",
            "/models/{name}/aliases",
            "/models/{name}/aliases/{alias}",
            "/models/{name}/checkpoints",
            "/datasets",
            "/datasets/{key}",
            "/datasets/{key}/profile",
            "/datasets/{key}/rows",
            "/jobs",
            "/jobs/{job_id}",
            "/jobs/{job_id}/history",
            "/jobs/{job_id}/events",
            "/jobs/{job_id}/checkpoints",
            "/events",
            "/checkpoints/{checkpoint_id}",
            "/health/ready",
        ],
    )
    def test_gets(self, document: dict[str, Any], validators: Any, client: Client, trained: Trained, path: str) -> None:
        key = fresh("documented")
        assert client.post("/datasets", {"name": key, **DATA}).status == 201
        job = trained.jobs[0]
        known = {
            "name": trained.name,
            "version": "latest",
            "alias": "default",
            "key": key,
            "job_id": job["id"],
            "checkpoint_id": job["checkpoint"],
        }
        answer = client.get(path.format_map(known))
        assert answer.status == 200, answer
        name = self.answer(document, path, "get", 200)
        self.strictly(validators, name, answer.json)
        choices = document["components"]["schemas"][name]["properties"].get("data", {}).get("items", {}).get("anyOf")
        for entry in answer.json["data"] if choices else ():
            self.strictly(validators, choices[0]["$ref"].rpartition("/")[2], entry)
        assert answer.body.endswith(b"\n"), "a terminal's prompt follows it"

    def strictly(self, validators: Any, name: str, value: Any) -> None:
        """Valid, and with no member that the schema does not name."""
        validator = validators(name)
        validator.validate(value)
        schema = validator._resolver.lookup(f"urn:openapi#/components/schemas/{name}").contents
        assert value.keys() <= schema["properties"].keys()

    def test_posts(self, document: dict[str, Any], validators: Any, client: Client) -> None:
        name, kept = fresh("documented"), fresh("documented")
        defined = client.post("/models", a_model(name))
        self.strictly(validators, self.answer(document, "/models", "post", 201), defined.json)
        made = client.post(f"/datasets?name={kept}&label=colour", CSV.encode(), headers={"Content-Type": "text/csv"})
        self.strictly(validators, self.answer(document, "/datasets", "post", 201), made.json)
        started = client.post("/train", a_training(name, data={"dataset": kept}))
        self.strictly(validators, self.answer(document, "/train", "post", 202), started.json)
        client.wait(started.json["id"])
        predicted = client.post("/predict", {"model": name, "inputs": ROWS, "top_k": 2})
        self.strictly(validators, self.answer(document, "/predict", "post", 200), predicted.json)
        evaluated = client.post("/evaluate", {"model": name, "data": {"dataset": kept}})
        self.strictly(validators, self.answer(document, "/evaluate", "post", 200), evaluated.json)
        put = client.put(f"/models/{name}/aliases/best", {"version": 1})
        self.strictly(validators, self.answer(document, "/models/{name}/aliases/{alias}", "put", 200), put.json)

    def test_problems(self, validators: Any, client: Client) -> None:
        for answer in (
            client.get("/none"),
            client.delete("/train"),
            client.post("/models", {"name": 3}),
            client.post("/train", b"{"),
            client.post("/datasets?name=x&label=y", b"x,y\nq,1\n", headers={"Content-Type": "text/csv"}),
        ):
            assert answer.status >= 400
            self.strictly(validators, "Problem", answer.json)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


class TestPage:
    """``/docs`` works with no internet."""

    def test_it_refers_to_local_files_that_are_all_there(self, client: Client) -> None:
        page = client.get("/docs/")
        assert page.status == 200
        assert page.headers["content-type"].startswith("text/html")
        parser = _Links()
        parser.feed(page.body.decode())
        assert len(parser.found) >= 4
        for link in parser.found:
            assert not re.match(r"(?:https?:)?//", link), link
            path = link if link.startswith("/") else f"/docs/{link.removeprefix('./')}"
            answer = client.get(path)
            assert answer.status == 200, link
            assert answer.body
            if path.endswith(".css"):
                assert not re.search(rb"(?:@import|url\()\s*['\"]?(?:https?:)?//", answer.body)
        assert b"/openapi.json" in page.body

    def test_without_the_slash(self, client: Client) -> None:
        answer = client.get("/docs")
        assert answer.status == 200
        assert b"swagger" in answer.body.lower()
