"""What has stopped newcomers: each test does what somebody did, against a real service, and reads the answer."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testing.harness import ROOT, Answer, Client, Server, serving

datasets = pytest.importorskip("sklearn.datasets")
pytestmark = pytest.mark.processes

#: Still runs when an answer has waited for it; the server ends it.
LONG = {"data": "iris", "model": {"name": "longer", "hidden": [2]}, "epochs": 10**6}
JOINED = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose names are this module's."""
    with serving(tmp_path_factory.mktemp("frictions") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def client(ours: Server, iris: str) -> Client:
    """A client of that server, on which the dataset and the model ``iris`` are."""
    answer = upload(ours.client, "name=iris&label=species", iris)
    assert answer.status == 201, answer
    ours.client.run({"data": "iris", "model": {"name": "iris", "hidden": [16]}, "epochs": 60, "seed": 1})
    return ours.client


@pytest.fixture(scope="module")
def iris() -> str:
    found = datasets.load_iris()
    names = "sepal_length,sepal_width,petal_length,petal_width,species"
    rows = [
        ",".join([*map(str, row), str(found.target_names[target])])
        for row, target in zip(found.data.tolist(), found.target.tolist(), strict=True)
    ]
    return "\n".join([names, *rows, ""])


def upload(client: Client, query: str, text: str | bytes) -> Answer:
    """As ``curl --data-binary`` sends a file."""
    return client.post(f"/datasets?{query}", text if isinstance(text, bytes) else text.encode(), headers=JOINED)


def refused(answer: Answer, status: int = 422) -> str:
    """The sentence of a refusal."""
    assert answer.status == status, answer
    return str(answer.json["detail"])


def shell(command: str) -> str:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=60).stdout


def test_01_defaults_converge_on_small_data(client: Client) -> None:
    """The tour's answer itself is read in tests/test_docs.py; here a row of each class."""
    upload(client, "name=tour&label=colour", "x,y,colour\n0.9,0.1,red\n0.7,0.2,red\n0.1,0.9,green\n0.3,0.8,green\n")
    client.run({"data": "tour"})
    answer = client.post("/predict", {"model": "tour", "inputs": [[0.8, 0.2], [0.2, 0.7]]}).json
    assert answer["predictions"] == ["red", "green"]
    assert min(map(max, answer["probabilities"])) > 0.9


@pytest.fixture(scope="module")
def wine(client: Client) -> str:
    """The name of a dataset whose columns are of very different sizes."""
    found = datasets.load_wine()
    rows = [
        ",".join([*map(str, row), f"kind_{target}"])
        for row, target in zip(found.data.tolist(), found.target.tolist(), strict=True)
    ]
    names = [name.replace("/", "_") for name in found.feature_names]
    upload(client, "name=wine&label=kind", "\n".join([",".join([*names, "kind"]), *rows, ""]))
    return "wine"


def test_02_columns_are_standardized(client: Client, wine: str) -> None:
    request = {"data": wine, "model": {"name": "wine", "hidden": [16]}, "validation": 0.3, "seed": 1}
    assert client.run(request)["metrics"]["validation_accuracy"] > 0.9
    raw = {**request, "model": {"name": "raw", "hidden": [16], "features": "raw"}, "dry_run": True}
    assert "unscaled_columns" in [each["code"] for each in client.post("/train", raw).json["warnings"]]


@pytest.fixture(scope="module")
def passengers(client: Client) -> dict[str, Any]:
    """The dataset of a file with numbered rows, names, words and blanks."""
    source = random.Random(5)
    lines = ["PassengerId,Survived,Pclass,Name,Sex,Age,Embarked"]
    for number in range(1, 301):
        sex, age = source.choice(["male", "female"]), source.choice(["", str(source.randint(1, 80))])
        survived = "yes" if (sex == "female") ^ (source.random() < 0.1) else "no"
        place = source.choice(["S", "C", "Q", ""])
        lines.append(f'{number},{survived},{source.randint(1, 3)},"Doe, M. No{number}",{sex},{age},{place}')
    answer = upload(client, "name=passengers&label=Survived", "\n".join([*lines, ""]))
    assert answer.status == 201, answer
    return dict(answer.json)


def test_03_and_04_words_and_blanks_are_read(client: Client, passengers: dict[str, Any]) -> None:
    kinds = {column["name"]: column["type"] for column in passengers["columns"]}
    assert (kinds["Sex"], kinds["Embarked"], kinds["Age"]) == ("category", "category", "number")
    assert next(column for column in passengers["columns"] if column["name"] == "Age")["missing"] > 50
    job = client.run(
        {"data": "passengers", "model": {"name": "passengers", "hidden": [16]}, "validation": 0.3, "epochs": 60}
    )
    assert job["metrics"]["validation_accuracy"] > 0.8


def test_05_faults_name_the_line_of_the_file(client: Client) -> None:
    answer = upload(client, "name=lines&label=y", "a,b,y\n1,2,u\n3,4\n5,6,v,9\n")
    assert refused(answer).startswith("row 2, line 3: must have 3 cells")
    assert [(each["row"], each["line"]) for each in answer.json["errors"]] == [(2, 3), (3, 4)]


def test_06_a_form_needs_no_name_and_no_label(ours: Server, client: Client, iris: str, tmp_path: Path) -> None:
    (tmp_path / "flowers.csv").write_text(iris)
    made = json.loads(shell(f"curl -s -F file=@{tmp_path}/flowers.csv {client.base}/datasets"))
    assert (made["name"], made["label"]) == ("flowers", None)
    sentence = refused(client.post("/train", {"data": "flowers"}))
    assert "which column holds the classes? One of sepal_length, " in sentence
    assert client.post("/train", {"data": {"dataset": "flowers", "label": "species"}, "dry_run": True}).status == 200


def test_07_a_csv_without_a_label_is_no_broken_json(client: Client, iris: str) -> None:
    made = upload(client, "name=unlabelled", iris)
    assert (made.status, made.json["label"]) == (201, None)


def test_08_joined_lines_are_noticed(client: Client, iris: str, tmp_path: Path) -> None:
    (tmp_path / "iris.csv").write_text(iris)
    url = f"'{client.base}/datasets?name=joined&label=species'"
    answer = json.loads(shell(f"curl -s {url} -d @{tmp_path}/iris.csv"))
    assert answer["detail"].endswith("Received: one line; curl's -d joins all lines, --data-binary keeps them")
    (tmp_path / "short.csv").write_text("x,species\n")
    answer = json.loads(shell(f"curl -s {url} -d @{tmp_path}/short.csv"))
    assert answer["detail"].endswith("--data-binary keeps them")


def test_09_semicolons_and_decimal_commas(client: Client, iris: str) -> None:
    made = upload(client, "name=semicolons&label=species", iris.replace(",", ";").replace(".", ",")).json
    assert (made["format"]["delimiter"], made["format"]["decimal"]) == (";", ",")
    assert [column["type"] for column in made["columns"]] == ["number"] * 4 + ["category"]


def test_10_a_column_that_counts_the_rows_is_left_out(client: Client, iris: str) -> None:
    header, *rows = iris.splitlines()
    indexed = "\n".join([f",{header}", *(f"{number},{row}" for number, row in enumerate(rows)), ""])
    made = upload(client, "name=indexed&label=species", indexed).json
    assert "column_1" not in made["features"]
    assert {"code": "column_set_aside", "detail": "is not used: counts the rows", "column": "column_1"} in made[
        "warnings"
    ]


def test_11_a_file_in_utf_16(client: Client, iris: str) -> None:
    made = upload(client, "name=utf-16&label=species", iris.encode("utf-16")).json
    assert (made["rows"], made["features"][0]) == (150, "sepal_length")


def test_12_a_file_without_a_header(client: Client, iris: str) -> None:
    rows = iris.partition("\n")[2]
    assert refused(upload(client, "name=headless&label=species", rows)) == (
        "/label: must name a column: column_1, column_2, column_3, column_4, column_5. Received: 'species'; the first "
        "row looks like data, header=true makes it the columns' names"
    )
    made = upload(client, "name=headless&label=column_5", rows).json
    assert (made["rows"], made["warnings"][0]["code"]) == (150, "no_header")


def test_13_numbers_to_estimate_are_no_classes(client: Client) -> None:
    prices = "\n".join(["a,price", *(f"{index},{index * 0.37:.2f}" for index in range(200)), ""])
    assert "has numbers to estimate, not classes; types=price:category" in refused(
        upload(client, "name=prices&label=price", prices)
    )


def test_14_numbered_rows_are_left_out_and_columns_can_be(client: Client, passengers: dict[str, Any]) -> None:
    assert not {"PassengerId", "Name"} & set(passengers["features"])
    network = {"name": "fewer", "hidden": [4], "features": {"Age": "ignore"}}
    client.run({"data": "passengers", "model": network, "epochs": 1})
    read = [each["column"] for each in client.get("/models/fewer").json["features"] if each["type"] != "ignore"]
    assert read == ["Pclass", "Sex", "Embarked"]


@pytest.mark.parametrize(("name", "meant"), [("Iris", "iris"), ("My Iris", "my-iris"), ("größe", "gr-e")])
def test_15_a_name_that_would_do_is_said(client: Client, name: str, meant: str) -> None:
    definition = {"name": name, "inputs": 2, "classes": ["a", "b"], "hidden": [4]}
    assert refused(client.post("/models", definition)).endswith(f"Received: {name!r}; try {meant!r}")


def test_16_a_model_and_a_dataset_of_a_similar_name(client: Client) -> None:
    assert refused(client.get("/models/Iris"), 404) == "there is no model 'Iris' (did you mean 'iris'?)"
    assert "(did you mean 'iris'?)" in refused(client.post("/predict", {"model": "irsi", "inputs": [[1] * 4]}), 404)
    assert refused(client.post("/train", {"data": "IRIS"})).endswith("no dataset 'IRIS' (did you mean 'iris'?)")
    assert refused(client.get("/models/wholly-different"), 404) == "there is no model 'wholly-different'"


def test_17_the_shortest_request_trains(client: Client) -> None:
    for request in ({"data": "iris"}, {"data": "iris", "model": {"name": "short"}}):
        assert client.post("/train", {**request, "dry_run": True}).status == 200


def test_18_short_forms(client: Client) -> None:
    """They are taken; what has none says what it is made of, and what came."""
    short = {"validation": 0.2, "data": "iris", "model": {"name": "forms", "hidden": 16}, "optimizer": "adam"}
    assert client.post("/train", {**short, "dry_run": True}).status == 200
    assert refused(client.post("/train", {**short, "early_stopping": 10})) == (
        "/early_stopping: must be an object of monitor, patience, patience_steps, min_delta, restore_best. Received: 10"
    )


def test_19_another_network_under_the_same_name(client: Client) -> None:
    """It becomes the next version."""
    request = {"data": "iris", "epochs": 2}
    versions = [client.run({**request, "model": {"name": "grows", "hidden": [units]}})["version"] for units in (4, 5)]
    assert versions == [1, 2]


def test_20_rows_with_names(client: Client) -> None:
    row = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
    assert client.post("/predict", {"model": "iris", "inputs": [row]}).json["predictions"] == ["setosa"]
    assert "did you mean 'petal_width'?" in refused(
        client.post("/predict", {"model": "iris", "inputs": [{**row, "petal_widt": 1}]})
    )


def test_21_values_out_of_range_are_reported(client: Client) -> None:
    answer = client.post("/predict", {"model": "iris", "inputs": [[510, 350, 140, 20]], "report": True}).json
    assert answer["report"][0]["out_of_range"] == ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def test_22_a_file_and_a_dataset_are_predicted(client: Client, iris: str) -> None:
    sent = client.post("/predict?model=iris", iris.encode(), headers={"Content-Type": "text/csv"})
    stored = client.post("/predict?model=iris&dataset=iris")
    assert (sent.status, stored.status) == (200, 200)
    assert stored.body == sent.body
    assert stored.headers["x-model-version"] == "1"
    lines = stored.body.decode().splitlines()
    assert (len(lines), lines[0].rpartition("species,")[2]) == (151, "prediction,probability")
    probabilities = client.post("/predict?model=iris&dataset=iris&probabilities=true", headers={"Accept": "text/csv"})
    assert probabilities.body.startswith(lines[0].encode() + b",probability_setosa,")


@pytest.mark.parametrize(
    ("query", "body", "pointers"),
    [
        ("dataset=irsi", b"", ["/dataset"]),
        ("dataset=iris&header=true", b"", ["/header"]),
        ("dataset=iris", b"x\n1\n", ["/dataset"]),
    ],
)
def test_22_a_dataset_goes_alone(client: Client, query: str, body: bytes, pointers: list[str]) -> None:
    answer = client.post(f"/predict?model=iris&{query}", body, headers={"Content-Type": "text/csv"})
    assert answer.status == 422, answer
    assert [each["pointer"] for each in answer.json["errors"]] == pointers


def test_23_rows_of_the_training_are_counted(client: Client) -> None:
    assert client.post("/evaluate", {"model": "iris", "data": "iris"}).json["trained_on"] == 150


def test_24_rows_can_be_seen_and_downloaded(client: Client, iris: str) -> None:
    (row,) = client.get("/datasets/iris/rows?limit=1").json["data"]
    assert row["values"]["species"] == "setosa"
    saved = client.get("/datasets/iris/file", headers={"Accept": "text/csv"})
    assert saved.body.decode().splitlines()[0] == iris.splitlines()[0]
    assert client.get("/datasets/iris/profile").json["columns"][0]["name"] == "sepal_length"


def test_25_a_checkpoint_of_the_best_epoch_says_so(client: Client) -> None:
    source = random.Random(3)
    rows = [{"a": source.random(), "b": source.random(), "y": source.choice("uv")} for _ in range(120)]
    job = client.run(
        {
            "model": {"name": "best", "hidden": [64, 64]},
            "data": {"rows": rows, "label": "y"},
            "optimizer": {"type": "adam", "learning_rate": 0.02},
            "epochs": 300,
            "validation": 0.3,
            "early_stopping": {"patience": 5},
            "publish": "best",
            "seed": 1,
        }
    )
    assert job["best"]["epoch"] < job["progress"]["epoch"]
    assert client.get(f"/checkpoints/{job['checkpoint']}").json["metrics"]["epoch"] == job["best"]["epoch"]
    assert client.get("/models/best/versions/1").json["metrics"]["epoch"] == job["best"]["epoch"]


def test_26_jobs_in_short_form(client: Client) -> None:
    page = client.get("/jobs?fields=id,model,state").json["data"]
    assert page
    assert all(each.keys() == {"id", "model", "state"} for each in page)


def test_27_a_thinned_history(client: Client) -> None:
    job = client.run({"data": "iris", "model": {"name": "long", "hidden": [2]}, "epochs": 2_000, "batch_size": "full"})
    epochs = [each["epoch"] for each in client.get(f"/jobs/{job['id']}/history?points=50").json["data"]]
    assert (epochs[0], epochs[-1]) == (1, 2_000)
    assert len(epochs) < 300


# 28, a class that watches one job, is in tests/service/web/test_events.py.


def test_29_a_port_in_use_is_one_sentence(ours: Server, tmp_path: Path) -> None:
    """By gunicorn itself and by `make serve`, which is the same command."""
    address = ours.client.base.removeprefix("http://")
    second = Server(tmp_path / "second", BIND=address)
    done = second.run_to_end(Path(sys.executable).with_name("gunicorn"), "wsgi:app")
    assert done.returncode == 1
    said = [line for line in (done.stdout + done.stderr).splitlines() if address in line]
    assert said == [f"trainyard: another process listens on {address}: stop it, or set TRAINYARD_BIND to another port"]
    assert re.search(r"^serve:.*\n\t\$\(BIN\)/gunicorn wsgi:app$", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_30_the_first_thing_that_people_type(ours: Server, client: Client, iris: str, tmp_path: Path) -> None:
    (tmp_path / "typed.csv").write_text(iris)
    command = [sys.executable, "-m", "service", "--url", client.base, "train", tmp_path / "typed.csv"]
    done = ours.run_to_end(*command, "--label", "species", "--hidden", "8", "--epochs", "5", seconds=90)
    assert done.returncode == 0, done.stderr
    assert client.get("/models/typed").json["default"] == 1


def test_31_the_root_leads_somewhere(client: Client) -> None:
    links = client.get("/").json
    assert all(client.get(links[name]).status == 200 for name in ("models", "datasets", "jobs", "openapi", "ready"))
    page = client.get("/", headers={"Accept": "text/html"})  # a redirection, which the client follows
    assert page.headers["content-type"].startswith("text/html")
    assert b"/console/static/" in page.body
    assert client.get("/favicon.ico").headers["content-type"].startswith("image/")


# 32, examples that run on a fresh service, is in tests/service/web/test_openapi.py; 33 is there, too:


def test_33_operations_have_names(client: Client) -> None:
    paths = client.get("/openapi.json").json["paths"]
    operations = [each for path in paths.values() for each in path.values() if isinstance(each, dict)]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names) > 30
    assert "`" not in "".join(operation["summary"] for operation in operations)
    assert {"define_model", "train", "predict", "import_checkpoint"} <= set(names)


# 34, the demo, is in tests/test_running.py, and 35, the estimator, in tests/trainyard/.


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.get("/version"),
        lambda client: client.get("/models"),
        lambda client: client.get("/models/none"),
        lambda client: client.get("/health/live"),
        lambda client: client.post("/predict", {"model": "iris", "inputs": [[5.1, 3.5, 1.4, 0.2]]}),
        lambda client: client.post("/predict", {"model": "iris", "inputs": [[5.1, 3.5, 1.4, 0.2]] * 9_000, "top_k": 2}),
        lambda client: client.post("/predict", {"model": "iris", "inputs": []}),
        lambda client: client.get(f"/jobs/{client.get('/jobs').json['data'][0]['id']}?wait=5"),
        lambda client: client.get(f"/jobs/{client.train(LONG)['id']}?wait=0.2"),
    ],
)
def test_36_an_answer_ends_its_line(client: Client, ask: Callable[[Client], Answer]) -> None:
    answer = ask(client)
    assert answer.body.endswith(b"}\n")
    assert answer.body.count(b"\n") == 1


def test_37_the_methods_of_a_path_are_named(client: Client) -> None:
    answer = client.request("DELETE", "/train")
    assert refused(answer, 405) == "DELETE is not allowed here; allowed are OPTIONS, POST"


def test_38_the_readme_says_where_it_runs() -> None:
    readme = (ROOT / "README.md").read_text()
    assert re.search(r"Windows[^.]*(WSL|Docker)", readme)
