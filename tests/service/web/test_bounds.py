"""Errors and what answers repeat are bounded, whatever a request holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from models.data.limits import CLASSES_BYTES, NAME_BYTES
from models.errors import LISTED, QUOTED
from models.registry.models import find_model
from models.registry.tables import MODELS
from service.settings import Settings
from service.web.app import create_app
from service.web.errors import PROBLEM_BYTES
from service.web.pagination import PAGE_BYTES

MODEL = {"name": "known", "inputs": 2, "classes": ["a", "b"], "hidden": [2]}
DATA = {"inputs": [[1, 2], [2, 3]], "labels": ["a", "b"]}
MANY = 100_000


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A client of an application with one model; it starts no process."""
    app = create_app(Settings.read({"TRAINYARD_DATA": str(tmp_path_factory.mktemp("bounds"))}))
    client = app.test_client()
    assert client.post("/models", json=MODEL).status_code == 201
    yield client
    app.extensions["trainyard"].database.dispose()


def texts_in(value: Any) -> Iterator[str]:
    """All strings in a document, its keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


def refused(client: FlaskClient, path: str, body: Any, total: int | None = None) -> dict[str, Any]:
    """The problem document of a body, whose bounds are checked."""
    answer = client.post(path, data=json.dumps(body).encode(), content_type="application/json")
    assert 400 <= answer.status_code < 500, answer.data[:500]
    document = bounded(answer.data)
    echoes(document, texts_in(body))
    if total is not None:
        assert document.get("errors_total", len(document["errors"])) == total
    return document


def bounded(content: bytes) -> dict[str, Any]:
    assert len(content) <= PROBLEM_BYTES
    document: dict[str, Any] = json.loads(content)
    listed, total = len(document["errors"]), document.get("errors_total")
    assert listed <= LISTED
    if total is not None:
        assert total > listed > 0
        assert f"(and {total - 1:,} more" in document["detail"]
    return document


def echoes(document: dict[str, Any], received: Iterator[str]) -> None:
    """Fail if the document has more than ``QUOTED`` characters in a row of a text that was received."""
    answered = "\n".join(texts_in(document))
    for text in received:
        assert not any(text[start : start + QUOTED + 1] in answered for start in range(len(text) - QUOTED))


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)
LONG = st.builds(lambda text, times: text * times, NAMES, st.integers(1, 20))
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-1, 1), LONG, st.just({}), st.just([]))
MEMBERS = st.dictionaries(LONG, VALUES, min_size=1, max_size=60)
LISTS = st.lists(VALUES, min_size=1, max_size=300)


@given(MEMBERS)
def test_unknown_members_are_counted(client: FlaskClient, members: dict[str, Any]) -> None:
    known = {"exact", "features", "label", "layers", "activation", "network", "optimizer", "loss", "class_weights"}
    unknown = {f"{key}!": value for key, value in members.items() if key not in known}
    refused(client, "/models", {**MODEL, **unknown}, len(unknown))
    refused(client, "/predict", {"model": "known", "inputs": [[1, 2]], **unknown}, len(unknown))
    refused(client, "/models", {**MODEL, "optimizer": {"type": "adam", **unknown}}, len(unknown))
    refused(client, "/train", {"model": "known", "data": DATA, **unknown}, len(unknown))
    refused(client, "/evaluate", {"model": "known", "data": DATA, **unknown}, len(unknown))


@given(LISTS)
def test_wrong_items_are_counted(client: FlaskClient, items: list[Any]) -> None:
    layers = [item for item in items if not isinstance(item, dict)][:256]
    if layers:
        refused(client, "/models", {**MODEL, "hidden": None, "layers": [*layers]}, None)
    units = [item for item in items if type(item) is not int or item < 1][:127]
    if units:
        refused(client, "/models", {**MODEL, "hidden": units}, len(units))
    weights = [item for item in items if type(item) not in (int, float) or item < 0]
    if weights:
        refused(client, "/models", {**MODEL, "class_weights": weights}, len(weights))
        by_name = {f"{place}": weight for place, weight in enumerate(weights)}
        refused(client, "/models", {**MODEL, "class_weights": by_name}, len(weights))
    rows = [item for item in items if type(item) is not dict]
    if rows:
        refused(client, "/datasets", {"name": "z", "rows": rows, "label": "a"}, len(rows))
        data = {"rows": rows, "label": "a"}
        refused(client, "/train", {"model": "known", "data": data}, len(rows))


@given(st.dictionaries(LONG, st.just("number"), min_size=1, max_size=60))
def test_columns_that_do_not_exist_are_counted(client: FlaskClient, features: dict[str, str]) -> None:
    rows = [{"column": 1, "label": "x"}, {"column": 2, "label": "y"}]
    wrong = features.keys() - {"column"}
    body = {"model": {"name": "q", "features": features}, "data": {"rows": rows, "label": "label"}}
    if wrong:
        refused(client, "/train", body, len(wrong))


@given(LONG, VALUES)
def test_what_was_received_is_shortened(client: FlaskClient, text: str, value: Any) -> None:
    for body in (
        {"name": f"{text}!", **DATA},
        {"name": "z", "rows": [{text: value}, {text: []}], "label": text},
        {"name": "z", "rows": [{"a": 1}], "label": f"{text}!", "types": {f"{text}?": "number"}},
        {"name": "z", "columns": [f"{text}!", f"{text}!"], "rows": [[1, 2]]},
    ):
        refused(client, "/datasets", body)
    for body in (
        {"model": f"{text}!", "inputs": [[1, 2]]},
        {"model": "known", "inputs": [[1, 2]], "version": f"{text}!"},
        {"model": "known", "inputs": [[1, text]]},
        {"model": "known", "inputs": [[1, 2]], "version": {"job": text, "checkpoint": text}},
        {"model": "known", "rows": [{text: value}]},
    ):
        refused(client, "/predict", body)
    refused(client, "/train", {"model": "known", "data": {**DATA, "labels": [f"{text}!", "b"]}})
    refused(client, "/train", {"model": "known", "data": f"{text}!"})
    refused(client, "/models", {**MODEL, "optimizer": text})
    refused(client, "/sweeps", {"train": {}, "over": {text: [1]}})


@pytest.mark.parametrize(
    "path",
    [
        *("/{}", "/models/{}", "/datasets/{}", "/jobs/{}", "/checkpoints/{}", "/models/known/versions/{}"),
        *("/models/known/aliases/{}", "/models?after={}", "/models?limit={}", "/models?{}=1", "/jobs?state={}"),
        *("/jobs/x/history?member={}", "/jobs/x?wait={}"),
    ],
)
@pytest.mark.parametrize("text", ["x" * 4000, "é" * 1000, "9" * 4000, "~\x01" * 500])
def test_paths_and_queries_are_shortened(client: FlaskClient, path: str, text: str) -> None:
    answer = client.get(path.format(quote(text)))
    assert 400 <= answer.status_code < 500
    echoes(bounded(answer.data), iter([text]))


@pytest.mark.parametrize("header", ["Idempotency-Key", "Content-Type", "Content-Encoding"])
def test_headers_are_shortened(client: FlaskClient, header: str) -> None:
    text = "x" * 4000
    answer = client.post("/train", data=b"{}", headers={header: text})
    assert 400 <= answer.status_code < 500
    echoes(bounded(answer.data), iter([text]))


@pytest.mark.parametrize(
    ("path", "body", "pointers"),
    [
        ("/models", {**MODEL, "hidden": [0] * MANY}, ["/hidden"]),
        ("/models", {**MODEL, "hidden": None, "layers": [0] * MANY}, ["/layers", "/hidden"]),
        ("/models", {**MODEL, "class_weights": ["x"] * MANY}, ["/class_weights"]),
        ("/models", {**MODEL, "class_weights": {str(place): "x" for place in range(MANY)}}, ["/class_weights"]),
        ("/models", {**MODEL, "classes": [[]] * MANY}, ["/classes"]),
        ("/models", {"name": "x", "classes": 2, "features": [0] * (MANY + 1)}, ["/features"]),
        (
            "/models",
            {"name": "x", "classes": 2, "features": dict.fromkeys(map(str, range(MANY + 1)), 0)},
            ["/features"],
        ),
        ("/train", {"model": "known", "data": DATA, "reinitialize": [0] * MANY}, ["/reinitialize"]),
        ("/datasets", {"name": "z", "rows": [dict.fromkeys(map(str, range(MANY)), 1)]}, ["/rows"]),
        ("/datasets", {"name": "z", "columns": ["a"] * MANY, "rows": [[1]]}, ["/columns"]),
        ("/datasets", {"name": "z", "inputs": [[0] * (MANY + 1)] * 2, "labels": [0, 1]}, ["/inputs"]),
        ("/datasets", {"name": "z", "rows": [{"a": 1}], "ignore": [0] * (MANY + 1)}, ["/ignore"]),
    ],
)
def test_lengths_are_checked_before_members(
    client: FlaskClient, path: str, body: dict[str, Any], pointers: list[str]
) -> None:
    """One problem for the list, and none for its members."""
    assert [each["pointer"] for each in refused(client, path, body)["errors"]] == pointers


def test_classes_have_short_names(client: FlaskClient) -> None:
    exact, longer = "é" * (NAME_BYTES // 2), "é" * (NAME_BYTES // 2) + "e"
    assert client.post("/models", json={**MODEL, "name": "short", "classes": [exact, "b"]}).status_code == 201
    body = {**MODEL, "classes": ["a", longer]}
    assert [each["pointer"] for each in refused(client, "/models", body)["errors"]] == ["/classes/1"]
    many = [f"{place:05}".ljust(NAME_BYTES, "x") for place in range(CLASSES_BYTES // NAME_BYTES + 1)]
    for classes, status in ((many[:-1], 201), (many, 422)):
        answer = client.post("/models", json={**MODEL, "name": "many", "classes": classes, "hidden": []})
        assert answer.status_code == status
    assert [each["pointer"] for each in answer.get_json()["errors"]] == ["/classes"]


def test_pages_of_large_entries_are_shorter(client: FlaskClient) -> None:
    """All entries come, each once, on pages that end after ``PAGE_BYTES``."""
    classes = [f"{place:05}".ljust(NAME_BYTES, "x") for place in range(CLASSES_BYTES // NAME_BYTES)]
    for number in range(4):
        body = {**MODEL, "name": f"large{number}", "classes": classes, "hidden": []}
        assert client.post("/models", json=body).status_code == 201
    names, after, more, longest = [], "", True, 0
    while more:
        answer = client.get(f"/models?limit=100{after}")
        document = answer.get_json()
        assert len(answer.data) < PAGE_BYTES + 2 * CLASSES_BYTES
        longest = max(longest, len(document["data"]))
        names += [each["name"] for each in document["data"]]
        after, more = f"&after={names[-1]}", document["has_more"]
    assert longest < len(names) == len(set(names))
    assert {f"large{number}" for number in range(4)} < set(names)


def test_names_in_data_are_short(client: FlaskClient) -> None:
    long = "x" * (NAME_BYTES + 1)
    labels = {"name": "z", "inputs": [[1], [2], [3]], "labels": [None, "a", long]}
    rows = [{"a": 1, "b": "u"}, {"a": 2, "b": long}]
    for path, body, pointer in (
        ("/datasets", labels, "/labels/2"),
        ("/train", {"model": {"name": "q"}, "data": {**labels, "name": None}}, "/data/labels/2"),
        ("/datasets", {"name": "z", "rows": [{"a": 1}, {"a": 2, long: 3}]}, f"/rows/1/{long[:99]}…"),
        ("/datasets", {"name": "z", "columns": ["a", long], "rows": [[1, 2]]}, "/columns/1"),
        ("/datasets", {"name": "z", "rows": rows, "types": {"b": "category"}}, "/rows/1/b"),
        ("/datasets", {"name": "z", "rows": rows, "label": "b"}, "/label"),
    ):
        if path == "/train":
            del body["data"]["name"]
        (fault,) = refused(client, path, body)["errors"]
        assert fault["pointer"] == pointer
        assert f"at most {NAME_BYTES} bytes. Received: {NAME_BYTES + 1}" in fault["detail"]


def test_automatic_typing_reads_long_words_as_text(client: FlaskClient) -> None:
    """A level of 200 characters may have more bytes than a level may have."""
    rows = [{"a": number, "b": word} for number, word in enumerate(["語" * 90, "u"] * 20)]
    answer = client.post("/datasets", json={"name": "words", "rows": rows})
    assert answer.status_code == 201
    assert {column["name"]: column["type"] for column in answer.get_json()["columns"]}["b"] == "text"


def test_stored_models_with_longer_classes_are_served(client: FlaskClient) -> None:
    long = "x" * 1000
    assert client.post("/models", json={**MODEL, "name": "old"}).status_code == 201
    database = client.application.extensions["trainyard"].database
    with database.write() as connection:
        text = find_model(connection, "old").definition.canonical().replace('"a"', json.dumps(long))
        connection.execute(sa.update(MODELS).where(MODELS.c.name == "old").values(definition=text))
    assert client.get("/models/old").get_json()["classes"] == [long, "b"]
    answer = client.post("/train", json={"model": "old", "dry_run": True, "data": {**DATA, "labels": ["b", "b"]}})
    assert "256" not in answer.get_data(as_text=True)


@pytest.mark.parametrize("text", ["1_0", "+5", "-5", " 5", "5 ", "٣", "５", "²", "0x5", "5.0", "1e1", ""])
def test_whole_numbers_in_queries_are_ascii_digits(client: FlaskClient, text: str) -> None:
    for path in ("/models?limit=", "/jobs/x/history?member=", "/jobs/x/events?after="):
        answer = client.get(path + quote(text))
        assert answer.status_code == 422, path
        assert quote(text) == "" or repr(text) in answer.get_json()["detail"]


@pytest.mark.parametrize(
    ("text", "status"), [("1.5", 404), ("0", 404), ("1e-1", 404), ("1_0", 422), ("+5", 422), ("٣", 422), ("nan", 422)]
)
def test_seconds_to_wait_are_ascii_digits(client: FlaskClient, text: str, status: int) -> None:
    assert client.get(f"/jobs/x?wait={quote(text)}").status_code == status


@pytest.mark.parametrize(
    "fields", [{f"x{place}": "1" for place in range(1000)}, {"label": "x" * 600_000}], ids=["many", "long"]
)
def test_a_large_form_has_its_own_reason(client: FlaskClient, fields: dict[str, str]) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    parts = [part % (b"file", b'; filename="t.csv"', b"a,b\n1,2\n")]
    parts += [part % (name.encode(), b"", value.encode()) for name, value in fields.items()]
    body = b"".join(parts) + b"--x--\r\n"
    answer = client.post("/datasets", data=body, content_type="multipart/form-data; boundary=x")
    assert answer.status_code == 413
    assert answer.get_json()["code"] == "form_too_large"
    assert "1,000 fields" in answer.get_json()["detail"]
    assert "500,000 bytes" in answer.get_json()["detail"]
