"""Datasets over HTTP, from CSV, forms and JSON."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from models.formats.durable import sha256_of
from models.formats.stored_table import open_table
from testing.harness import Client, Server, eventually
from testing.samples import CLASSES, CSV, DATA, LABELS, ROWS, a_model, a_training, fresh


def upload(client: Client, name: str, content: bytes = CSV.encode(), label: str = "colour", **options: Any) -> Any:
    headers = {"Content-Type": options.get("kind", "text/csv")}
    return client.post(f"/datasets?name={name}&label={label}", content, headers=headers)


def assert_stored(server: Server, document: dict[str, Any], **expected: Any) -> None:
    """The response has every member, and they match the file."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document["created_at"])
    path = server.data / "datasets" / f"{document['id']}.h5"
    assert document["columns"]
    assert document["warnings"] == []
    more = {"columns", "warnings", "label", "format"}
    assert {name: value for name, value in document.items() if name not in more} == {
        "id": document["id"],
        "rows": 12,
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
        "created_at": document["created_at"],
        **expected,
    }
    assert document["id"].startswith("ds_")
    with open_table(path) as table:
        columns = [table.read(column.name) for column in table.columns]
    assert [list(row) for row in zip(*(column.values.tolist() for column in columns[:2]), strict=True)] == ROWS
    assert [columns[2].levels[code] for code in columns[2].values] == LABELS


@pytest.mark.parametrize(
    "kind",
    [
        "text/csv",
        "text/csv; charset=utf-8",
        "application/octet-stream",
        "text/plain",
        "application/x-www-form-urlencoded",  # what curl --data-binary says
    ],
)
def test_a_csv_file(client: Client, server: Server, kind: str) -> None:
    name = fresh("csv")
    answer = upload(client, name, kind=kind)
    assert answer.status == 201
    assert answer.headers["location"] == f"/datasets/{answer.json['id']}"
    assert_stored(server, answer.json, name=name, features=["x", "y"], classes=sorted(CLASSES))


def test_a_form(client: Client, server: Server) -> None:
    name = fresh("form")
    parts = {
        'name="name"': name.encode(),
        'name="label"': b"colour",
        'name="file"; filename="colours.csv"': CSV.encode(),
    }
    body = b"".join(
        b"--frontier\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + content + b"\r\n"
        for head, content in parts.items()
    )
    headers = {"Content-Type": "multipart/form-data; boundary=frontier"}
    answer = client.post("/datasets", body + b"--frontier--\r\n", headers=headers)
    assert answer.status == 201, answer
    assert_stored(server, answer.json, name=name, features=["x", "y"], classes=sorted(CLASSES))


def test_a_form_with_its_name_in_the_query(client: Client, server: Server) -> None:
    name = fresh("form")
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\nContent-Type: text/csv\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    path = f"/datasets?name={name}&label=colour"
    answer = client.post(path, head + CSV.encode() + b"\r\n--b--\r\n", headers=headers)
    assert answer.status == 201, answer
    assert answer.json["name"] == name


def test_a_name_that_query_and_body_say_alike(client: Client) -> None:
    name = fresh("alike")
    assert client.post(f"/datasets?name={name}", {"name": name, **DATA}).status == 201


@pytest.mark.parametrize("labels", [LABELS, [CLASSES.index(label) for label in LABELS]], ids=["strings", "integers"])
def test_json_rows(client: Client, server: Server, labels: list[Any]) -> None:
    name = fresh("json")
    answer = client.post("/datasets", {"name": name, "inputs": ROWS, "labels": labels})
    assert answer.status == 201
    assert answer.json["classes"] == sorted(set(labels))
    assert answer.json["features"] == ["feature_0", "feature_1"]
    assert answer.headers["location"] == f"/datasets/{answer.json['id']}"


def test_one_hot_rows(client: Client) -> None:
    labels = [[int(place == number % 3) for place in range(3)] for number in range(12)]
    answer = client.post("/datasets", {"name": fresh("json"), "inputs": ROWS, "labels": labels})
    assert (answer.status, answer.json["classes"]) == (201, [0, 1, 2])


def test_two_at_once_make_one(client: Client, server: Server) -> None:
    name, before = fresh("same"), set(server.files("datasets"))
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: upload(client, name), range(6)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 5
    (made,) = (answer.json for answer in answers if answer.status == 201)
    assert {answer.json["code"] for answer in answers if answer.status == 409} == {"name_taken"}
    assert {file for file in server.files("datasets") if file not in before} == {f"{made['id']}.h5"}


def test_a_name_is_not_the_id_of_another(client: Client) -> None:
    """A key in a path means one dataset, whether it is read as an id or as a name."""
    first = upload(client, fresh("first")).json
    assert upload(client, first["id"]).status in (409, 422)
    assert client.get(f"/datasets/{first['id']}").json == first


def test_one_dataset_by_id_or_name(client: Client) -> None:
    made = upload(client, fresh("one")).json
    assert client.get(f"/datasets/{made['id']}").json == made
    assert client.get(f"/datasets/{made['name']}").json == made


def test_the_list_is_newest_first(client: Client) -> None:
    made = [upload(client, fresh("listed")).json for _ in range(3)]
    everything = client.pages("/datasets", 100)
    assert [row for row in everything if row in made] == made[::-1]
    assert client.pages("/datasets", 1) == everything
    page = client.get(f"/datasets?limit=1&after={made[2]['id']}").json
    assert (page["data"], page["has_more"]) == ([made[1]], True)


def test_rows_within_a_training_are_no_dataset_of_their_own(client: Client, server: Server) -> None:
    before = client.pages("/datasets", 100)
    model = client.define(a_model(fresh("model")))["name"]
    client.run(a_training(model, epochs=1))
    assert client.pages("/datasets", 100) == before
    # They have no name, so they are deleted when the job has ended.
    named = {f"{row['id']}.h5" for row in before}
    eventually(lambda: set(server.files("datasets")) == named, what="the end of the rows of ended jobs")


def test_deleting(client: Client, server: Server) -> None:
    for key in ("id", "name"):
        made = upload(client, fresh("gone")).json
        answer = client.delete(f"/datasets/{made[key]}")
        assert (answer.status, answer.body) == (204, b"")
        assert client.get(f"/datasets/{made['id']}").status == client.get(f"/datasets/{made['name']}").status == 404
        assert f"{made['id']}.h5" not in server.files("datasets")
        assert upload(client, made["name"]).status == 201


def test_an_active_job_is_in_the_way(client: Client) -> None:
    rows, held_out = upload(client, fresh("rows")).json, upload(client, fresh("held-out")).json
    model = client.define(a_model(fresh("model")))["name"]
    request = a_training(
        model, data={"dataset": rows["name"]}, validation={"dataset": held_out["id"]}, epochs=1_000_000
    )
    job = client.train(request)["id"]
    for made in (rows, held_out):
        answer = client.delete(f"/datasets/{made['name']}")
        assert (answer.status, answer.json["code"]) == (409, "dataset_in_use")
        assert job in answer.json["detail"]
    assert client.post(f"/jobs/{job}/cancel").status == 202
    client.wait(job)
    for made in (rows, held_out):
        assert client.delete(f"/datasets/{made['name']}").status == 204


def test_training_by_id_or_name(client: Client) -> None:
    made = upload(client, fresh("rows")).json
    from_json = client.post("/datasets", {"name": fresh("rows"), **DATA}).json
    model = client.define(a_model(fresh("model")))["name"]
    histories = []
    for data in ({"dataset": made["name"]}, {"dataset": made["id"]}, {"dataset": from_json["name"]}, DATA):
        job = client.run(a_training(model, data=data))
        told = {**({"dataset": data["dataset"]} if "dataset" in data else {}), "rows": 12}
        assert job["request"]["data"] == told
        histories.append([epoch["loss"] for epoch in client.history(job["id"])])
    # The points of the CSV file print in full, so all four are the same rows.
    assert histories == [histories[0]] * 4
