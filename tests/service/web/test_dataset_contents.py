"""Rows with names over HTTP: upload, profile, pages of rows, and files in every format."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import h5py
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mutual_info_score

from models.formats.table_file import FileTable
from testing.harness import ROOT, Client, Server
from testing.samples import DATA, LABELS, ROWS, fresh

PEOPLE: list[dict[str, Any]] = [
    {
        "age": None if i % 7 == 3 else 20 + i / 4,
        "children": i % 4,
        "sex": ["male", "female", "NA"][i % 3],
        "member": [True, False, None][i % 3],
        "since": f"2024-05-{i % 28 + 1:02}" if i % 5 else None,
        "a:b, c": f'say "{i % 2}"\nü',
        "ticket": f"T{i * i}",
        "survived": ["no", "yes"][i % 2],
    }
    for i in range(60)
]
CSV, PARQUET, HDF5 = "text/csv", "application/vnd.apache.parquet", "application/x-hdf5"


@pytest.fixture(scope="module")
def people(server: Server) -> dict[str, Any]:
    answer = server.client.post("/datasets", {"name": fresh("people"), "label": "survived", "rows": PEOPLE})
    assert answer.status == 201, answer.json
    document: dict[str, Any] = answer.json
    return document


def file(client: Client, key: str, accept: str | None = None) -> bytes:
    answer = client.get(f"/datasets/{key}/file", **({} if accept is None else {"headers": {"Accept": accept}}))
    assert answer.status == 200, answer
    assert answer.headers["content-type"].partition(";")[0] == (CSV if accept in (None, "*/*") else accept)
    body: bytes = answer.body
    return body


def frame_of(content: bytes, folder: Path) -> pd.DataFrame:
    """A Parquet file as DuckDB reads it."""
    (folder / "x.parquet").write_bytes(content)
    return duckdb.connect().sql(f"SELECT * FROM '{folder}/x.parquet'").df()


def test_the_answer_describes_the_columns(people: dict[str, Any]) -> None:
    assert (people["rows"], people["label"], people["classes"]) == (60, "survived", ["no", "yes"])
    assert people["format"] == {"type": "json"}
    columns = {column["name"]: column for column in people["columns"]}
    assert {name: column["type"] for name, column in columns.items()} == {
        "age": "number",
        "children": "number",
        "sex": "category",
        "member": "boolean",
        "since": "datetime",
        "a:b, c": "category",
        "ticket": "text",
        "survived": "boolean",
    }
    frame = pd.DataFrame(PEOPLE).replace("NA", None)
    assert {name: column["missing"] for name, column in columns.items()} == frame.isna().sum().to_dict()
    assert (columns["age"]["min"], columns["age"]["max"]) == (frame["age"].min(), frame["age"].max())
    assert columns["sex"]["levels"] == ["female", "male"]
    assert columns["since"]["min"] == "2024-05-01"
    assert columns["ticket"]["use"] is False
    assert people["features"] == ["age", "children", "sex", "member", "since", "a:b, c"]
    assert [(each["code"], each["column"]) for each in people["warnings"]] == [("column_set_aside", "ticket")]


def test_the_profile(client: Client, people: dict[str, Any]) -> None:
    found = client.get(f"/datasets/{people['name']}/profile").json
    assert (found["id"], found["rows"], found["label"]) == (people["id"], 60, "survived")
    profiles = {column["name"]: column for column in found["columns"]}
    ages = pd.DataFrame(PEOPLE)["age"]
    assert profiles["age"]["mean"] == pytest.approx(ages.mean())
    assert profiles["age"]["std"] == pytest.approx(ages.std(ddof=0))
    assert profiles["age"]["quantiles"] == pytest.approx(ages.quantile([0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]).tolist())
    assert sum(profiles["age"]["histogram"]["counts"]) == ages.count()
    assert {each["value"]: each["count"] for each in profiles["sex"]["levels"]} == {"male": 20, "female": 20}
    assert profiles["survived"]["relation"] == 1


@pytest.mark.parametrize("label", ["survived", "sex", "age", "since"])
def test_a_profile_relates_columns_with_any_label(client: Client, people: dict[str, Any], label: str) -> None:
    """As if the dataset had been uploaded with that label."""
    unlabelled = client.post("/datasets", {"name": fresh("people"), "rows": PEOPLE}).json
    found = client.get(f"/datasets/{unlabelled['name']}/profile?label={label}").json
    assert found["label"] == label
    relations = {column["name"]: column["relation"] for column in found["columns"]}
    assert relations[label] == 1
    assert relations["ticket"] is None
    if label == "survived":
        named = client.get(f"/datasets/{people['name']}/profile").json["columns"]
        assert relations == {column["name"]: column["relation"] for column in named}
        assert client.get(f"/datasets/{people['name']}/profile?label=survived").json["columns"] == named
    before = client.get(f"/datasets/{unlabelled['name']}/profile").json
    assert before["label"] is None
    assert all(column["relation"] is None for column in before["columns"])
    one_way = client.get(f"/datasets/{unlabelled['name']}/profile?label=ticket").json["columns"]
    assert all(column["relation"] is None for column in one_way)


def test_a_relation_is_mutual_information_less_chance(client: Client) -> None:
    """Against scikit-learn, for words and for few whole numbers; less what Miller (1955) expects of chance."""
    chance = np.random.default_rng(3)
    kind = chance.integers(0, 3, 500)
    seen = np.where(chance.random(500) < 0.7, kind, chance.integers(0, 3, 500))
    rows = [{"kind": "abc"[one], "seen": int(other)} for one, other in zip(kind, seen, strict=True)]
    name = client.post("/datasets", {"name": fresh("related"), "rows": rows}).json["name"]
    found = client.get(f"/datasets/{name}/profile?label=kind").json["columns"]
    entropy = -sum(share * np.log(share) for share in np.bincount(kind) / 500)
    expected = (mutual_info_score(kind, seen) - 2 * 2 / (2 * 500)) / entropy
    assert found[1]["relation"] == pytest.approx(expected)


def test_a_matrix_is_related_with_any_column(client: Client) -> None:
    made = client.post("/datasets", {"name": fresh("matrix"), **DATA}).json
    found = client.get(f"/datasets/{made['id']}/profile?label=feature_0").json
    assert found["columns"][0]["relation"] == 1


def test_a_label_that_is_no_column_is_refused(client: Client, people: dict[str, Any]) -> None:
    answer = client.get(f"/datasets/{people['name']}/profile?label=survivd")
    assert answer.status == 422
    assert answer.json["errors"] == [
        {"pointer": "/label", "detail": "must name a column (did you mean 'survived'?). Received: 'survivd'"}
    ]


def test_a_profile_lists_no_more_than_asked(client: Client, people: dict[str, Any]) -> None:
    whole = client.get(f"/datasets/{people['name']}/profile").json["columns"]
    for listed in (0, 2, 5):
        short = client.get(f"/datasets/{people['name']}/profile?listed={listed}").json["columns"]
        for column, found in zip(whole, short, strict=True):
            assert found.get("levels") == (column["levels"][:listed] if "levels" in column else None)
            fits = "values" in column and len(column["values"]) <= listed
            assert found.get("values") == (column["values"] if fits else None)
            others = column.keys() - {"levels", "values"}
            assert {name: found[name] for name in others} == {name: column[name] for name in others}


def test_a_matrix_has_columns_and_a_profile_too(client: Client) -> None:
    made = client.post("/datasets", {"name": fresh("matrix"), **DATA}).json
    assert [(column["name"], column["type"]) for column in made["columns"]] == [
        ("feature_0", "number"),
        ("feature_1", "number"),
        ("label", "category"),
    ]
    found = client.get(f"/datasets/{made['id']}/profile").json["columns"]
    assert found[0]["mean"] == pytest.approx(np.mean(ROWS, axis=0)[0])
    page = client.get(f"/datasets/{made['id']}/rows?limit=1&after=2").json
    assert page["data"] == [
        {"row": 3, "values": {"feature_0": ROWS[2][0], "feature_1": ROWS[2][1], "label": LABELS[2]}}
    ]


def test_pages_of_rows(client: Client, people: dict[str, Any]) -> None:
    found: list[dict[str, Any]] = []
    after, more = 0, True
    while more:
        page = client.get(f"/datasets/{people['name']}/rows?limit=7&after={after}").json
        found += page["data"]
        after, more = page["after"], page["has_more"]
    assert [row["row"] for row in found] == list(range(1, 61))
    assert [row["values"] for row in found] == [
        {name: None if value == "NA" else value for name, value in row.items()} for row in PEOPLE
    ]
    assert len(client.get(f"/datasets/{people['name']}/rows").json["data"]) == 20
    assert client.get(f"/datasets/{people['name']}/rows?after=99").json["data"] == []


#: Conditions, and which people meet them.
WHERE: dict[str, Any] = {
    "sex:male": lambda row: row["sex"] == "male",
    "sex: male": lambda row: row["sex"] == "male",
    "sex:none of these": lambda row: False,
    "sex:NA": lambda row: row["sex"] == "NA",
    "children:2": lambda row: row["children"] == 2,
    "children:2.0": lambda row: row["children"] == 2,
    "age:": lambda row: row["age"] is None,
    "survived:YES": lambda row: row["survived"] == "yes",
    "survived:true": lambda row: row["survived"] == "yes",
    "member:True": lambda row: row["member"] is True,
    "since:2024-05-03": lambda row: row["since"] == "2024-05-03",
    "ticket:T49": lambda row: row["ticket"] == "T49",
    'a:b, c:say "0"\nü': lambda row: row["a:b, c"][5] == "0",
}


@pytest.mark.parametrize("condition", WHERE)
def test_rows_with_a_value(client: Client, people: dict[str, Any], condition: str) -> None:
    page = client.get(f"/datasets/{people['id']}/rows?limit=100&where={quote(condition)}").json
    assert [row["row"] for row in page["data"]] == [i for i, row in enumerate(PEOPLE, 1) if WHERE[condition](row)]
    assert page["has_more"] is False


def test_conditions_are_met_together_and_over_pages(client: Client, people: dict[str, Any]) -> None:
    path = f"/datasets/{people['id']}/rows?where=sex:male&where=survived:no&limit=4"
    first = client.get(path).json
    second = client.get(f"{path}&after={first['after']}").json
    expected = [i for i, row in enumerate(PEOPLE, 1) if row["sex"] == "male" and row["survived"] == "no"]
    assert [row["row"] for row in first["data"] + second["data"]] == expected[:8]
    assert first["has_more"] is True


@pytest.mark.parametrize(
    ("query", "pointer", "said"),
    [
        ("where=sec:male", "/where", "'sex'"),
        ("where=male", "/where", "column:value"),
        ("where=age:old", "/where", "number"),
        ("where=since:soon", "/where", "2024-05-17"),
        ("where=member:maybe", "/where", "true or false"),
        ("after=x", "/after", ""),
        ("limit=101", "/limit", "100"),
        ("limit=1&limit=1", "/limit", "once"),
    ],
)
def test_bad_queries(client: Client, people: dict[str, Any], query: str, pointer: str, said: str) -> None:
    answer = client.get(f"/datasets/{people['id']}/rows?{query}")
    assert answer.status == 422
    assert [fault["pointer"] for fault in answer.json["errors"]] == [pointer]
    assert said in answer.json["detail"]


def test_the_file_as_csv(client: Client, people: dict[str, Any]) -> None:
    content = file(client, people["name"])
    assert content == file(client, people["id"], "*/*") == file(client, people["id"], CSV)
    frame = pd.read_csv(io.BytesIO(content), keep_default_na=False, na_values={"age": "", "since": "", "sex": ""})
    expected = pd.DataFrame(PEOPLE).replace("NA", None)
    pd.testing.assert_frame_equal(
        frame[["age", "children", "sex", "since", "a:b, c", "ticket", "survived"]],
        expected[["age", "children", "sex", "since", "a:b, c", "ticket", "survived"]],
        check_dtype=False,
    )


def test_the_file_as_parquet(client: Client, people: dict[str, Any], tmp_path: Path) -> None:
    frame = frame_of(file(client, people["name"], PARQUET), tmp_path)
    expected = pd.DataFrame(PEOPLE).replace("NA", None)
    assert list(frame.columns) == list(expected.columns)
    for name in ("age", "children", "sex", "member", "a:b, c", "ticket", "survived"):
        found = [None if pd.isna(value) else value for value in frame[name]]
        assert found == [None if pd.isna(value) else value for value in expected[name]]
    assert [None if pd.isna(value) else str(value)[:10] for value in frame["since"]] == [
        None if pd.isna(value) else value for value in expected["since"]
    ]


def test_the_file_as_stored(client: Client, people: dict[str, Any], server: Server, tmp_path: Path) -> None:
    content = file(client, people["name"], HDF5)
    assert content == (server.data / "datasets" / f"{people['id']}.h5").read_bytes()
    path = tmp_path / "x.h5"
    path.write_bytes(content)
    with FileTable(path) as table, h5py.File(path) as plain:
        assert table.rows == plain.attrs["rows"] == 60
        assert table.label == "survived"


def test_the_file_as_nothing_that_there_is(client: Client, people: dict[str, Any]) -> None:
    answer = client.get(f"/datasets/{people['id']}/file", headers={"Accept": "image/png"})
    assert (answer.status, answer.json["code"]) == (406, "not_acceptable")
    assert PARQUET in answer.json["detail"]
    preferred = client.get(f"/datasets/{people['id']}/file", headers={"Accept": f"image/png, {CSV};q=0.1, {PARQUET}"})
    assert preferred.headers["content-type"] == PARQUET


@pytest.mark.parametrize("kind", [CSV, PARQUET])
def test_a_file_that_comes_back_is_the_same_table(client: Client, people: dict[str, Any], kind: str) -> None:
    content, name = file(client, people["id"], kind), fresh("again")
    again = client.post(f"/datasets?name={name}&label=survived", content, headers={"Content-Type": kind})
    assert again.status == 201, again.json
    for member in ("rows", "label", "classes", "features", "columns", "warnings"):
        assert again.json[member] == people[member]
    rows = [client.get(f"/datasets/{key}/rows?limit=100").json for key in (name, people["id"])]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("path", ["profile", "rows", "file"])
def test_no_such_dataset(client: Client, path: str) -> None:
    assert client.get(f"/datasets/none/{path}").status == 404


def test_rows_in_other_forms_are_the_same_rows(client: Client, people: dict[str, Any]) -> None:
    names = list(PEOPLE[0])
    body = {
        "name": fresh("lists"),
        "label": "survived",
        "columns": names,
        "rows": [list(row.values()) for row in PEOPLE],
    }
    made = client.post("/datasets", body).json
    assert made["columns"] == people["columns"]
    assert client.get(f"/datasets/{made['id']}/rows").json == client.get(f"/datasets/{people['id']}/rows").json


def test_a_matrix_with_names(client: Client) -> None:
    body = {"name": fresh("named"), "inputs": ROWS, "features": ["x", "y"], "labels": LABELS, "weights": [2] * 12}
    made = client.post("/datasets", body).json
    assert made["features"] == ["x", "y"]
    assert [column["name"] for column in made["columns"]] == ["x", "y", "label", "weight"]
    assert made["classes"] == sorted(set(LABELS))


def test_the_label_may_be_named_later(client: Client) -> None:
    made = client.post("/datasets", {"name": fresh("open"), "rows": PEOPLE}).json
    assert (made["label"], made["classes"], made["rows"]) == (None, [], 60)
    assert "survived" in made["features"]


def test_rows_without_a_label_are_left_out_and_counted(client: Client) -> None:
    rows = [*PEOPLE, {"age": 3}, {"age": 4, "survived": "?"}]
    made = client.post("/datasets", {"name": fresh("unlabelled"), "label": "survived", "rows": rows}).json
    assert made["rows"] == 60
    (warning,) = [each for each in made["warnings"] if each["code"] == "rows_without_label"]
    assert warning["detail"].startswith("2 rows")
    matrix = client.post(
        "/datasets", {"name": fresh("unlabelled"), "inputs": ROWS, "labels": [*LABELS[:11], None]}
    ).json
    assert (matrix["rows"], matrix["warnings"][0]["code"]) == (11, "rows_without_label")


def test_options(client: Client) -> None:
    rows = [{"zip": i % 60, "w": 1, "a": ["keine", 1.5, 2, 3][i % 4], "b": i % 3, "y": i % 60} for i in range(120)]
    body = {
        "name": fresh("options"),
        "rows": rows,
        "types": {"zip": "category", "y": "category"},
        "missing": ["keine"],
        "ignore": "b",
    }
    made = client.post(f"/datasets?label=y&weight=w&name={body['name']}", body).json
    columns = {column["name"]: column for column in made["columns"]}
    assert columns["zip"]["type"] == "category"
    assert columns["a"]["missing"] == 30
    assert columns["b"]["use"] is False
    assert made["features"] == ["zip", "a"]
    assert made["classes"][:2] == ["0", "1"]
    assert len(made["classes"]) == 60


@pytest.mark.parametrize(("case", "classes"), [("labels-boolean.json", [False, True]), ("labels-float.json", [1, 2])])
def test_labels_of_other_types(client: Client, case: str, classes: list[Any]) -> None:
    """Booleans and whole floats are labels; later requests may spell them in any way."""
    body = json.loads((ROOT / "tests" / "data" / "cases" / case).read_text())
    name = fresh("labels")
    made = client.post("/datasets", {**body, "name": name}).json
    assert [(type(label), label) for label in made["classes"]] == [(type(label), label) for label in classes]
    request = {"model": {"name": name, "hidden": []}, "data": {"dataset": name}, "epochs": 2, "batch_size": 4}
    spelled = [str(label) if isinstance(label, bool) else float(label) for label in body["labels"]]
    job = client.run({**request, "validation": {"inputs": body["inputs"], "labels": spelled}})
    assert job["state"] == "succeeded"
    predicted = client.post("/predict", {"model": name, "inputs": body["inputs"]}).json
    assert [(type(label), label) for label in predicted["classes"]] == [(type(label), label) for label in classes]
    assert set(map(type, predicted["predictions"])) == {type(classes[0])}
    checkpoint = client.get(f"/checkpoints/{job['checkpoint']}/file").body
    imported = client.post(f"/models/{name}/checkpoints", checkpoint, headers={"Content-Type": HDF5})
    assert (imported.status, imported.json["version"]) == (201, 2)
    data = {"inputs": body["inputs"], "labels": [str(label) for label in body["labels"]]}
    evaluated = client.post("/evaluate", {"model": name, "data": data}).json
    assert evaluated["classes"] == classes
    assert [each["support"] for each in evaluated["per_class"]] == [2, 2]


def test_a_stream_that_nobody_reads_gives_its_slot_back(client: Client, people: dict[str, Any]) -> None:
    deadline = time.monotonic() + 20
    for _ in range(40):
        answer = client.get(f"/datasets/{people['id']}/file", headers={"Accept": PARQUET})
        assert answer.status == 200
        assert time.monotonic() < deadline
