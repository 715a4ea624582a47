"""Files of rows to predict, written and read by pandas, beside what POST /predict says of the same rows."""

from __future__ import annotations

import gzip
import io
import json
import socket
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testing.harness import Answer, Client, Server, eventually
from testing.samples import LABELS, ROWS, fresh
from tests.service.conftest import Trained
from tests.service.web.test_evaluated_parts import passengers

pandas = pytest.importorskip("pandas")
pytestmark = pytest.mark.processes

CSV, NDJSON, PARQUET = "text/csv", "application/x-ndjson", "application/vnd.apache.parquet"


@pytest.fixture(scope="module")
def model(server: Server) -> str:
    """A model of columns of several kinds, one of which is set aside."""
    name = fresh("files")
    rows = [
        {**row, "when": f"2024-0{1 + place % 9}-11", "note": f"no. {place} of them {place * 7}"}
        for place, row in enumerate(passengers(300, 5))
    ]
    server.client.run(
        {"model": {"name": name, "hidden": [8]}, "data": {"rows": rows, "label": "survived"}, "epochs": 9}
    )
    return name


@pytest.fixture(scope="module")
def frame() -> Any:
    """Rows with more columns than the model reads, in another order."""
    rows = passengers(500, 6)
    for place, row in enumerate(rows):
        del row["survived"]
        row |= {"id": f"{place:05}", "when": f"2024-0{1 + place % 9}-13"}
    table = pandas.DataFrame(rows)
    return table[["id", "when", *[name for name in reversed(rows[0]) if name not in ("id", "when")]]]


def sent(
    client: Client, model: str, body: bytes, accept: str | None = None, kind: str = CSV, query: str = ""
) -> Answer:
    headers = {"Content-Type": kind, **({} if accept is None else {"Accept": accept})}
    return client.post(f"/predict?model={model}{query}", body, headers=headers)


def read(answer: Answer) -> Any:
    """The answer as pandas reads it."""
    assert answer.status == 200, answer
    content, kind = io.BytesIO(answer.body), answer.headers["content-type"].partition(";")[0]
    if kind == PARQUET:
        return _parquet(answer.body)
    if kind == NDJSON:
        return pandas.DataFrame([json.loads(line) for line in answer.body.splitlines()])
    return pandas.read_csv(content, dtype={"id": str})


def _parquet(content: bytes) -> Any:
    duckdb = pytest.importorskip("duckdb")
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file, duckdb.connect() as connection:
        file.write(content)
        file.flush()
        found = connection.execute(f"SELECT * FROM '{file.name}'")
        return pandas.DataFrame(found.fetchall(), columns=[column[0] for column in found.description])


def by_rows(client: Client, model: str, frame: Any) -> dict[str, Any]:
    names = ["sex", "age", "deck", "alone", "when"]
    cells = frame[names].astype(object).where(frame[names].notna(), None)
    answer = client.post("/predict", {"model": model, "columns": names, "rows": cells.to_numpy().tolist()})
    assert answer.status == 200, answer
    return dict(answer.json)


def bodies(frame: Any) -> dict[str, bytes]:
    text = frame.to_csv(index=False)
    lines = frame.to_json(orient="records", lines=True)
    return {
        "csv": text.encode(),
        "semicolons": frame.to_csv(index=False, sep=";", decimal=",").encode(),
        "tabs": frame.to_csv(index=False, sep="\t").encode(),
        "utf-16": text.encode("utf-16"),
        "gzip": gzip.compress(text.encode()),
        "ndjson": lines.encode(),
        "json": frame.to_json(orient="records").encode(),
    }


@pytest.mark.parametrize("form", ["csv", "semicolons", "tabs", "utf-16", "gzip", "ndjson", "json"])
@pytest.mark.parametrize("accept", [None, CSV, NDJSON, PARQUET])
def test_every_kind_of_file(client: Client, model: str, frame: Any, form: str, accept: str | None) -> None:
    """The columns that came, in their order, and the predictions of the same rows by name."""
    kind = {"ndjson": NDJSON, "json": "application/json"}.get(form, CSV)
    answer = sent(client, model, bodies(frame)[form], accept, kind, "&probabilities=true")
    found = read(answer)
    assert answer.headers["content-type"].startswith(accept or CSV)
    assert answer.headers["x-model-version"] == "1"
    added = ["prediction", "probability", "probability_no", "probability_yes"]
    assert list(found.columns) == [*frame.columns, *added]
    expected = by_rows(client, model, frame)
    assert found["prediction"].tolist() == expected["predictions"]
    probabilities = np.array(expected["probabilities"])
    np.testing.assert_allclose(found["probability"], probabilities.max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found[["probability_no", "probability_yes"]], probabilities, rtol=1e-5)
    for name in ("id", "sex", "deck"):
        same = found[name].where(found[name].notna(), None).tolist()
        assert same == frame[name].where(frame[name].notna(), None).tolist()
    np.testing.assert_allclose(found["age"].astype(float), frame["age"])
    assert found["alone"].astype(str).str.lower().tolist() == frame["alone"].astype(str).str.lower().tolist()
    assert [str(when)[:10] for when in found["when"]] == frame["when"].tolist()


def test_parquet(client: Client, model: str, frame: Any, tmp_path: Path) -> None:
    duckdb, path = pytest.importorskip("duckdb"), tmp_path / "rows.parquet"
    cells = frame[["id", "sex", "age", "deck", "alone", "when"]]
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (id VARCHAR, sex VARCHAR, age DOUBLE, deck VARCHAR, alone BOOLEAN, w DATE)")
        rows = cells.astype(object).where(cells.notna(), None).to_numpy().tolist()
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.execute(f"COPY (SELECT * RENAME (w AS \"when\") FROM t) TO '{path}' (FORMAT parquet)")
    found = read(sent(client, model, path.read_bytes(), CSV, PARQUET))
    assert found["prediction"].tolist() == by_rows(client, model, frame)["predictions"]


def test_whole_numbers_stay_whole_and_new_names_make_way(client: Client, model: str) -> None:
    text = "prediction,age,probability,sex,deck,alone,when\n7,22,x,male,a,yes,2024-01-02\n8,,y,female,b,no,2024-01-03\n"
    answer = sent(client, model, text.encode())
    lines = [line.split(",") for line in answer.body.decode().split("\r\n")]
    assert lines[0] == [
        "prediction",
        "age",
        "probability",
        "sex",
        "deck",
        "alone",
        "when",
        "prediction_",
        "probability_",
    ]
    assert [line[:3] for line in lines[1:3]] == [["7", "22", "x"], ["8", "", "y"]]
    assert [line[5] for line in lines[1:3]] == ["yes", "no"]


def test_a_checkpoint_and_a_version(client: Client, model: str, frame: Any) -> None:
    checkpoint = client.get(f"/models/{model}/versions/1").json["checkpoint"]
    body = bodies(frame)["csv"]
    plain = sent(client, model, body)
    for version, shown in (("1", "1"), ("latest", "1"), (checkpoint, checkpoint)):
        answer = sent(client, model, body, query=f"&version={version}")
        assert (answer.body, answer.headers["x-model-version"]) == (plain.body, shown)


def test_a_model_without_names_takes_columns_in_their_order(client: Client, trained: Trained) -> None:
    text = "x,y\n" + "".join(f"{x},{y}\n" for x, y in ROWS)
    found = read(sent(client, trained.name, text.encode()))
    expected = client.post("/predict", {"model": trained.name, "inputs": ROWS}).json
    assert found["prediction"].tolist() == expected["predictions"]
    assert len(found) == len(LABELS)


def test_a_file_of_one_column(client: Client) -> None:
    name = fresh("single")
    rows = [{"x": place % 7, "y": "big" if place % 7 > 3 else "small"} for place in range(70)]
    client.run({"model": {"name": name, "hidden": [4]}, "data": {"rows": rows, "label": "y"}, "epochs": 2})
    found = read(sent(client, name, b"x\n1\n6\n3\n"))
    assert found.shape == (3, 3)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("sex,age,deck,when\nmale,3,a,2024-01-01\n", [("alone", None)]),
        ("sexx,age,deck,alone\nmale,3,a,yes\n", [("sex", None), ("when", None)]),
        ("sex,age,deck,alone,when\nmale,old,a,yes,2024-01-01\nmale,3,a,yes,soon\n", [("age", 1), ("when", 2)]),
        ("", [(None, None)]),
    ],
)
def test_faults_are_found_before_the_answer_begins(client: Client, model: str, text: str, places: Any) -> None:
    answer = sent(client, model, text.encode())
    assert answer.status == 422, answer
    assert [(error.get("column"), error.get("row")) for error in answer.json["errors"]] == places


def test_numbers_that_overflow_have_a_row(client: Client, trained: Trained) -> None:
    answer = sent(client, trained.name, b"x,y\n1,2\n1e39,3\n")
    assert answer.status == 422, answer
    assert answer.json["errors"][0]["row"] == 2


@pytest.mark.parametrize(
    ("path", "kind", "body", "status"),
    [
        ("/predict", CSV, b"x\n1\n", 422),
        ("/predict?model=none-such", CSV, b"x\n1\n", 404),
        ("/predict?model={model}&version=9", CSV, b"x\n1\n", 404),
        ("/predict?model={model}&probabilties=true", CSV, b"x\n1\n", 422),
        ("/predict?model={model}&probabilities=1", CSV, b"x\n1\n", 422),
        ("/predict?model={model}&model={model}", CSV, b"x\n1\n", 422),
        ("/predict?model={model}", "application/json", b'{"rows": []}', 422),
        ("/predict?version=1", "application/json", b'{"model": "{model}", "inputs": [[1]]}', 422),
        ("/predict", "application/xml", b"<x/>", 415),
    ],
)
def test_what_is_no_file_to_predict(client: Client, model: str, path: str, kind: str, body: bytes, status: int) -> None:
    answer = client.post(path.format(model=model), body, headers={"Content-Type": kind})
    assert answer.status == status, answer


def test_types_that_cannot_be_sent(client: Client, model: str, frame: Any) -> None:
    answer = sent(client, model, bodies(frame)["csv"], "application/pdf")
    assert (answer.status, answer.json["code"]) == (406, "not_acceptable")


def test_a_client_that_goes_away_gives_its_slot_back(server: Server, client: Client, model: str, frame: Any) -> None:
    """Far more clients than there are slots leave after the first bytes; a last one is served."""
    body = bodies(pandas.concat([frame] * 200))["csv"]
    host, port = client.base.removeprefix("http://").split(":")
    lines = [
        f"POST /predict?model={model} HTTP/1.1",
        "Host: localhost",
        "Content-Type: text/csv",
        f"Content-Length: {len(body)}",
    ]
    head = "\r\n".join([*lines, "", ""])
    for _ in range(6):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + body)
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
    eventually(lambda: sent(client, model, bodies(frame)["csv"]).status == 200)
